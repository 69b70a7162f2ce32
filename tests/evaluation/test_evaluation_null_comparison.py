"""What a vector does against what vectors of nothing do: statistics, tests, and when draws are enough."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from caa_registry.evaluation.inference.p_values import ENOUGH, against_null
from caa_registry.evaluation.measurements import Measurements, Null, Observed
from caa_registry.evaluation.nulls.comparison import STATISTICS, drawn, enough, null_of, seen
from caa_registry.evaluation.nulls.comparison import tests as compared
from caa_registry.evaluation.propensity import BEYOND_LETTERS

Floats = NDArray[np.float64]

LAYERS, ITEMS = 3, 12
MULTIPLIERS = (-1.0, 0.0, 2.0)
EXTREMES = (-1.0, 2.0)
LETTERS = ("A", "A", "B") * 4


def log_p(generator: np.random.Generator, *shape: int) -> Floats:
    odds = generator.normal(size=shape)
    return np.stack([-np.log1p(np.exp(-odds)), -np.log1p(np.exp(odds))], axis=-1)


def observed(generator: np.random.Generator, multipliers: int = 3) -> Observed:
    return Observed(tuple(range(ITEMS)), LETTERS, log_p(generator, LAYERS, multipliers, ITEMS), tuple(range(ITEMS)))


def made(seed: int, draws: int) -> tuple[Measurements, Floats]:
    """Measurements with a null, and what the null was made of."""
    generator = np.random.default_rng(seed)
    own, others = observed(generator), log_p(generator, draws, LAYERS, 2, ITEMS)
    null = null_of(others, own, EXTREMES, (1.0,) * LAYERS)
    return Measurements("propensity", (2, 5, 9), MULTIPLIERS, {"vector": own}, {"covariance": null}), others


def by_hand(values: Floats) -> Floats:
    """The mean of items, both letters counting the same."""
    letters = np.array(LETTERS)
    return (values[..., letters == "A"].mean(axis=-1) + values[..., letters == "B"].mean(axis=-1)) / 2


def test_the_statistics_are_of_the_extremes_with_letters_equal() -> None:
    measured, others = made(0, 5)
    own = measured.vector
    found = seen(own, MULTIPLIERS)
    assert tuple(found) == STATISTICS
    np.testing.assert_allclose(found["steerability"], by_hand(own.log_odds[:, 2] - own.log_odds[:, 0]) / 3)
    np.testing.assert_allclose(found["effect"], by_hand(own.propensity[:, 2] - own.propensity[:, 0]))
    of_null = drawn(measured.nulls["covariance"])
    odds = others[..., 0] - others[..., 1]
    np.testing.assert_allclose(of_null["steerability"], by_hand(odds[:, :, 1] - odds[:, :, 0]) / 3)
    p = 1 / (1 + np.exp(-odds))
    np.testing.assert_allclose(of_null["effect"], by_hand(p[:, :, 1] - p[:, :, 0]))


def test_a_null_of_the_vector_itself_gives_what_was_seen() -> None:
    own = observed(np.random.default_rng(1))
    own.log_p[:, :, 4] = BEYOND_LETTERS
    null = null_of(own.log_p[None][:, :, [0, 2]], own, EXTREMES, (1.0,) * LAYERS)
    for statistic, values in seen(own, MULTIPLIERS).items():
        np.testing.assert_allclose(drawn(null)[statistic][0], values)
        assert np.isfinite(values).all()


def test_nulls_of_every_multiplier_as_earlier_releases_made_them_count_alike() -> None:
    measured, _ = made(2, 7)
    null = measured.nulls["covariance"]
    between = np.random.default_rng(0).random((7, LAYERS, 1))
    whole = Null(
        np.concatenate([null.propensity[..., :1], between, null.propensity[..., 1:]], axis=-1),
        np.concatenate([null.log_odds[..., :1], between, null.log_odds[..., 1:]], axis=-1),
        MULTIPLIERS,
        (1.0,) * LAYERS,
    )
    for statistic, values in drawn(whole).items():
        np.testing.assert_array_equal(values, drawn(null)[statistic])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(19, 60))
def test_a_chosen_layer_is_compared_with_the_largest_of_every_draw(seed: int, draws: int) -> None:
    measured, _ = made(seed, draws)
    found = list(compared(measured, "covariance"))
    assert [(test.statistic, test.layer) for test in found] == [(s, i) for s in STATISTICS for i in range(LAYERS)]
    own, others = seen(measured.vector, MULTIPLIERS), drawn(measured.nulls["covariance"])
    for test in found:
        value = float(own[test.statistic][test.layer])
        largest = np.array([max(abs(row)) for row in others[test.statistic]])
        assert test.alone == against_null(value, others[test.statistic][:, test.layer])
        assert test.chosen == against_null(value, largest)
        assert test.chosen.p_value >= test.alone.p_value


def of(own: Floats, others: Floats) -> tuple[Observed, Null]:
    """What is seen at each layer, and of each draw, as log-odds and as propensity alike: small numbers, where both are
    nearly the same but for a factor of 4."""
    odds = np.stack([np.zeros_like(own), own], axis=-1)[..., None]
    sides = np.stack([-np.log1p(np.exp(-odds)), -np.log1p(np.exp(odds))], axis=-1)
    drawn_odds = np.stack([np.zeros_like(others), others], axis=-1)
    null = Null(1 / (1 + np.exp(-drawn_odds)), drawn_odds, (0.0, 1.0), (1.0,) * len(own))
    return Observed((0,), ("",), sides, (0,)), null


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(19, 80), st.integers(1, 120), st.floats(0, 1.5))
def test_enough_draws_are_those_whose_answer_no_later_one_changes(
    seed: int, draws: int, later: int, size: float
) -> None:
    generator = np.random.default_rng(seed)
    own, null = of(size * generator.normal(size=2), generator.normal(size=(draws, 2)))
    more = null.with_more(of(np.zeros(2), generator.normal(size=(later, 2)))[1])
    found, whole = (
        list(compared(Measurements("propensity", (0, 1), (0.0, 1.0), {"vector": own}, {"x": either}), "x"))
        for either in (null, more)
    )
    answered = [
        each.exceeding == ENOUGH and each.draws <= draws for test in found for each in (test.alone, test.chosen)
    ]
    assert enough(own, (0.0, 1.0), null) == all(answered)
    if enough(own, (0.0, 1.0), null):
        assert found == whole


def test_one_layer_that_stands_out_is_not_enough_for_all() -> None:
    others = np.random.default_rng(0).normal(size=(99, 2))
    for own, wanted in (([0.1, -0.1], True), ([5.0, 0.1], False), ([0.1, -5.0], False)):
        one, null = of(np.array(own), others)
        assert enough(one, (0.0, 1.0), null) == wanted


def test_later_draws_stand_behind_the_first() -> None:
    measured, _ = made(3, 5)
    null = measured.nulls["covariance"]
    more = null.with_more(replace(null, propensity=null.propensity[:2], log_odds=null.log_odds[:2] + 1))
    assert more.propensity.shape == (7, LAYERS, 2) and more.multipliers == EXTREMES
    np.testing.assert_array_equal(more.propensity[:5], null.propensity)
    np.testing.assert_array_equal(more.log_odds[5:], null.log_odds[:2] + 1)


@pytest.mark.parametrize("draws", [19, 199])
def test_of_vectors_of_the_null_few_are_called_rare(draws: int) -> None:
    """400 vectors drawn from the null at 8 layers that go together: at most 5 % have p <= 0.05, at a layer named
    beforehand and at the one where they are largest."""
    generator = np.random.default_rng(draws)
    mixing = np.linalg.cholesky(0.7 + 0.3 * np.eye(8))
    alone = chosen = 0
    for _ in range(400):
        values = generator.normal(size=(1 + draws, 8)) @ mixing.T
        own, null = of(values[0], values[1:])
        found = [
            test
            for test in compared(
                Measurements("propensity", tuple(range(8)), (0.0, 1.0), {"vector": own}, {"x": null}), "x"
            )
            if test.statistic == "steerability"
        ]
        best = int(np.abs(values[0]).argmax())
        alone += found[3].alone.p_value <= 0.05
        chosen += found[best].chosen.p_value <= 0.05
    most = 400 * 0.05 + 3 * np.sqrt(400 * 0.05 * 0.95)
    assert alone <= most and chosen <= most
