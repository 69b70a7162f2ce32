"""Behavior and letter apart: planted effects of both, whatever the letters' numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caa_registry.evaluation.inference.intervals import Interval, means, weighted_means
from caa_registry.evaluation.letters import contrasts
from caa_registry.evaluation.measurements import Observed
from caa_registry.evaluation.propensity import BEYOND_LETTERS


def observed(letters: Sequence[str], clusters: Sequence[int] | None = None, beyond: Sequence[int] = ()) -> Observed:
    log_p = np.log(np.full((1, 2, len(letters), 2), 0.25))
    log_p[:, :, list(beyond)] = BEYOND_LETTERS
    return Observed(tuple(range(len(letters))), tuple(letters), log_p, tuple(clusters or range(len(letters))))


def within(interval: Interval, truth: float) -> bool:
    assert interval.low is not None and interval.high is not None
    return interval.low <= truth <= interval.high


@settings(deadline=None, max_examples=40)
@given(st.integers(10, 30), st.integers(10, 30), st.floats(-2, 2), st.floats(-2, 2))
def test_a_planted_behavior_and_a_planted_letter_are_told_apart(a: int, b: int, behavior: float, letter: float) -> None:
    letters = "A" * a + "B" * b
    found = contrasts(observed(letters))
    assert found.letters == ("A", "B") and found.counted.all()
    values = behavior + letter * np.where(np.array(list(letters)) == "A", 1.0, -1.0)
    (of_behavior,) = found.behavior(values[:, None])
    (of_letter,) = found.letter(values[:, None]) or [None]
    assert of_letter and (of_behavior.n, of_letter.n) == (a + b, a + b)
    assert (of_behavior.value, of_letter.value) == (pytest.approx(behavior), pytest.approx(letter))
    assert found.weights.sum() == pytest.approx(1)
    assert found.weights @ values == pytest.approx(of_behavior.value)
    assert of_behavior.low == pytest.approx(behavior) and of_letter.high == pytest.approx(letter)


def test_a_letter_that_is_right_more_often_does_not_look_like_the_behavior() -> None:
    generator = np.random.default_rng(0)
    letters = "A" * 61 + "B" * 39
    pushed = np.where(np.array(list(letters)) == "A", 1.0, -1.0) + generator.normal(0, 0.3, 100)
    found = contrasts(observed(letters))
    (behavior,) = found.behavior(pushed[:, None])
    (letter,) = found.letter(pushed[:, None]) or [None]
    assert letter and within(behavior, 0.0) and within(letter, 1.0) and not within(letter, 0.0)
    # The plain mean takes it for one.
    assert not within(means(pushed[:, None])[0], 0.0)


@given(st.permutations("AAAAAABBBBBBBBB"))
def test_the_order_of_items_does_not_show(letters: list[str]) -> None:
    values = np.where(np.array(letters) == "A", 0.3, -0.1)
    (found,) = contrasts(observed(letters)).behavior(values[:, None])
    assert found.value == pytest.approx(0.1)


def test_more_letters_count_the_same_and_have_no_contrast() -> None:
    letters = "A" * 8 + "B" * 6 + "C" * 5
    found = contrasts(observed(letters))
    assert found.letters == ("A", "B", "C") and found.letter(np.zeros((19, 1))) is None
    values = np.repeat([1.0, 2.0, 6.0], [8, 6, 5])
    assert found.behavior(values[:, None])[0].value == pytest.approx(3)
    assert found.weights @ values == pytest.approx(3)


@pytest.mark.parametrize("letters", ["A" * 12, ["A", "", "B"] * 4, [""] * 12], ids=["one", "some", "none"])
def test_without_two_letters_it_is_the_mean_of_all(letters: Sequence[str]) -> None:
    found = contrasts(observed(letters))
    values = np.random.default_rng(1).random((12, 2))
    assert found.letters == () and found.letter(values) is None
    assert found.behavior(values) == means(values)
    np.testing.assert_allclose(found.weights, 1 / 12)


@pytest.mark.parametrize("b", [1, 9, 10])
def test_fewer_than_10_clusters_of_a_letter_have_no_interval(b: int) -> None:
    values = np.random.default_rng(2).random((20 + b, 1))
    found = contrasts(observed("A" * 20 + "B" * b))
    (letter,) = found.letter(values) or [None]
    for interval in (*found.behavior(values), letter):
        assert interval and (interval.low is None, interval.high is None) == ((b < 10,) * 2)
    assert found.behavior(values)[0].value == pytest.approx((values[:20].mean() + values[20:].mean()) / 2)


def test_repeats_of_few_questions_are_few() -> None:
    letters, clusters = "A" * 20 + "B" * 20, [*range(20), *(20 + np.arange(20) % 4)]
    (found,) = contrasts(observed(letters, clusters)).behavior(np.random.default_rng(3).random((40, 1)))
    assert (found.low, found.high) == (None, None)


def test_a_question_in_both_orders_is_one_cluster_of_both_letters() -> None:
    letters, clusters = "AB" * 12, np.repeat(np.arange(12), 2).tolist()
    own = np.random.default_rng(4).normal(size=12)
    # What a vector does to a question it does in both orders, and it favours A by 1.
    values = np.repeat(own, 2) + np.tile([1.0, -1.0], 12)
    found = contrasts(observed(letters, clusters))
    (letter,) = found.letter(values[:, None]) or [None]
    assert letter and (letter.value, letter.low, letter.high) == pytest.approx((1, 1, 1))
    (behavior,) = found.behavior(values[:, None])
    assert (behavior.low, behavior.high) == pytest.approx((means(own[:, None])[0].low, means(own[:, None])[0].high))


def test_items_that_were_not_asked_are_left_out() -> None:
    letters = ["A"] * 11 + ["C"] + ["B"] * 10 + ["D"]
    found = contrasts(observed(letters, beyond=[11, 22]))
    assert found.letters == ("A", "B") and found.counted.sum() == 21 and len(found.weights) == 21
    values = np.repeat([1.0, 3.0], [11, 10])[:, None]
    assert found.behavior(values)[0].value == pytest.approx(2)
    assert found.behavior(values) == weighted_means(values, found.units, [0.5, 0.5])
