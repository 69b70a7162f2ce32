"""p-values against draws of a null, of paired differences, and corrected for how many there are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from caa_registry.evaluation.inference.intervals import Units, mean, weighted_means
from caa_registry.evaluation.inference.p_values import ENOUGH, NullTest, against_null, holm, paired_test

VALUES = st.lists(st.floats(-1, 1), min_size=1, max_size=60)


@given(st.floats(-1, 1), st.lists(st.floats(-1, 1), min_size=1, max_size=ENOUGH - 1))
def test_few_draws_are_counted_with_what_was_seen(seen: float, drawn: list[float]) -> None:
    found = against_null(seen, np.array(drawn))
    exceeding = sum(abs(value) >= abs(seen) * (1 - 1e-12) for value in drawn)
    assert found == NullTest((1 + exceeding) / (1 + len(drawn)), exceeding, len(drawn))


@given(st.floats(-1, 1), VALUES)
def test_the_sequential_rule_by_hand(seen: float, drawn: list[float]) -> None:
    exceeding = 0
    for place, value in enumerate(drawn, 1):
        exceeding += abs(value) >= abs(seen) * (1 - 1e-12)
        if exceeding == 20:
            wanted = NullTest(20 / place, 20, place)
            break
    else:
        wanted = NullTest((1 + exceeding) / (1 + len(drawn)), exceeding, len(drawn))
    found = against_null(seen, np.array(drawn))
    assert found == wanted
    assert 0 < found.p_value <= 1


@given(st.floats(0, 1), VALUES, VALUES)
def test_draws_beyond_the_answer_change_nothing(seen: float, drawn: list[float], later: list[float]) -> None:
    found = against_null(seen, np.array(drawn))
    if found.exceeding == ENOUGH:
        assert against_null(seen, np.array(drawn + later)) == found


@given(st.floats(-1, 1), VALUES)
def test_which_way_something_moves_does_not_count(seen: float, drawn: list[float]) -> None:
    values = np.array(drawn)
    assert against_null(seen, values) == against_null(-seen, -values) == against_null(seen, np.abs(values))


def test_what_differs_in_rounding_only_is_as_extreme() -> None:
    assert against_null(0.3, np.array([0.1 * 3, 0.3 * (1 - 1e-15), 0.29])).exceeding == 2
    assert against_null(0.0, np.zeros(5)) == NullTest(1.0, 5, 5)


@pytest.mark.parametrize("draws", [19, 40, 199])
def test_of_a_draw_of_the_null_p_values_are_as_rare_as_they_say(draws: int) -> None:
    """P(p <= a) is at most a for every a, and a itself where a can be reached: every rank of what was seen is as likely
    as another, and after it the order of the rest is by lot."""
    generator = np.random.default_rng(draws)
    found = []
    for rank, _ in itertools.product(range(draws + 1), range(40)):
        ranks = generator.permutation(np.delete(np.arange(1.0, draws + 2), rank))
        found.append(against_null(float(rank + 1), ranks).p_value)
    p_values = np.array(found)
    for level in (0.01, 0.05, 0.1, 0.25, 0.5, 0.9):
        below = float((p_values <= level).mean())
        assert below <= level + 3 * np.sqrt(level * (1 - level) / len(p_values))
        reached = (1 + np.floor((1 + draws) * level - 1)) / (1 + draws)
        if level <= 20 / (1 + draws):
            # Here the rule of all draws holds, whose ranks were all tried: it is exact.
            assert below == pytest.approx(max(reached, 0))


def test_p_values_of_every_order_of_few_draws_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 3 in the place of 20, all 6! orders of what was seen and 5 draws."""
    monkeypatch.setattr("caa_registry.evaluation.inference.p_values.ENOUGH", 3)
    orders = itertools.permutations(range(1, 7))
    p_values = np.array([against_null(float(seen), np.array(drawn, float)).p_value for seen, *drawn in orders])
    assert set(p_values) == {1 / 6, 2 / 6, 3 / 6, 3 / 5, 3 / 4, 1.0}
    for level in set(p_values):
        assert (p_values <= level).mean() == pytest.approx(level)


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
    assert found.difference == mean(one - other)
    assert paired_test(one, one).p_value == 1


@pytest.mark.parametrize("n", [6, 12])
def test_few_pairs_are_tested_exactly(n: int) -> None:
    generator = np.random.default_rng(n)
    one, other = generator.normal(0.5, 1, n), generator.normal(0, 1, n)
    wanted = stats.permutation_test(
        (one, other), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    )
    assert paired_test(one, other).p_value == pytest.approx(wanted.pvalue)


def test_clusters_are_turned_round_whole() -> None:
    generator = np.random.default_rng(9)
    clusters = np.array([0, 0, 0, 1, 1, 2, 3, 3, 4, 5, 5, 5, 6, 7])
    one, other = generator.normal(0.7, 1, 14), generator.normal(0, 1, 14)
    sums = [(one - other)[clusters == c].sum() for c in range(8)]
    patterns = [abs(np.dot(signs, sums)) for signs in itertools.product([1, -1], repeat=8)]
    found = paired_test(one, other, Units.of(clusters))
    assert found.p_value == np.mean(np.array(patterns) >= abs(sum(sums)) - 1e-12)
    assert found.difference == mean(one - other, Units.of(clusters))


@pytest.mark.parametrize("n", [9, 40])
def test_repeats_are_no_evidence_of_a_difference(n: int) -> None:
    generator = np.random.default_rng(n)
    one, other = generator.normal(0.4, 1, n), generator.normal(0, 1, n)
    every = np.repeat(np.arange(n), 4)
    once, repeated = paired_test(one, other), paired_test(one[every], other[every], Units.of(every))
    assert repeated.p_value == once.p_value
    assert repeated.difference.low == pytest.approx(once.difference.low)
    assert paired_test(one[every], other[every]).p_value < once.p_value


def test_letters_count_the_same_in_a_paired_test() -> None:
    generator = np.random.default_rng(10)
    letters = np.array(["A"] * 9 + ["B"] * 3)
    one, other = generator.normal(0.3, 1, 12), generator.normal(0, 1, 12)
    units = Units.of(range(12), letters)
    weights = np.where(letters == "A", 1 / 18, 1 / 6)
    found = paired_test(one, other, units, weights)
    (wanted,) = weighted_means((one - other)[:, None], units, [0.5, 0.5])
    assert found.difference == wanted
    terms = weights * (one - other)
    patterns = [abs(np.dot(signs, terms)) for signs in itertools.product([1, -1], repeat=12)]
    assert found.p_value == pytest.approx(np.mean(np.array(patterns) >= abs(terms.sum()) - 1e-12))


def test_many_pairs_are_tested_as_a_t_test_does() -> None:
    generator = np.random.default_rng(3)
    one, other = generator.normal(0.25, 1, 100), generator.normal(0, 1, 100)
    assert paired_test(one, other).p_value == pytest.approx(stats.ttest_rel(one, other).pvalue, abs=0.01)


@pytest.mark.parametrize("items", [1, 4])
def test_a_paired_test_finds_nothing_where_there_is_nothing(items: int) -> None:
    """Of 400 comparisons of equals, whose clusters differ by more than their items, 5 % are at or below 0.05."""
    generator = np.random.default_rng(4)
    units = Units.of(np.repeat(np.arange(10), items))
    below = 0
    for _ in range(400):
        one, other = np.repeat(generator.normal(0, 1, (2, 10)), items, axis=1) + generator.normal(
            0, 0.3, (2, 10 * items)
        )
        below += paired_test(one, other, units).p_value <= 0.05
    assert abs(below / 400 - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 400)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_corrects_and_keeps_the_order(p_values: list[float]) -> None:
    found = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, found, strict=True))
    assert all(found[i] <= found[j] for i in range(len(found)) for j in range(len(found)) if p_values[i] < p_values[j])
    if p_values:
        assert min(found) == min(1, len(p_values) * min(p_values))


def test_holm_of_a_known_case() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
