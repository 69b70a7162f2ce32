"""The vectors of nulls: their lengths, their directions, and that a seed says which they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from caa_registry.errors import UsageError
from caa_registry.evaluation.nulls.directions import (
    Directions,
    covariance,
    isotropic,
    relative_lengths,
    shuffled,
)
from caa_registry.evaluation.nulls.names import DRAWS, NULLS, check_nulls
from caa_registry.extraction.estimators.estimator import estimate
from caa_registry.extraction.grouping import Grouping, swaps
from caa_registry.vectors import LayerVector, VectorSet

D, N, SEED = 64, 60, 11
LAYERS = (0, 3)

Floats = NDArray[np.float32]


class Read:
    """Activations as ``extraction.activations.Activations`` gives them: a difference along one direction, and noise
    that is not alike in all dimensions."""

    def __init__(self, n: int = N, d: int = D) -> None:
        generator = np.random.default_rng(0)
        self.sides = {}
        for layer in LAYERS:
            noise = generator.normal(size=(2, n, d)) * np.linspace(0.2, 2, d)
            self.sides[layer] = (noise[0] + 1).astype(np.float32), noise[1].astype(np.float32)

    def layer(self, layer: int) -> tuple[Floats, Floats]:
        return self.sides[layer]


def activations(n: int = N, d: int = D) -> Any:
    return Read(n, d)


def vectors(read: Any, scale: float = 1.0, method: str = "mean-difference") -> VectorSet:
    return VectorSet.of(
        LayerVector(layer, np.float32(scale) * estimate(method, *read.layer(layer))) for layer in LAYERS
    )


LETTERED = Grouping(np.arange(N), np.array([["A", "B"], ["B", "A"], ["A", "B"]] * (N // 3)))
REPEATED = Grouping(np.arange(N) // 4, np.array([["A", "B"], ["A", "B"], ["B", "A"], ["A", "B"]] * (N // 4)))
# Some clusters have two pairs, some have one.
MIXED = Grouping(
    np.array([*np.repeat(np.arange(N // 4), 2), *range(N // 4, N // 4 + N // 2)]),
    np.array([["A", "B"], ["B", "A"], ["A", "B"]] * (N // 3)),
)
GROUPINGS = {"single": Grouping.none(N), "lettered": LETTERED, "repeated": REPEATED, "mixed": MIXED}


def made(null: str, draws: int, grouping: Grouping = LETTERED, seed: int = SEED) -> Directions:
    read = activations()
    own = vectors(read)
    if null == "isotropic":
        return isotropic(own, LAYERS, draws, seed)
    if null == "covariance":
        return covariance(own, read, LAYERS, draws, seed)
    return shuffled(own, read, "mean-difference", grouping, LAYERS, draws, seed)


@pytest.mark.parametrize("null", ["covariance", "isotropic"])
def test_directions_have_the_vector_s_length(null: str) -> None:
    own, found = vectors(activations()), made(null, 50)
    assert list(found) == [0, 3]
    for layer in LAYERS:
        assert found[layer].shape == (50, D) and found[layer].dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(found[layer], axis=1), own[layer].norm, rtol=1e-5)
    assert relative_lengths(found, own) == pytest.approx((1, 1), rel=1e-5)


@pytest.mark.parametrize("null", NULLS)
def test_the_first_draws_are_the_same_however_many_are_made(null: str) -> None:
    few, many = made(null, 19), made(null, 60)
    for layer in LAYERS:
        np.testing.assert_allclose(many[layer][:19], few[layer], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(made(null, 19)[layer], few[layer])
        assert np.abs(made(null, 19, seed=SEED + 1)[layer] - few[layer]).max() > 0.01
        assert len(np.unique(many[layer].round(4), axis=0)) == 60


@pytest.mark.parametrize(
    "name",
    [
        "single",
        "lettered",
        "repeated",
        "mixed",
    ],
)
def test_the_first_shuffles_are_the_same_however_many_are_made(name: str) -> None:
    few, many = (made("shuffled", draws, GROUPINGS[name])[0] for draws in (19, 60))
    np.testing.assert_allclose(many[:19], few, rtol=1e-5, atol=1e-6)


def test_isotropic_directions_have_no_preference_and_are_others_at_every_layer() -> None:
    own, found = vectors(activations()), made("isotropic", 400)
    cosines = found[3] @ own[3].values / own[3].norm ** 2
    assert abs(cosines.mean()) < 4 / np.sqrt(D * 400)
    assert cosines.std() == pytest.approx(1 / np.sqrt(D), rel=0.2)
    shares = (found[3] ** 2).mean(axis=0) / own[3].norm ** 2
    np.testing.assert_allclose(shares, 1 / D, rtol=0.35)
    assert np.abs(found[0][0] / own[0].norm - found[3][0] / own[3].norm).max() > 0.01


def test_covariance_directions_are_sums_of_differences_from_their_mean() -> None:
    read = activations(n=9)
    found = covariance(vectors(read), read, LAYERS, 40, SEED)
    for layer in LAYERS:
        positive, negative = read.layer(layer)
        differences = positive.astype(np.float64) - negative
        differences -= differences.mean(axis=0)
        span = np.linalg.svd(differences, full_matrices=False)[2][:8]
        left = found[layer] - found[layer] @ span.T @ span
        assert np.linalg.norm(left, axis=1).max() < 1e-5 * vectors(read)[layer].norm
        # 9 pairs about their mean: 8 directions, all of them used.
        assert np.linalg.matrix_rank(found[layer], tol=1e-3) == 8


def test_covariance_directions_vary_as_the_differences_do() -> None:
    read = activations(n=400, d=12)
    own = vectors(read)
    found = covariance(own, read, [3], 20_000, SEED)[3].astype(np.float64)
    positive, negative = read.layer(3)
    wanted = np.cov((positive - negative).astype(np.float64).T)
    # Directions of one length: of normal ones with that covariance, scaled alike.
    normal = np.random.default_rng(5).multivariate_normal(np.zeros(12), wanted, 20_000)
    normal *= own[3].norm / np.linalg.norm(normal, axis=1, keepdims=True)
    error = 4 * own[3].norm ** 2 / np.sqrt(20_000)
    np.testing.assert_allclose(np.cov(found.T), np.cov(normal.T), atol=error)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=4 * own[3].norm / np.sqrt(20_000))
    assert np.corrcoef(np.cov(found.T).ravel(), wanted.ravel())[0, 1] > 0.98


def test_covariance_directions_have_the_same_weights_at_every_layer() -> None:
    read = activations()
    read.sides[3] = read.sides[0]
    found = covariance(vectors(read), read, LAYERS, 5, SEED)
    np.testing.assert_array_equal(found[0], found[3])


@pytest.mark.parametrize("repeats", [1, 5])
def test_differences_that_do_not_vary_give_isotropic_directions(repeats: int) -> None:
    read = activations()
    for layer in LAYERS:
        read.sides[layer] = tuple(np.repeat(side[:1], repeats, axis=0) for side in read.sides[layer])
    found = covariance(vectors(read), read, LAYERS, 7, SEED)
    for layer in LAYERS:
        np.testing.assert_array_equal(found[layer], isotropic(vectors(read), [layer], 7, SEED)[layer])


@pytest.mark.parametrize("method", ["mean-difference", "pca", "logistic", "lda"])
@pytest.mark.parametrize("name", GROUPINGS)
def test_shuffled_vectors_are_what_the_method_makes_of_swapped_pairs(method: str, name: str) -> None:
    read, grouping = activations(), GROUPINGS[name]
    found = shuffled(vectors(read, method=method), read, method, grouping, LAYERS, 5, SEED)
    for layer in LAYERS:
        positive, negative = read.layer(layer)
        for drawn, signs in zip(found[layer], swaps(grouping, 5, np.random.default_rng(SEED)), strict=True):
            kept = signs[:, None] > 0
            wanted = estimate(method, np.where(kept, positive, negative), np.where(kept, negative, positive))
            np.testing.assert_allclose(drawn, wanted, rtol=1e-3, atol=2e-3)


def test_shuffled_vectors_are_short_and_scaled_as_the_vector_was() -> None:
    read = activations()
    found = shuffled(vectors(read), read, "mean-difference", Grouping.none(N), [0], 200, SEED)
    assert relative_lengths(found, vectors(read))[0] < 0.5
    twice = shuffled(vectors(read, 2.0), read, "mean-difference", Grouping.none(N), [0], 200, SEED)
    np.testing.assert_allclose(twice[0], 2 * found[0], rtol=1e-5)


def test_of_a_vector_of_nothing_every_direction_is_nothing() -> None:
    read = activations()
    nothing = VectorSet.of(LayerVector(layer, np.zeros(D, np.float32)) for layer in LAYERS)
    for found in (
        isotropic(nothing, LAYERS, 3, SEED),
        covariance(nothing, read, LAYERS, 3, SEED),
        shuffled(nothing, read, "mean-difference", LETTERED, LAYERS, 3, SEED),
    ):
        assert not any(drawn.any() for drawn in found.values())
        assert relative_lengths(found, nothing) == (0.0, 0.0)


def test_an_unknown_null_and_too_few_draws_are_said() -> None:
    check_nulls(NULLS, DRAWS)
    check_nulls(["shuffled"], 19)
    check_nulls([], 1)
    with pytest.raises(UsageError, match="there is no control 'noise'"):
        check_nulls(["covariance", "noise"], DRAWS)
    with pytest.raises(UsageError, match=r"with 18 vectors no p-value can be below 0\.05"):
        check_nulls(["covariance"], 18)
