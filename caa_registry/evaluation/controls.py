"""Vectors that should do nothing, to compare a vector's scores with."""

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

    They show what a push of that strength does whatever its direction.
    """
    directions = {}
    for layer in layers:
        drawn = np.stack(
            [np.random.default_rng((seed, layer)).standard_normal(vectors.d_model) for seed in range(seeds)]
        )
        lengths = np.linalg.norm(drawn, axis=1, keepdims=True)
        directions[layer] = (drawn * (vectors[layer].norm / lengths)).astype(np.float32)
    return directions


def shuffled_vectors(
    vectors: VectorSet, activations: Activations, method: Method, layers: Sequence[int], seeds: int
) -> dict[int, NDArray[np.float32]]:
    """At each layer what ``method`` makes of the same pairs with the sides of each swapped at random: float32
    ``(seeds, d_model)``.

    They show what the recipe gives where the labels mean nothing, at the vector's own scale: where the vector was
    scaled after it was computed, they are scaled alike. A pair is swapped at all layers or at none.
    """
    shuffled = {}
    for layer in layers:
        positive, negative = (side.astype(np.float64) for side in activations.layer(layer))
        n = len(positive)
        signs = np.stack([np.ones(n), *(np.random.default_rng(seed).choice([-1.0, 1.0], n) for seed in range(seeds))])
        directions = estimator(method)(positive, negative, np.ones_like(signs), signs)
        length = float(np.linalg.norm(directions[0]))
        scale = vectors[layer].norm / length if length > 0 else 0.0
        shuffled[layer] = (directions[1:] * scale).astype(np.float32)
    return shuffled
