"""From activations to steering vectors with what is known about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from caa_registry.errors import ModelError
from caa_registry.extraction.activations import Activations
from caa_registry.extraction.estimators.estimator import estimate
from caa_registry.extraction.grouping import Grouping
from caa_registry.extraction.methods import Method
from caa_registry.extraction.quality import measure
from caa_registry.progress import Progress, silent
from caa_registry.vectors import LayerVector, VectorSet


def compute(
    activations: Activations,
    layers: Sequence[int],
    method: Method = "mean-difference",
    progress: Progress = silent,
    *,
    grouping: Grouping | None = None,
    words_auc: float | None = None,
) -> VectorSet:
    """The vectors of ``layers`` that ``method`` makes, with their quality; one layer in memory at a time.

    ``grouping``: of the pairs; by default each is its own cluster and none is answered by letters. ``words_auc``: what
    words alone reach on them, which is kept beside what the vectors do.

    ``residual_norm`` of a layer is the mean Euclidean norm of all the activations read there. Raises ``ModelError``
    where the model's activations are not finite.
    """
    vectors = []
    progress(0, len(layers))
    for layer in layers:
        positive, negative = activations.layer(layer)
        if not (np.isfinite(positive).all() and np.isfinite(negative).all()):
            raise ModelError(
                f"layer {layer}: the model's activations are not finite",
                "They overflowed; load the model in float32 or bfloat16.",
            )
        quality = measure(method, positive, negative, grouping)
        if quality is not None:
            quality = replace(quality, words_auc=words_auc)
        vectors.append(LayerVector(layer, estimate(method, positive, negative), _norm(positive, negative), quality))
        progress(len(vectors), len(layers))
    return VectorSet.of(vectors)


def _norm(*sides: NDArray[np.float32]) -> float:
    return float(np.mean([np.linalg.norm(side.astype(np.float64), axis=1) for side in sides]))
