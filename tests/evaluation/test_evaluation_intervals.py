"""Intervals over clusters: a plain loop of their definition, scipy, and how often they hold the truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

import caa_registry.evaluation.inference.intervals as intervals
from caa_registry.evaluation.inference.intervals import (
    FEWEST_CLUSTERS,
    SEED,
    Interval,
    Units,
    bounded,
    mean,
    means,
    ratio,
    standard_errors,
    weighted_means,
    weighted_ratios,
)

Floats = NDArray[np.float64]

FEW = 299
"""Resamples where only the definition counts."""
SIMULATIONS = 1000
DRAWS: dict[str, tuple[Callable[..., Floats], float]] = {
    "lognormal": (lambda g, size: g.lognormal(0, 0.5, size), float(np.exp(0.125))),
    "exponential": (lambda g, size: g.exponential(1, size), 1.0),
    "chi2": (lambda g, size: g.chisquare(1, size), 1.0),
}
"""Skewed scores and their means."""


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", FEW)


def bounds(interval: Interval) -> tuple[float, float]:
    assert interval.low is not None and interval.high is not None
    return interval.low, interval.high


def same(one: Interval, other: Interval) -> None:
    assert one.value == pytest.approx(other.value, abs=1e-12)
    assert bounds(one) == pytest.approx(bounds(other), rel=1e-9, abs=1e-12)


def plain_loop(value: float, moves: Sequence[Floats]) -> tuple[float, float]:
    """The interval from how far each cluster moves the value, by kinds of clusters, ascending by their number."""
    error = np.sqrt(sum(len(kind) * np.var(kind, ddof=1) for kind in moves))
    drawn = [np.random.default_rng(SEED + i).integers(0, len(k), (FEW, len(k))) for i, k in enumerate(moves)]
    studentized = []
    for resample in range(FEW):
        moved = squared = 0.0
        for kind, places in zip(moves, drawn, strict=True):
            centred = kind - kind.mean()
            again = np.array([centred[place] for place in places[resample]])
            moved += again.sum()
            squared += len(again) * np.var(again, ddof=1)
        studentized.append(moved / np.sqrt(squared))
    low, high = np.quantile(studentized, [0.025, 0.975])
    t = stats.t.ppf(0.975, sum(len(kind) - 1 for kind in moves))
    return min(value - t * error, value - high * error), max(value + t * error, value - low * error)


def test_the_interval_of_a_mean_against_a_plain_loop(few: None) -> None:
    values = np.random.default_rng(0).exponential(1, 23)
    found = mean(values)
    assert (found.value, found.n) == (pytest.approx(values.mean()), 23)
    assert bounds(found) == pytest.approx(plain_loop(values.mean(), [values / 23]))


def test_the_interval_over_clusters_against_a_plain_loop(few: None) -> None:
    generator = np.random.default_rng(1)
    clusters = generator.integers(0, 9, 40)
    values = generator.exponential(1, 40) + clusters
    moved = np.array([(values[clusters == c] - values.mean()).sum() / 40 for c in range(9)])
    assert bounds(mean(values, Units.of(clusters))) == pytest.approx(plain_loop(values.mean(), [moved]))


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.5, -0.5), (1.0, -1.0)])
def test_weighted_means_against_a_plain_loop(weights: tuple[float, float], few: None) -> None:
    values = np.random.default_rng(2).exponential(1, 30)
    letters = np.array(["A"] * 19 + ["B"] * 11)
    a, b = values[:19], values[19:]
    value = weights[0] * a.mean() + weights[1] * b.mean()
    (found,) = weighted_means(values[:, None], Units.of(range(30), letters), weights)
    assert (found.value, found.n) == (pytest.approx(value), 30)
    moves = [weights[1] * (b - b.mean()) / 11, weights[0] * (a - a.mean()) / 19]
    assert bounds(found) == pytest.approx(plain_loop(value, moves))
    # What is known of a mean of two independent means.
    error = np.sqrt((weights[0] ** 2) * a.var(ddof=1) / 19 + (weights[1] ** 2) * b.var(ddof=1) / 11)
    assert standard_errors(values[:, None], Units.of(range(30), letters), weights)[0] == pytest.approx(error)


def test_the_interval_of_a_ratio_by_hand() -> None:
    numerators, denominators = np.array([1.0, 2.0, 3.0, 4.0, 10.0]), np.array([1, 1, 2, 2, 4])
    found = ratio(numerators, denominators)
    # 20 over 10; a passage moves it by (y - 2 x) / 10, whose squares sum to 0.06; 5 / 4 of that is the variance.
    assert found.value == 2 and found.n == 5
    half = 2.776445 * np.sqrt(0.075)
    low, high = bounds(found)
    assert low <= 2 - half and high >= 2 + half
    # What it is skewed to shows on that side alone.
    assert low == pytest.approx(2 - half, abs=1e-6) or high == pytest.approx(2 + half, abs=1e-6)


def test_the_interval_of_a_ratio_against_a_plain_loop(few: None) -> None:
    generator = np.random.default_rng(8)
    sums, tokens = generator.exponential(1, 20), generator.integers(1, 9, 20)
    value = sums.sum() / tokens.sum()
    moved = (sums - value * tokens) / tokens.sum()
    assert bounds(ratio(sums, tokens)) == pytest.approx(plain_loop(value, [moved]))


def test_a_ratio_is_as_wide_as_the_jackknife_says() -> None:
    generator = np.random.default_rng(3)
    tokens = generator.integers(20, 200, 80).astype(float)
    sums = tokens * generator.gamma(4, 0.25, 80)
    without = (sums.sum() - sums) / (tokens.sum() - tokens)
    error = np.sqrt(79 / 80 * ((without - without.mean()) ** 2).sum())
    low, high = bounds(ratio(sums, tokens))
    assert high - low == pytest.approx(2 * stats.t.ppf(0.975, 79) * error, rel=0.1)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=FEWEST_CLUSTERS, max_size=40))
def test_an_interval_holds_that_of_student(values: list[float]) -> None:
    found = mean(np.array(values))
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    half = stats.t.ppf(0.975, len(values) - 1) * error
    if found.low is not None:
        low, high = bounds(found)
        assert low <= found.value - half + 1e-12 and high >= found.value + half - 1e-12
    else:
        # So many agree that resamples of nothing else are common.
        rounded = [round(value, 6) for value in values]
        shares = [rounded.count(value) / len(values) for value in set(rounded)]
        assert sum(share ** len(values) for share in shares) > 0.02
    assert found.value == pytest.approx(np.mean(values)) and found.n == len(values)
    assert mean(np.array(values)) == found


def test_of_values_that_are_not_skewed_it_is_hardly_wider_than_that_of_student() -> None:
    values = np.random.default_rng(1).normal(2, 1, 400)
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert bounds(mean(values)) == pytest.approx((wanted.low, wanted.high), abs=0.01)


def test_of_skewed_values_it_reaches_further_on_the_side_of_their_tail() -> None:
    values = np.random.default_rng(5).exponential(1, 20)
    low, high = bounds(mean(values))
    assert high - values.mean() > 1.2 * (values.mean() - low)
    turned = mean(-values)
    assert bounds(turned) == pytest.approx((-high, -low), rel=0.05)


def test_values_that_do_not_vary_have_no_width() -> None:
    found = mean(np.full(7, 0.3))
    assert bounds(found) == pytest.approx((0.3, 0.3))
    assert bounds(ratio(np.arange(1.0, 9.0) * 3, np.arange(1, 9))) == pytest.approx((3, 3))


@pytest.mark.parametrize(
    "values",
    [[0.0] * 19 + [1.0], [5.0] * 17 + [6.0, 6.0, 7.0], [60.0] * 18 + [41.0, 12.0], [0.0] * 4 + [1.0]],
    ids=["one of 20", "ratings", "lengths", "one of 5"],
)
def test_where_most_values_agree_the_interval_keeps_to_their_scale(values: list[float]) -> None:
    """Or there is none: not one that ends at 50 million where values are 0 and 1."""
    found = mean(np.array(values))
    if found.low is not None or found.high is not None:
        low, high = bounds(found)
        assert min(values) - 2 * np.ptp(values) <= low <= high <= max(values) + 2 * np.ptp(values)


@pytest.mark.parametrize("clusters", range(1, 7))
def test_fewer_than_5_clusters_have_no_interval(clusters: int) -> None:
    values = np.random.default_rng(0).random(12)
    units = Units.of(np.arange(12) % clusters)
    for found in (mean(values, units), ratio(values, np.ones(12), units), *means(values[:, None], units)):
        assert found.value == pytest.approx(values.mean()) and found.n == 12
        assert (found.low is None, found.high is None) == ((clusters < 5,) * 2)
    assert mean(np.array([0.3])) == Interval(0.3, None, None, 1)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6))
def test_the_order_of_rows_does_not_show(seed: int) -> None:
    generator = np.random.default_rng(seed)
    clusters, letters = generator.integers(0, 8, 30), generator.choice(["A", "B"], 30)
    values, tokens = generator.exponential(1, (30, 2)), generator.integers(1, 9, 30).astype(float)
    order = generator.permutation(30)
    units, again = Units.of(clusters, letters), Units.of(clusters[order], letters[order])
    for weights in ((0.5, 0.5), (0.5, -0.5)):
        found = weighted_ratios(values, tokens, units, weights)
        for one, other in zip(found, weighted_ratios(values[order], tokens[order], again, weights), strict=True):
            same(one, other)


@pytest.mark.parametrize("times", [2, 4])
def test_rows_that_repeat_in_a_cluster_add_nothing(times: int) -> None:
    generator = np.random.default_rng(4)
    values, letters = generator.exponential(1, 24), np.array(["A", "B", "A", "A"] * 6)
    tokens = generator.integers(1, 9, 24).astype(float)
    every = np.repeat(np.arange(24), times)
    once, repeated = Units.of(range(24), letters), Units.of(every, letters[every])
    for weights in ((0.5, 0.5), (0.5, -0.5)):
        (wanted,) = weighted_means(values[:, None], once, weights)
        (found,) = weighted_means(values[every][:, None], repeated, weights)
        same(found, wanted)
        assert found.n == 24 * times
    same(mean(values[every], repeated), mean(values))
    same(ratio(values[every], tokens[every], Units.of(every)), ratio(values, tokens))
    # Taken as if each were its own, it is too narrow.
    low, high = bounds(mean(values[every]))
    assert high - low < 0.8 * np.ptp(bounds(mean(values)))


def test_a_cluster_with_both_letters_varies_as_one(few: None) -> None:
    generator = np.random.default_rng(6)
    # Every question in both orders: what it adds to A it takes from B, so that half their sum does not vary.
    own = generator.normal(size=12)
    values, clusters = np.concatenate([own, -own]), np.tile(np.arange(12), 2)
    units = Units.of(clusters, ["A"] * 12 + ["B"] * 12)
    (level,) = weighted_means(values[:, None], units, [0.5, 0.5])
    assert bounds(level) == pytest.approx((0, 0), abs=1e-9)
    (letter,) = weighted_means(values[:, None], units, [0.5, -0.5])
    assert bounds(letter) == pytest.approx(plain_loop(own.mean(), [own / 12]))


def test_clusters_are_resampled_among_those_of_the_same_letters(few: None) -> None:
    generator = np.random.default_rng(11)
    # 6 questions with A, 8 with B, and 10 in both orders.
    clusters = np.array([*range(24), *range(14, 24)])
    letters = np.array(["A"] * 6 + ["B"] * 8 + ["A"] * 10 + ["B"] * 10)
    values = generator.exponential(1, 34)
    moved = np.zeros(24)
    for letter, weight in (("A", 0.5), ("B", 0.5)):
        own = letters == letter
        for cluster, value in zip(clusters[own], values[own], strict=True):
            moved[cluster] += weight * (value - values[own].mean()) / own.sum()
    (found,) = weighted_means(values[:, None], Units.of(clusters, letters), [0.5, 0.5])
    assert bounds(found) == pytest.approx(plain_loop(found.value, [moved[:6], moved[6:14], moved[14:]]))


def test_letters_of_few_clusters_are_taken_with_others() -> None:
    generator = np.random.default_rng(7)
    values = generator.normal(size=(40, 1))
    letters = np.array(["A"] * 36 + ["B"] * 2 + ["C"] * 2)
    (found,) = weighted_means(values, Units.of(range(40), letters), [1 / 3] * 3)
    low, high = bounds(found)
    assert np.isfinite([low, high]).all() and low < found.value < high
    assert found.value == pytest.approx(np.mean([values[letters == x].mean() for x in "ABC"]))


def test_columns_are_resampled_together() -> None:
    values = np.random.default_rng(1).random((30, 3))
    values[:, 2] = values[:, 0] - values[:, 1]
    found = means(values)
    for one, column in zip(found, values.T, strict=True):
        same(one, mean(column))
    assert found[2].value == pytest.approx(found[0].value - found[1].value)


def test_how_many_are_drawn_at_a_time_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).random(37)
    found = mean(values)
    monkeypatch.setattr(intervals, "_DRAWN_AT_ONCE", 1000)
    same(mean(values), found)


def test_some_items_keep_their_clusters_and_letters() -> None:
    units = Units.of(["x", "y", "x", "z"], ["A", "B", "C", "A"])
    assert (units.clusters.tolist(), units.strata.tolist(), units.count) == ([0, 1, 0, 2], [0, 1, 2, 0], 3)
    some = units.take(np.array([False, True, False, True]))
    assert (some.clusters.tolist(), some.strata.tolist(), some.count) == ([0, 1], [1, 0], 2)
    assert Units.single(3).clusters.tolist() == [0, 1, 2] and Units.of([]).count == 0


def test_bounds_that_cannot_be_are_cut_off() -> None:
    assert bounded(Interval(0.9, 0.7, 1.2, 5), 0.0, 1.0) == Interval(0.9, 0.7, 1.0, 5)
    assert bounded(Interval(0.1, -0.3, 0.4, 5), 0.0, 1.0) == Interval(0.1, 0.0, 0.4, 5)
    assert bounded(Interval(0.9, None, None, 4), 0.0, 1.0) == Interval(0.9, None, None, 4)


def held(found: Sequence[Interval], truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in map(bounds, found)]))


def clustered(draw: str, clusters: int, items: int, generator: np.random.Generator) -> Floats:
    """``(clusters * items, simulations)``: items that are alike where they share a cluster."""
    function, _ = DRAWS[draw]
    shared = np.repeat(function(generator, (clusters, SIMULATIONS)), items, axis=0)
    return shared if items == 1 else 0.7 * shared + 0.3 * function(generator, shared.shape)


@pytest.mark.parametrize("items", [1, 4])
@pytest.mark.parametrize("clusters", [20, 50])
@pytest.mark.parametrize("draw", DRAWS)
def test_intervals_hold_the_truth_as_often_as_they_say(
    draw: str, clusters: int, items: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between 92 and 98 % of the time, within 3 standard errors of 1,000 simulations."""
    monkeypatch.setattr(intervals, "RESAMPLES", 999)
    generator = np.random.default_rng([clusters, items])
    truth = DRAWS[draw][1]
    values = clustered(draw, clusters, items, generator)
    labels = np.repeat(np.arange(clusters), items)
    letters = np.where(labels % 5 < 3, "A", "B")
    shares = {
        "mean": held(means(values, Units.of(labels)), truth),
        "behavior": held(weighted_means(values, Units.of(labels, letters), [0.5, 0.5]), truth),
        "letter": held(weighted_means(values, Units.of(labels, letters), [0.5, -0.5]), 0.0),
    }
    tokens = generator.integers(20, 200, len(values)).astype(float)
    ratios = weighted_ratios(values * tokens[:, None], tokens, Units.of(labels), [1.0])
    shares["ratio"] = held(ratios, truth)
    error = 3 * np.sqrt(0.05 * 0.95 / SIMULATIONS)
    assert {kind: share for kind, share in shares.items() if not 0.92 - error <= share <= 0.98 + error} == {}
