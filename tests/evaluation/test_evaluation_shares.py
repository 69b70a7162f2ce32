"""Shares of items and Wilson's interval, over clusters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from caa_registry.evaluation.inference.intervals import Interval, Units
from caa_registry.evaluation.inference.shares import shares, wilson


def share(holds: np.ndarray, units: Units | None = None) -> Interval:
    (found,) = shares(holds[:, None], units)
    return found


def bounds(interval: Interval) -> tuple[float, float]:
    assert interval.low is not None and interval.high is not None
    return interval.low, interval.high


def by_scipy(holds: int, n: int) -> tuple[float, float]:
    found = binomtest(holds, n).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def some(holds: int, n: int) -> np.ndarray:
    return np.arange(n) < holds


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_wilson_s(counts: tuple[int, int]) -> None:
    holds, n = counts
    assert bounds(wilson(holds / n, n, n)) == pytest.approx(by_scipy(holds, n), abs=1e-9)


@pytest.mark.parametrize(("holds", "n"), [(1, 20), (7, 20), (10, 20), (3, 50), (49, 50), (2, 5)])
def test_independent_items_count_as_they_are(holds: int, n: int) -> None:
    assert bounds(share(some(holds, n))) == pytest.approx(by_scipy(holds, n), abs=1e-9)


@given(st.integers(6, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_independent_items_count_as_all_or_as_all_but_one(counts: tuple[int, int]) -> None:
    holds, n = counts
    found = share(some(holds, n))
    low, high = bounds(found)
    least, most = by_scipy(holds, n)
    wider = bounds(wilson(holds / n, n - 1, n))
    assert wider[0] - 1e-9 <= low <= least + 1e-9 and most - 1e-9 <= high <= wider[1] + 1e-9
    assert (found.value, found.n) == (pytest.approx(holds / n), n)


@given(st.integers(5, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n), st.integers(2, 5))))
def test_repeats_add_nothing(counts: tuple[int, int, int]) -> None:
    holds, n, times = counts
    once, every = some(holds, n), np.repeat(np.arange(n), times)
    found = share(once[every], Units.of(every))
    assert bounds(found) == pytest.approx(bounds(share(once)), abs=1e-9)
    assert (found.value, found.n) == (pytest.approx(holds / n), n * times)


def test_clusters_that_agree_in_part_count_in_between() -> None:
    generator = np.random.default_rng(0)
    clusters = np.repeat(np.arange(40), 4)
    own = generator.random(40) < 0.4
    # Half the items are as their cluster, the others are on their own.
    holds = np.where(generator.random(160) < 0.5, own[clusters], generator.random(160) < 0.4)
    low, high = bounds(share(holds, Units.of(clusters)))
    value = float(holds.mean())
    as_items, as_clusters = (np.ptp(bounds(wilson(value, count, 160))) for count in (160, 40))
    assert as_items < high - low < as_clusters


def test_clusters_that_balance_count_as_their_items_at_most() -> None:
    holds = np.tile([True, False, True, False], 20)
    found = share(holds, Units.of(np.repeat(np.arange(20), 4)))
    # No cluster differs from another: their number is what is known of them.
    assert bounds(found) == pytest.approx(by_scipy(10, 20), abs=1e-9)
    holds[0] = False
    assert bounds(share(holds, Units.of(np.repeat(np.arange(20), 4)))) == pytest.approx(by_scipy(39, 80), abs=1e-9)


def test_where_all_agree_the_interval_has_a_length() -> None:
    for n in (5, 20):
        low, high = bounds(share(np.zeros(n, bool)))
        assert low == 0 and high == pytest.approx(by_scipy(0, n)[1])
        low, high = bounds(share(np.ones(4 * n, bool), Units.of(np.repeat(np.arange(n), 4))))
        assert high == 1 and low == pytest.approx(by_scipy(n, n)[0])


def test_fewer_than_5_clusters_have_no_interval() -> None:
    holds = np.array([True, False, True, True] * 3)
    for clusters in (1, 4):
        assert share(holds, Units.of(np.arange(12) % clusters)) == Interval(0.75, None, None, 12)
    assert share(holds, Units.of(np.arange(12) % 5)).low is not None


def test_strata_of_the_items_play_no_part() -> None:
    holds = np.random.default_rng(1).random(30) < 0.3
    assert share(holds, Units.of(range(30), ["A", "B", "B"] * 10)) == share(holds)


@pytest.mark.parametrize("truth", [0.05, 0.3, 0.5])
@pytest.mark.parametrize(("clusters", "items"), [(20, 1), (50, 1), (20, 4), (50, 4)])
def test_shares_hold_the_truth_as_often_as_they_say(truth: float, clusters: int, items: int) -> None:
    """Between 92 and 98 % of the time, within 3 standard errors of 1,000 simulations."""
    generator = np.random.default_rng([int(100 * truth), clusters, items])
    units = Units.of(np.repeat(np.arange(clusters), items))
    inside = 0
    for _ in range(1000):
        levels = generator.beta(4 * truth, 4 * (1 - truth), clusters)
        low, high = bounds(share(generator.random(clusters * items) < np.repeat(levels, items), units))
        inside += low <= truth <= high
    error = 3 * np.sqrt(0.05 * 0.95 / 1000)
    assert 0.92 - error <= inside / 1000 <= 0.98 + error


def test_columns_are_each_on_their_own() -> None:
    holds = np.random.default_rng(0).random((40, 5)) < [0, 0.1, 0.5, 0.9, 1]
    units = Units.of(np.arange(40) // 2)
    assert shares(holds, units) == [share(column, units) for column in holds.T]
