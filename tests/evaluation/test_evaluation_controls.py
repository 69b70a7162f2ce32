"""Vectors that should do nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from caa_registry.errors import UsageError
from caa_registry.evaluation.control_names import check_controls
from caa_registry.evaluation.controls import random_directions, shuffled_vectors
from caa_registry.extraction.estimators.estimator import estimate
from caa_registry.vectors import LayerVector, VectorSet

D, N, SEEDS = 64, 60, 200


class Read:
    """Activations as ``vectors.activations.Activations`` gives them: a difference along one direction, and noise."""

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        noise = generator.normal(size=(2, N, D)).astype(np.float32)
        self.sides = noise[0] + np.float32(1), noise[1]

    def layer(self, layer: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self.sides


def vectors(scale: float = 1.0) -> VectorSet:
    values = np.float32(scale) * estimate("mean-difference", *Read().sides)
    return VectorSet.of(LayerVector(layer, values) for layer in (0, 3))


def test_random_directions_have_the_vector_s_length_and_no_preference() -> None:
    made = vectors()
    found = random_directions(made, [3, 0], SEEDS)
    assert list(found) == [3, 0] and found[0].shape == (SEEDS, D) and found[0].dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found[3], axis=1), made[3].norm, rtol=1e-5)
    cosines = found[3] @ made[3].values / made[3].norm ** 2
    assert abs(cosines.mean()) < 4 / np.sqrt(D * SEEDS)
    assert cosines.std() == pytest.approx(1 / np.sqrt(D), rel=0.2)
    # A seed is the same direction in every process and whatever else is asked for, and another one at each layer.
    np.testing.assert_array_equal(random_directions(made, [0], 3)[0], found[0][:3])
    assert np.abs(found[0][0] - found[3][0]).max() > 0.01


@pytest.mark.parametrize("method", ["mean-difference", "pca", "logistic", "lda"])
def test_shuffled_vectors_are_what_the_method_makes_of_swapped_pairs(method: str) -> None:
    positive, negative = Read().sides
    found = shuffled_vectors(vectors(), Read(), method, [3], 5)[3]  # type: ignore[arg-type]
    true = estimate(method, positive, negative)  # type: ignore[arg-type]
    scale = vectors()[3].norm / np.linalg.norm(true)
    for seed in range(5):
        kept = np.random.default_rng(seed).choice([-1.0, 1.0], N)[:, None] > 0
        wanted = estimate(method, np.where(kept, positive, negative), np.where(kept, negative, positive))  # type: ignore[arg-type]
        np.testing.assert_allclose(found[seed], scale * wanted, rtol=1e-3, atol=1e-4)


def test_shuffled_vectors_are_short_and_scaled_as_the_vector_was() -> None:
    found = shuffled_vectors(vectors(), Read(), "mean-difference", [0], SEEDS)[0]
    lengths = np.linalg.norm(found, axis=1)
    assert lengths.mean() < vectors()[0].norm / 2
    twice = shuffled_vectors(vectors(2.0), Read(), "mean-difference", [0], SEEDS)[0]
    np.testing.assert_allclose(twice, 2 * found, rtol=1e-5)
    nothing = VectorSet.of([LayerVector(0, np.zeros(D, np.float32))])
    assert not shuffled_vectors(nothing, Read(), "mean-difference", [0], 2)[0].any()


def test_an_unknown_control_is_said() -> None:
    check_controls(["random", "shuffled"])
    with pytest.raises(UsageError, match="there is no control 'noise'"):
        check_controls(["random", "noise"])
