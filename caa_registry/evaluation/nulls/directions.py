"""The vectors of a null, float32 ``(draws, d_model)`` at each layer, the same for the same seed however many are drawn.

``covariance``: random directions that vary as the pairs' differences do about their mean, of the vector's length. They
are what chance alone makes of such pairs. ``isotropic``: directions of the vector's length, uniform on the sphere: what
a push of that strength does whatever its direction. ``shuffled``: what the method makes of the same pairs with their
labels exchanged at random, at the length that comes out, since labels that mean nothing make shorter vectors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from caa_registry.extraction.activations import Activations
from caa_registry.extraction.estimators.estimator import estimator
from caa_registry.extraction.grouping import Grouping, swaps
from caa_registry.extraction.methods import Method
from caa_registry.vectors import VectorSet

Directions = dict[int, NDArray[np.float32]]


def isotropic(vectors: VectorSet, layers: Sequence[int], draws: int, seed: int) -> Directions:
    """Standard normal, scaled to the vector's length; each layer of its own."""
    return {
        layer: _at_length(
            np.random.default_rng((seed, layer)).standard_normal((draws, vectors.d_model)), vectors, layer
        )
        for layer in layers
    }


def covariance(
    vectors: VectorSet, activations: Activations, layers: Sequence[int], draws: int, seed: int
) -> Directions:
    """Sums of the pairs' differences from their mean with standard normal weights, the same at all layers, scaled to
    the vector's length. Isotropic where the differences do not vary at all."""
    directions: Directions = {}
    for layer in layers:
        positive, negative = (side.astype(np.float64) for side in activations.layer(layer))
        differences = positive - negative
        differences -= differences.mean(axis=0)
        weights = np.random.default_rng(seed).standard_normal((draws, len(differences)))
        # So few pairs span few directions: their length decides, rounding must not.
        if np.linalg.norm(differences) <= 1e-9 * np.linalg.norm(positive - negative):
            directions |= isotropic(vectors, [layer], draws, seed)
        else:
            directions[layer] = _at_length(weights @ differences, vectors, layer)
    return directions


def shuffled(
    vectors: VectorSet,
    activations: Activations,
    method: Method,
    grouping: Grouping,
    layers: Sequence[int],
    draws: int,
    seed: int,
) -> Directions:
    """Labels are exchanged as ``extraction.grouping.swaps`` does, alike at all layers. Where the vector was scaled
    after it was computed, these are scaled alike."""
    signs = np.ones((1 + draws, len(grouping.clusters)))
    signs[1:] = swaps(grouping, draws, np.random.default_rng(seed))
    directions: Directions = {}
    for layer in layers:
        positive, negative = (side.astype(np.float64) for side in activations.layer(layer))
        made = estimator(method)(positive, negative, np.ones_like(signs), signs)
        length = float(np.linalg.norm(made[0]))
        scale = vectors[layer].norm / length if length > 0 else 0.0
        directions[layer] = (made[1:] * scale).astype(np.float32)
    return directions


def relative_lengths(directions: Directions, vectors: VectorSet) -> tuple[float, ...]:
    """By layer the mean length of ``directions`` over the vector's; 0 where the vector is zero."""
    return tuple(
        float(np.linalg.norm(drawn.astype(np.float64), axis=1).mean() / vectors[layer].norm)
        if vectors[layer].norm > 0
        else 0.0
        for layer, drawn in directions.items()
    )


def _at_length(drawn: NDArray[np.float64], vectors: VectorSet, layer: int) -> NDArray[np.float32]:
    lengths = np.linalg.norm(drawn, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = (drawn * (vectors[layer].norm / lengths)).astype(np.float32)
    return scaled
