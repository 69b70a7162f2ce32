"""How far a vector is to be trusted: known answers, plain loops, and what noise must not be taken for."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from caa_registry.extraction.estimators.estimator import estimate
from caa_registry.extraction.methods import METHODS, Method
from caa_registry.extraction.quality import (
    ENOUGH_CLUSTERS,
    FEWEST_CLUSTERS,
    MOST_COHENS_D,
    PERMUTATIONS,
    LayerQuality,
    measure,
    separation_auc,
    separation_cohens_d,
)
from caa_registry.vectors import words_alone

Floats = NDArray[np.float32]

every_method = pytest.mark.parametrize("method", METHODS)


def noise(n: int, d: int, seed: int) -> tuple[Floats, Floats]:
    positive, negative = np.random.default_rng(seed).normal(size=(2, n, d)).astype(np.float32)
    return positive, negative


def shifted(n: int, d: int, by: float, seed: int = 0) -> tuple[Floats, Floats]:
    """Unit noise, the positive side moved along the first dimension."""
    positive, negative = noise(n, d, seed)
    positive[:, 0] += by
    return positive, negative


def measured(method: Method, sides: tuple[Floats, Floats]) -> LayerQuality:
    quality = measure(method, *sides)
    assert quality is not None
    return quality


def test_auc_against_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    projections = generator.integers(0, 6, (20, 30)).astype(float)
    right = np.array([generator.permutation(30) < count for count in (15,) * 10 + (4,) * 10])
    found = [separation_auc(projections[rows], right[rows]) for rows in (slice(0, 10), slice(10, 20))]
    wanted = [roc_auc_score(labels, row) for labels, row in zip(right, projections, strict=True)]
    np.testing.assert_allclose(np.concatenate(found), wanted)


@pytest.mark.filterwarnings("error")
def test_cohens_d_by_hand() -> None:
    positive = np.array([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0], [5.0, 5.0, 5.0], [5.0, 5.0, 5.0]])
    negative = np.array([[0.0, 0.0, 3.0], [5.0, 5.0, 5.0], [4.0, 4.0, 4.0], [6.0, 6.0, 6.0]])
    right = np.tile(np.arange(6) < 3, (4, 1))
    wanted = [1 / np.sqrt((1 + 3) / 2), 0, MOST_COHENS_D, -MOST_COHENS_D]
    np.testing.assert_allclose(separation_cohens_d(np.concatenate([positive, negative], axis=1), right), wanted)
    order = np.random.default_rng(0).permutation(6)
    turned = separation_cohens_d(np.concatenate([positive, negative], axis=1)[:, order], right[:, order])
    np.testing.assert_allclose(turned, wanted)


@every_method
def test_separation_of_two_known_distributions(method: Method) -> None:
    """Unit normals 1.5 apart: Cohen's d is 1.5 and AUC is Phi(1.5 / sqrt 2)."""
    quality = measured(method, shifted(3000, 2, 1.5))
    assert quality.auc == pytest.approx(NormalDist().cdf(1.5 / np.sqrt(2)), abs=0.015)
    assert quality.cohens_d == pytest.approx(1.5, abs=0.06)
    assert quality.signal
    assert quality.split_half_cosine > 0.99
    assert quality.p_value == 1 / (1 + PERMUTATIONS) and quality.clusters == 3000


@every_method
def test_a_signal_in_many_dimensions_is_found(method: Method) -> None:
    quality = measured(method, shifted(60, 200, 4.0))
    assert quality.signal
    assert quality.auc > 0.9 > 0.75 > quality.null_auc
    assert quality.cohens_d > quality.null_cohens_d
    assert quality.dominant_dimension == 0


def test_whitening_separates_what_correlated_noise_hides() -> None:
    generator = np.random.default_rng(8)
    noisy = 40 * generator.normal(size=(2, 200, 1)) * np.ones(30) / np.sqrt(30)
    positive, negative = (generator.normal(size=(2, 200, 30)) + noisy).astype(np.float32)
    positive[:, 0] += 2
    whitened, plain = measured("lda", (positive, negative)), measured("mean-difference", (positive, negative))
    # The best direction there is leaves the noise out: unit variance, 2 apart.
    assert whitened.auc == pytest.approx(NormalDist().cdf(2 / np.sqrt(2)), abs=0.05)
    assert whitened.auc > plain.auc + 0.2


@every_method
def test_noise_is_not_taken_for_signal(method: Method) -> None:
    """200 layers of nothing, in more dimensions than pairs, where every method separates what it was fitted to."""
    qualities = [measured(method, noise(12, 16, seed)) for seed in range(200)]
    assert sum(bool(quality.signal) for quality in qualities) <= 8
    assert np.mean([quality.auc for quality in qualities]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([quality.null_auc_mean for quality in qualities]) == pytest.approx(0.5, abs=0.02)
    assert np.mean([quality.split_half_cosine for quality in qualities]) == pytest.approx(0.0, abs=0.05)


def test_the_null_against_a_plain_loop() -> None:
    positive, negative = shifted(40, 10, 0.5, seed=3)
    generator = np.random.default_rng(99)
    aucs, sizes = [], []
    for _ in range(2000):
        kept = generator.random((40, 1)) < 0.5
        one, other = np.where(kept, positive, negative), np.where(kept, negative, positive)
        order = generator.permutation(40)
        found = []
        for fitted, held in ((order[:20], order[20:]), (order[20:], order[:20])):
            direction = (one[fitted] - other[fitted]).mean(axis=0)
            high, low = one[held] @ direction, other[held] @ direction
            pooled = np.sqrt((np.var(high, ddof=1) + np.var(low, ddof=1)) / 2)
            found.append((np.mean(high[:, None] > low), (high.mean() - low.mean()) / pooled))
        auc, size = np.mean(found, axis=0)
        aucs.append(auc)
        sizes.append(size)
    # The 99th percentile of 199 swaps is the second largest, which is not known well.
    quality = measured("mean-difference", (positive, negative))
    assert quality.null_auc == pytest.approx(np.percentile(aucs, 99), abs=0.06)
    assert quality.null_auc_mean == pytest.approx(np.mean(aucs), abs=0.02)
    assert quality.null_cohens_d == pytest.approx(np.percentile(sizes, 99), abs=0.25)


def test_stability_against_a_plain_loop() -> None:
    positive, negative = shifted(50, 10, 1.5, seed=4)
    differences = positive.astype(np.float64) - negative
    generator = np.random.default_rng(99)

    def cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    halves = []
    for _ in range(500):
        order = generator.permutation(50)
        halves.append(cosine(differences[order[:25]].mean(axis=0), differences[order[25:]].mean(axis=0)))
    quality = measured("mean-difference", (positive, negative))
    assert quality.difference_cosine == pytest.approx(
        np.mean([cosine(difference, differences.mean(axis=0)) for difference in differences])
    )
    assert quality.split_half_cosine == pytest.approx(np.mean(halves), abs=0.06)


@every_method
def test_the_dominant_dimension_is_that_of_the_vector(method: Method) -> None:
    sides = noise(30, 40, 7)
    vector = estimate(method, *sides).astype(np.float64)
    quality = measured(method, sides)
    assert quality.dominant_dimension == np.argmax(np.abs(vector))
    assert quality.dominant_share == pytest.approx(np.max(vector**2) / np.sum(vector**2), rel=1e-4)


def test_a_massive_dimension_shows() -> None:
    positive, negative = shifted(30, 40, 1.0)
    positive[:, 17] *= 500
    negative[:, 17] *= 500
    quality = measured("mean-difference", (positive, negative))
    assert quality.dominant_dimension == 17
    assert quality.dominant_share > 0.99


@every_method
def test_two_calls_give_the_same_numbers_and_they_survive_json(method: Method) -> None:
    sides = shifted(15, 20, 1.0)
    quality = measured(method, sides)
    assert measured(method, sides) == quality
    stored = quality.as_json()
    assert stored.pop("words_auc") is None
    assert {type(value) for value in stored.values()} == {float, int, bool}
    assert LayerQuality.from_json(json.loads(json.dumps(stored, allow_nan=False))) == quality


def test_what_an_earlier_release_stored_is_read() -> None:
    stored = measured("mean-difference", shifted(15, 20, 1.0)).as_json()
    earlier = {
        key: value
        for key, value in stored.items()
        if key not in ("p_value", "difference_cosine", "clusters", "words_auc")
    }
    found = LayerQuality.from_json({**earlier, "bootstrap_cosine": 0.9})
    assert (found.auc, found.signal) == (stored["auc"], stored["signal"])
    assert (found.p_value, found.difference_cosine, found.clusters) == (None, None, None)


@every_method
def test_few_pairs_are_not_measured(method: Method) -> None:
    sides = shifted(FEWEST_CLUSTERS, 6, 1.0)
    assert measure(method, *(side[: FEWEST_CLUSTERS - 1] for side in sides)) is None
    quality = measured(method, sides)
    assert quality.signal is None and quality.clusters == FEWEST_CLUSTERS
    assert np.isfinite([value for value in asdict(quality).values() if value is not None]).all()


@every_method
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [4, 9, 40])
def test_equal_sides_are_told_as_nothing(method: Method, n: int) -> None:
    side, _ = noise(n, 12, 1)
    for both in (side, np.ones_like(side)):
        assert measured(method, (both, both)) == LayerQuality(
            auc=0.5,
            cohens_d=0.0,
            null_auc=0.5,
            null_auc_mean=0.5,
            null_cohens_d=0.0,
            signal=False if n >= ENOUGH_CLUSTERS else None,
            split_half_cosine=0.0,
            dominant_dimension=0,
            dominant_share=0.0,
            p_value=1.0,
            difference_cosine=0.0,
            clusters=n,
        )


@every_method
@pytest.mark.filterwarnings("error")
def test_sides_that_never_vary_are_finite(method: Method) -> None:
    positive, negative = np.full((8, 5), 2, np.float32), np.full((8, 5), 1, np.float32)
    quality = measured(method, (positive, negative))
    assert quality.auc == 1
    assert quality.cohens_d == pytest.approx(MOST_COHENS_D)
    assert quality.split_half_cosine == pytest.approx(1)


def test_words_that_do_as_much_as_the_vector_are_said_with_the_layers() -> None:
    quality = measured("mean-difference", shifted(15, 20, 1.0))
    at = {layer: replace(quality, auc=auc, words_auc=0.8) for layer, auc in ((0, 0.7), (1, 0.8), (2, 0.9))}
    assert "AUC of 0.800. At layers 0-1 that is as much as the vector" in words_alone(at)
    assert words_alone({2: at[2]}).endswith("with an AUC of 0.800.")
    assert "At every layer" in words_alone({0: at[0]})
    assert words_alone({0: quality}) == "" == words_alone({})
