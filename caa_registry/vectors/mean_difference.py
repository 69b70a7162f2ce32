"""Mean difference: the CAA estimator (Rimsky et al., ACL 2024, section 3.1).

For each layer L, with a_L(text) the residual stream after block L at the read position::

    v_L = 1/n * sum over pairs of ( a_L(prompt + positive) - a_L(prompt + negative) )
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caa_registry.errors import InputError
from caa_registry.models.model import Model
from caa_registry.progress import Progress, silent
from caa_registry.vectors.prefix_sharing import read_pairs
from caa_registry.vectors.read_position import ReadPosition
from caa_registry.vectors.reading import PairTokens
from caa_registry.vectors.vector_set import LayerVector, VectorSet


def mean_difference(
    model: Model,
    pairs: Sequence[PairTokens],
    layers: Sequence[int],
    read: ReadPosition,
    progress: Progress = silent,
) -> VectorSet:
    """Mean-difference vectors of ``layers`` in one pass over the pairs, summed in float64.

    ``residual_norm`` of a layer is the mean norm of all the activations read there. Raises ``InputError`` where there
    is no pair.
    """
    if not pairs:
        raise InputError("there is no pair to compute from", "Choose another split, or a model with a longer context.")
    difference = np.zeros((len(layers), model.d_model))
    norms = np.zeros(len(layers))
    for rows in read_pairs(model, pairs, layers, read, progress):
        values = rows.values.astype(np.float64)
        sign = np.where(np.asarray(rows.index) % 2 == 0, 1.0, -1.0)
        difference += np.einsum("r,rld->ld", sign, values)
        norms += np.linalg.norm(values, axis=2).sum(axis=0)
    difference /= len(pairs)
    norms /= 2 * len(pairs)
    return VectorSet.of(
        LayerVector(layer, difference[i].astype(np.float32), float(norms[i])) for i, layer in enumerate(layers)
    )
