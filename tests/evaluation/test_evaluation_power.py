"""How small a mean the items at hand would show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from caa_registry.evaluation.inference.intervals import Interval, Units, weighted_means
from caa_registry.evaluation.inference.power import Power, detectable, needed, powers
from caa_registry.evaluation.letters import contrasts_of

DRAWS = 4_000


@pytest.mark.parametrize("clusters", [20, 50])
@pytest.mark.parametrize("items", [1, 4])
def test_a_true_mean_of_that_size_is_found_in_80_of_100_samples(clusters: int, items: int) -> None:
    """Items of a cluster share most of what they are. The test is Student's, over the clusters' means."""
    generator = np.random.default_rng([20241128, clusters, items])
    spread = np.sqrt(1 + 0.25 / items)
    true = detectable(spread / np.sqrt(clusters), clusters)
    shared = generator.standard_normal((DRAWS, clusters, 1))
    samples = true + shared + 0.5 * generator.standard_normal((DRAWS, clusters, items))
    rejected = stats.ttest_1samp(samples.mean(axis=2), 0, axis=1).pvalue <= 0.05
    assert abs(rejected.mean() - 0.8) <= 3 * np.sqrt(0.8 * 0.2 / DRAWS)


@pytest.mark.parametrize("clusters", [20, 50, 200])
def test_it_is_what_the_noncentral_t_gives(clusters: int) -> None:
    reach, edge = detectable(1.0, clusters), stats.t(clusters - 1).ppf(0.975)
    found = stats.nct(clusters - 1, reach)
    assert found.sf(edge) + found.cdf(-edge) == pytest.approx(0.8, abs=0.005)


def test_its_error_is_that_of_the_interval_and_clusters_are_what_counts() -> None:
    values = np.random.default_rng(3).normal(0.2, 1, (30, 1))
    alone = Units.single(30)
    (interval,) = weighted_means(values, alone, [1.0])
    (power,) = powers([interval], values, alone, [1.0])
    error = stats.sem(values[:, 0])
    factor = stats.t(29).ppf(0.975) + stats.t(29).ppf(0.8)
    assert (power.items, power.clusters) == (30, 30)
    assert power.detectable == pytest.approx(factor * error)
    # Every item four times tells nothing more.
    repeated, units = np.repeat(values, 4, axis=0), Units.of(np.repeat(np.arange(30), 4))
    (same,) = powers(weighted_means(repeated, units, [1.0]), repeated, units, [1.0])
    assert (same.items, same.clusters) == (120, 30)
    assert same.detectable == pytest.approx(power.detectable)


def test_where_there_is_no_interval_nothing_is_said() -> None:
    values, units = np.arange(4.0)[:, None], Units.single(4)
    assert powers(weighted_means(values, units, [1.0]), values, units, [1.0]) == [Power(4, 4, None, None)]
    # Of a letter with too few clusters neither.
    weighed = contrasts_of(["A"] * 9 + ["B"] * 20, range(29))
    columns = np.random.default_rng(0).random((29, 1))
    assert weighed.power(columns, weighed.behavior(columns)) == [Power(29, 29, None, None)]
    # What does not vary shows nothing about what would.
    equal = np.full((20, 1), 0.5)
    found = powers(weighted_means(equal, Units.single(20), [1.0]), equal, Units.single(20), [1.0])
    assert found == [Power(20, 20, None, None)]


def test_of_values_that_one_of_them_decides_nothing_is_said() -> None:
    """Student's error says nothing of where their mean lies, as the interval shows, which is much wider."""
    values, units = np.array([[0.0, 0.001, -0.001, 0.002, -0.9]]).T, Units.single(5)
    (interval,) = weighted_means(values, units, [1.0])
    narrow = 2 * stats.t(4).ppf(0.975) * stats.sem(values[:, 0])
    assert interval.low is None or interval.high - interval.low > 1.5 * narrow
    assert powers([interval], values, units, [1.0]) == [Power(5, 5, None, None)]


@given(st.floats(0.01, 5), st.integers(5, 400), st.floats(0.001, 2))
def test_so_many_clusters_show_it_and_one_less_does_not(error: float, clusters: int, mean: float) -> None:
    count = needed(error, clusters, mean)
    assert count == needed(error, clusters, -mean)
    if count is None:
        assert detectable(error * (clusters / 10**7) ** 0.5, 10**7) > mean
        return
    assert count >= 5 and detectable(error * (clusters / count) ** 0.5, count) <= mean
    if count > 5:
        assert detectable(error * (clusters / (count - 1)) ** 0.5, count - 1) > mean


def test_of_nothing_no_number_is_enough() -> None:
    assert needed(0.1, 20, 0.0) is None
    assert powers([Interval(0.0, -1, 1, 6)], np.array([[-1.0, 1.0] * 3]).T, Units.single(6), [1.0])[0].needed is None
