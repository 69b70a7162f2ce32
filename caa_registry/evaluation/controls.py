"""Vectors that should do nothing: what a score is worth shows beside theirs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from caa_registry.extraction.activations import Activations
from caa_registry.extraction.estimators.estimator import estimator
from caa_registry.extraction.methods import Method
from caa_registry.vectors import VectorSet


def random_directions(vectors: VectorSet, layers: Sequence[int], seeds: int) -> dict[int, NDArray[np.float32]]:
    """At each layer ``seeds`` directions of the vector's length, uniform on the sphere, float32 ``(seeds, d_model)``.

    They say what a push of that strength does whatever its direction.
    """
    found = {}
    for layer in layers:
        drawn = np.stack(
            [np.random.default_rng((seed, layer)).standard_normal(vectors.d_model) for seed in range(seeds)]
        )
        lengths = np.linalg.norm(drawn, axis=1, keepdims=True)
        found[layer] = (drawn * (vectors[layer].norm / lengths)).astype(np.float32)
    return found


def shuffled_vectors(
    vectors: VectorSet, activations: Activations, method: Method, layers: Sequence[int], seeds: int
) -> dict[int, NDArray[np.float32]]:
    """At each layer what ``method`` makes of the same pairs with the sides of each swapped or not by lot: float32
    ``(seeds, d_model)``.

    They say what the recipe gives where the labels mean nothing, at the length that it gives: where the vector was
    scaled after it was made, they are scaled alike. A swap is of a pair at all layers.
    """
    found = {}
    for layer in layers:
        positive, negative = (side.astype(np.float64) for side in activations.layer(layer))
        n = len(positive)
        signs = np.stack([np.ones(n), *(np.random.default_rng(seed).choice([-1.0, 1.0], n) for seed in range(seeds))])
        made = estimator(method)(positive, negative, np.ones_like(signs), signs)
        length = float(np.linalg.norm(made[0]))
        scale = vectors[layer].norm / length if length > 0 else 0.0
        found[layer] = (made[1:] * scale).astype(np.float32)
    return found
