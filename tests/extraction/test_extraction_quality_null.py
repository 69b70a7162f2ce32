"""What noise and letters must not be taken for: p-values of quality under nulls, and what is found all the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from caa_registry.extraction.grouping import Grouping, halves
from caa_registry.extraction.quality import SEED, measure
from caa_registry.vectors import LayerQuality

Floats = NDArray[np.float32]
Case = tuple[Floats, Floats, Grouping]

SIMULATIONS = 150
MOST = SIMULATIONS * 0.05 + 3 * np.sqrt(SIMULATIONS * 0.05 * 0.95)
D = 6


def of_letters(right: NDArray[np.bool_]) -> NDArray[np.str_]:
    """The sides' letters, where A is right or where B is."""
    return np.where(right[:, None], ["A", "B"], ["B", "A"])


def lettered(
    generator: np.random.Generator, n: int, part: float, letter: float, behavior: float = 0.0, clusters: int = 0
) -> Case:
    """Activations after A and after B differ by ``letter`` along the first dimension, those of the two sides by
    ``behavior`` along the second. A is right in ``part`` of the pairs; each question has noise of its own."""
    right = np.arange(n) < round(part * n)
    clusters_of = np.arange(n) % clusters if clusters else np.arange(n)
    sides = generator.normal(size=(2, n, D)) + generator.normal(size=(n, D))[clusters_of]
    signs = np.where(right, 1.0, -1.0)
    for side, sign in zip(sides, (1, -1), strict=True):
        side[:, 0] += sign * signs * letter / 2
        side[:, 1] += sign * behavior / 2
    positive, negative = sides.astype(np.float32)
    return positive, negative, Grouping(clusters_of, of_letters(right))


def independent(generator: np.random.Generator) -> Case:
    positive, negative = generator.normal(size=(2, 24, D)).astype(np.float32)
    return positive, negative, Grouping.none(24)


def four_times(generator: np.random.Generator) -> Case:
    every = np.repeat(np.arange(12), 4)
    positive, negative = generator.normal(size=(2, 12, D)).astype(np.float32)
    return positive[every], negative[every], Grouping(every, np.full((48, 2), ""))


def imbalanced(generator: np.random.Generator) -> Case:
    return lettered(generator, 28, 0.61, 6.0)


def measured(case: Case) -> LayerQuality:
    quality = measure("mean-difference", *case)
    assert quality is not None
    return quality


@pytest.mark.parametrize("null", [independent, four_times, imbalanced], ids=lambda null: str(null.__name__))
def test_of_nothing_p_values_are_as_rare_as_they_say(null: Callable[[np.random.Generator], Case]) -> None:
    """Of 150 simulated nulls p <= 0.05 in no more than 5 % and 3 standard errors."""
    generator = np.random.default_rng(20)
    found = [measured(null(generator)) for _ in range(SIMULATIONS)]
    p_values = np.array([quality.p_value for quality in found])
    assert (p_values <= 0.05).sum() <= MOST
    assert np.mean([quality.auc for quality in found]) == pytest.approx(0.5, abs=0.03)
    assert p_values.mean() == pytest.approx(0.5, abs=0.1)
    assert sum(bool(quality.signal) for quality in found) <= 6
    # At most one of 199 swaps reaches it: it is above the second largest.
    assert all(quality.signal == (quality.auc > quality.null_auc + 1e-12) for quality in found)


def test_repeats_that_are_taken_for_independent_would_be_called_signal() -> None:
    """So that the check above can fail: without clusters repeats are on both sides of every split."""
    generator = np.random.default_rng(21)
    below = 0
    for _ in range(20):
        positive, negative, grouping = four_times(generator)
        alone = measured((positive, negative, Grouping.none(len(grouping.clusters))))
        below += alone.p_value is not None and alone.p_value <= 0.05
    assert below >= 10


def test_letters_that_are_taken_for_nothing_would_be_called_signal() -> None:
    positive, negative, _ = imbalanced(np.random.default_rng(22))
    assert measured((positive, negative, Grouping.none(28))).auc > 0.55


@pytest.mark.parametrize("method", ["mean-difference", "logistic", "lda"])
def test_a_behavior_is_found_beside_a_letter(method: str) -> None:
    generator = np.random.default_rng(23)
    for clusters in (0, 30):
        quality = measure(method, *lettered(generator, 60, 0.61, 6.0, behavior=3.0, clusters=clusters))
        assert quality is not None and quality.signal and quality.auc > 0.8
        assert quality.p_value == 1 / 200 and quality.auc > quality.null_auc
        # The letter's dimension has no part in the direction.
        assert quality.dominant_dimension == 1


@pytest.mark.parametrize("method", ["mean-difference", "pca", "logistic", "lda"])
def test_a_letter_alone_is_no_behavior(method: str) -> None:
    generator = np.random.default_rng(24)
    found = [measure(method, *lettered(generator, 40, 0.61, 20.0)) for _ in range(10)]
    assert sum(quality is not None and bool(quality.signal) for quality in found) <= 1
    assert np.mean([quality.auc for quality in found if quality]) == pytest.approx(0.5, abs=0.08)


def test_one_letter_alone_tells_nothing() -> None:
    positive, negative, grouping = lettered(np.random.default_rng(25), 40, 1.0, 6.0, behavior=3.0)
    assert set(grouping.strata[:, 0]) == {"A"}
    assert measure("mean-difference", positive, negative, grouping) is None


@pytest.mark.parametrize(("clusters", "said"), [(4, None), (9, None), (10, True)])
def test_with_few_clusters_it_is_not_said_whether_there_is_a_signal(clusters: int, said: bool | None) -> None:
    every = np.arange(40) % clusters
    positive, negative = np.random.default_rng(26).normal(size=(2, 40, D)).astype(np.float32)
    positive[:, 0] += 9
    quality = measured((positive, negative, Grouping(every, np.full((40, 2), ""))))
    assert (quality.signal, quality.clusters) == (said, clusters)
    assert quality.p_value is not None and quality.auc == 1


def test_fewer_than_4_clusters_are_not_measured() -> None:
    positive, negative = np.random.default_rng(27).normal(size=(2, 40, D)).astype(np.float32)
    for clusters, measured_ in ((3, False), (4, True)):
        grouping = Grouping(np.arange(40) % clusters, np.full((40, 2), ""))
        assert (measure("mean-difference", positive, negative, grouping) is not None) == measured_


@pytest.mark.parametrize("behavior", [0.0, 1.0])
def test_auc_is_the_mean_over_letters_of_scikit_learn_s(behavior: float) -> None:
    positive, negative, grouping = lettered(np.random.default_rng(28), 44, 0.61, 3.0, behavior, clusters=33)
    first, second = halves(grouping, np.random.default_rng(SEED))
    found = []
    for fitted, held in ((first, second), (second, first)):
        differences = (positive - negative).astype(np.float64)[fitted]
        a = grouping.strata[fitted, 0] == "A"
        direction = differences[a].mean(axis=0) + differences[~a].mean(axis=0)
        projections = np.concatenate([side[held].astype(np.float64) @ direction for side in (positive, negative)])
        letters = np.concatenate([grouping.strata[held, 0], grouping.strata[held, 1]])
        labels = np.repeat([1, 0], len(held))
        found.append(np.mean([roc_auc_score(labels[letters == x], projections[letters == x]) for x in "AB"]))
    assert measured((positive, negative, grouping)).auc == pytest.approx(np.mean(found))


def test_how_alike_pairs_are_is_told_without_letters() -> None:
    generator = np.random.default_rng(29)
    positive, negative, grouping = lettered(generator, 60, 0.61, 0.0, behavior=2.0)
    plain = measured((positive, negative, grouping)).difference_cosine
    differences = (positive - negative).astype(np.float64)
    a = grouping.strata[:, 0] == "A"
    letter = (differences[a].mean(axis=0) - differences[~a].mean(axis=0)) / 2
    differences -= np.where(a, 1.0, -1.0)[:, None] * letter
    mean = differences.mean(axis=0)
    wanted = np.mean(differences @ mean / np.linalg.norm(differences, axis=1) / np.linalg.norm(mean))
    assert plain == pytest.approx(wanted)
    # A letter of any strength changes nothing.
    pushed = np.where(a, 7.0, -7.0).astype(np.float32)
    positive[:, 0] += pushed
    negative[:, 0] -= pushed
    assert measured((positive, negative, grouping)).difference_cosine == pytest.approx(plain, rel=1e-4)


def test_pairs_that_differ_alike_have_a_cosine_of_1() -> None:
    side = np.random.default_rng(30).normal(size=(12, D)).astype(np.float32)
    assert measured((side + np.float32(1), side, Grouping.none(12))).difference_cosine == pytest.approx(1, abs=1e-5)
