"""Bootstrap intervals and the paired test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import caa_registry.evaluation.intervals as intervals
from caa_registry.evaluation.intervals import bootstrap_difference, bootstrap_mean, bootstrap_means, paired_test
from caa_registry.evaluation.statistics import slopes

VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


@settings(deadline=None, max_examples=30)
@given(VALUES)
def test_an_interval_holds_its_mean_and_stays_within_the_values(values: list[float]) -> None:
    found = bootstrap_mean(np.array(values))
    assert found.n == len(values)
    assert found.value == pytest.approx(np.mean(values))
    assert min(values) - 1e-12 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= max(values) + 1e-12
    assert bootstrap_mean(np.array(values)) == found


def test_the_interval_of_one_value_is_the_value() -> None:
    found = bootstrap_mean(np.array([0.3]))
    assert (found.value, found.low, found.high, found.n) == (0.3, pytest.approx(0.3), pytest.approx(0.3), 1)


def test_the_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(1).random(400)
    found = bootstrap_mean(values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert found.low == pytest.approx(values.mean() - half, abs=half / 10)
    assert found.high == pytest.approx(values.mean() + half, abs=half / 10)


def test_how_many_are_drawn_at_a_time_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).random(37)
    found = bootstrap_mean(values)
    monkeypatch.setattr(intervals, "_DRAWN_AT_ONCE", 1000)
    assert bootstrap_mean(values) == found


def test_columns_are_resampled_together() -> None:
    values = np.random.default_rng(1).random((30, 3))
    values[:, 2] = values[:, 0] - values[:, 1]
    found = bootstrap_means(values)
    for one, column in zip(found, values.T, strict=True):
        alone = bootstrap_mean(column)
        assert (one.value, one.low, one.high) == pytest.approx((alone.value, alone.low, alone.high))
    assert found[2].value == pytest.approx(found[0].value - found[1].value)


@pytest.mark.parametrize("n", [20, 50])
@pytest.mark.parametrize("of", ["proportion", "mean", "slope", "difference"])
def test_intervals_hold_the_truth_as_often_as_they_say(n: int, of: str) -> None:
    """Over 200 simulated data sets 95 % intervals contain the truth 90 to 99 % of the time."""
    generator = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        if of == "proportion":
            truth, found = 0.4, bootstrap_mean((generator.random(n) < 0.4).astype(float))
        elif of == "mean":
            truth, found = 0.4, bootstrap_mean(generator.beta(2, 3, n))
        elif of == "slope":
            # Items differ in their slopes and in how far they are from a line.
            multipliers = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
            curves = generator.normal(0.7, 0.5, n) * multipliers[:, None] + generator.normal(0, 1, (5, n))
            truth, found = 0.7, bootstrap_mean(slopes(curves, multipliers))
        else:
            one, other = generator.beta(2, 3, (n, 1)), generator.beta(3, 2, (n // 2, 1))
            truth, (found,) = -0.2, bootstrap_difference(one, other)
        held += found.low <= truth <= found.high
    assert 0.90 <= held / 200 <= 0.99


PAIRED = st.integers(2, 20).flatmap(
    lambda n: st.tuples(*(st.lists(st.floats(-1, 1), min_size=n, max_size=n) for _ in range(2)))
)


@settings(deadline=None, max_examples=40)
@given(PAIRED)
def test_a_paired_test_does_not_depend_on_which_is_first(sides: tuple[list[float], list[float]]) -> None:
    one, other = (np.array(side) for side in sides)
    found, turned = paired_test(one, other), paired_test(other, one)
    assert found.p_value == turned.p_value
    assert 0 < found.p_value <= 1
    assert found.difference.value == pytest.approx(-turned.difference.value)
    assert paired_test(one, one).p_value == 1


@pytest.mark.parametrize("n", [6, 12])
def test_few_pairs_are_tested_exactly(n: int) -> None:
    generator = np.random.default_rng(n)
    one, other = generator.normal(0.5, 1, n), generator.normal(0, 1, n)
    wanted = stats.permutation_test(
        (one, other), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    )
    assert paired_test(one, other).p_value == pytest.approx(wanted.pvalue)


def test_many_pairs_are_tested_as_a_t_test_does() -> None:
    generator = np.random.default_rng(3)
    one, other = generator.normal(0.25, 1, 100), generator.normal(0, 1, 100)
    assert paired_test(one, other).p_value == pytest.approx(stats.ttest_rel(one, other).pvalue, abs=0.01)


def test_a_paired_test_finds_nothing_where_there_is_nothing() -> None:
    """Of 200 comparisons of equals about 5 % are below 0.05."""
    generator = np.random.default_rng(4)
    below = sum(paired_test(*generator.normal(0, 1, (2, 10))).p_value <= 0.05 for _ in range(200))
    assert 2 <= below <= 20
