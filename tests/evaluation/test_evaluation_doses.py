"""What a vector does at a dose: interpolation, what is reached, and the figures that are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.interpolate import pchip_interpolate
from scipy.special import expit, log_softmax, logit, logsumexp
from support.dosed import dosed
from support.plain_forward import hidden_states, logits

from caa_registry.errors import NoCommonDoseError, UsageError
from caa_registry.evaluation.comparison import compare
from caa_registry.evaluation.doses.equal import dose_curves
from caa_registry.evaluation.doses.ladder import DOSES, LARGEST_DOSE, check_dose, score_at, sides_of
from caa_registry.evaluation.inference.intervals import Interval
from caa_registry.evaluation.measurements import Measurements, Observed
from caa_registry.evaluation.propensity import BEYOND_LETTERS, ItemSet, prepare
from caa_registry.evaluation.statistics import figures
from caa_registry.models.model import Model
from caa_registry.pairs.record import PairItem
from caa_registry.pairs.sources import load as load_pairs
from caa_registry.steering.additions import Addition, steering

Floats = NDArray[np.float64]


def curve(doses: Sequence[float], odds: Sequence[Sequence[float]], multipliers: Sequence[float]) -> Observed:
    """One layer whose items have these log-odds at each multiplier, and the same dose each."""
    values = np.array(odds, dtype=np.float64)
    log_p = np.stack([-np.log1p(np.exp(-values)), -np.log1p(np.exp(values))], axis=-1)
    kl = np.repeat(np.array(doses, dtype=np.float64)[:, None], values.shape[1], axis=1)
    n = values.shape[1]
    return Observed(tuple(range(n)), ("",) * n, log_p[None], tuple(range(n)), kl[None])


def by_name(measured: Measurements) -> dict[tuple[int, str], Interval]:
    return {(f.layer, f.metric): f.interval for f in figures(measured) if f.multiplier is None}


def test_between_multipliers_log_odds_are_lines_in_the_root_of_the_dose() -> None:
    multipliers = (-2.0, -1.0, 0.0, 1.0, 2.0)
    observed = curve([0.16, 0.04, 0, 0.09, 0.36], [[-4], [-2], [0], [3], [9]], multipliers)
    (found,) = dose_curves(observed, multipliers) or []
    assert found.sides == ("both", "up", "down") and found.reach("both") == (pytest.approx(0.09 / 16), 0.16)
    assert (found.reach("up"), found.reach("down")) == ((0.09 / 16, 0.36), (0.04 / 16, 0.16))
    # 0.09: above, the multiplier 1 itself; below, half the way from 0.2 to 0.4.
    assert found.at(0.09, "both")["log_odds"].lines == pytest.approx([3 + 3])
    assert found.at(0.09, "both")["effect"].lines == pytest.approx(expit(3) - expit(-3))
    assert found.at(0.01, "both")["log_odds"].lines == pytest.approx([1 + 1])
    assert found.at(0.2025, "up")["log_odds"].lines == pytest.approx([6])
    assert found.at(0.0625, "down")["effect"].lines == pytest.approx(0.5 - expit(-2.5))


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 5), st.floats(0.05, 1))
def test_it_is_what_numpy_and_scipy_interpolate(seed: int, steps: int, part: float) -> None:
    generator = np.random.default_rng(seed)
    up, down = (np.cumsum(generator.uniform(0.05, 1, steps)) for _ in range(2))
    doses = np.concatenate([down[::-1] ** 2, [0], up**2])
    odds = generator.normal(0, 3, (2 * steps + 1, 3))
    multipliers = np.arange(-steps, steps + 1)
    (found,) = dose_curves(curve(list(doses), odds.tolist(), list(multipliers)), list(multipliers)) or []
    root = part * min(up[-1], down[-1])
    roots = [*-down[::-1], 0, *up]
    low, high = ([np.interp(end, roots, odds[:, i]) for i in range(3)] for end in (-root, root))
    change = found.at(root**2, "both")
    np.testing.assert_allclose(change["log_odds"].lines, np.subtract(high, low), atol=1e-9)
    np.testing.assert_allclose(change["effect"].lines, expit(high) - expit(low), atol=1e-9)
    low, high = ([float(pchip_interpolate(roots, odds[:, i], end)) for i in range(3)] for end in (-root, root))
    np.testing.assert_allclose(change["log_odds"].values, np.subtract(high, low), atol=1e-9)
    np.testing.assert_allclose(change["effect"].values, expit(high) - expit(low), atol=1e-9)
    weights = np.array([0.5, 0.25, 0.25])
    effect = change["effect"]
    apart = np.average(np.abs(effect.values - effect.lines), weights=weights)
    first = max(up[0], down[0])
    guess = max(0.0, 0.15 * np.log2(first / (2 * root))) * abs(np.average(effect.values, weights=weights))
    assert effect.error(weights) == pytest.approx(apart + guess)


def test_nothing_is_told_beyond_what_was_measured() -> None:
    multipliers = (-1.0, 0.0, 1.0, 2.0, 3.0)
    # Above 0 the dose no longer grows after multiplier 2.
    (found,) = dose_curves(curve([0.05, 0, 0.02, 0.3, 0.3], [[0]] * 5, multipliers), multipliers) or []
    assert found.reach("up") == (0.02 / 16, 0.3) and found.reach("both") == (0.05 / 16, 0.05)
    (found,) = dose_curves(curve([0.05, 0, 0.3, 0.02, 0.4], [[0]] * 5, multipliers), multipliers) or []
    assert found.reach("up") == (0.3 / 16, 0.3)
    (found,) = dose_curves(curve([0.05, 0, 0, 0.02, 0.4], [[0]] * 5, multipliers), multipliers) or []
    assert found.reach("up") == (0, 0)


def test_without_multiplier_0_nothing_is_told_below_the_first() -> None:
    multipliers = (-2.0, -1.0, 1.0, 2.0)
    observed = curve([0.4, 0.1, 0.2, 0.3], [[-2], [-1], [1], [3]], multipliers)
    (found,) = dose_curves(observed, multipliers) or []
    assert found.sides == ("both",) and found.reach("both") == pytest.approx((0.2, 0.3))
    low = (np.sqrt(0.2) - np.sqrt(0.1)) / (np.sqrt(0.4) - np.sqrt(0.1))
    assert found.at(0.2, "both")["log_odds"].lines == pytest.approx([1 - -(1 + low)])
    names = {name for _, name in by_name(Measurements("propensity", (0,), multipliers, {"vector": observed}))}
    assert {name for name in names if "_at_" in name} == {"effect_at_0.2", "log_odds_at_0.2"}
    (one,) = dose_curves(curve([0.1, 0.1], [[-1], [1]], (-1.0, 1.0)), (-1.0, 1.0)) or []
    assert one.reach("both") == (0.1, 0.1) and one.at(0.1, "both")["log_odds"].values == pytest.approx([2])


@pytest.mark.parametrize(
    "multipliers,sides", [((0.0, 1.0), "up"), ((-1.0, 0.0), "down"), ((-1.0, 0.0, 1.0), "both"), ((1.0, 2.0), None)]
)
def test_one_side_is_compared_with_no_steering(multipliers: tuple[float, ...], sides: str | None) -> None:
    observed = curve([0.04 * m**2 for m in multipliers], [[m, 2 * m] for m in multipliers], multipliers)
    (found,) = dose_curves(observed, multipliers) or []
    assert next(iter(found.sides), None) == sides
    assert sides_of(multipliers) == (sides or "up")
    if sides is not None:
        ends = (2 if sides == "both" else 1) * np.array([0.5, 1])
        np.testing.assert_allclose(found.at(0.01, found.sides[0])["log_odds"].values, ends)


def test_figures_at_doses_count_letters_alike_and_come_with_intervals() -> None:
    generator = np.random.default_rng(0)
    letters = "A" * 30 + "B" * 15
    slopes = np.where(np.array(list(letters)) == "A", 1.5, 0.5) + generator.normal(0, 0.1, 45)
    measured = dosed(slopes[None], (-2.5, -1.0, 0.0, 1.0, 2.5), kl_per_step=0.05, letters=letters)
    found = by_name(measured)
    assert [d for d in DOSES if (0, score_at("effect", d)) in found] == [0.01, 0.02, 0.05, 0.1, 0.2]
    assert found[0, LARGEST_DOSE].value == pytest.approx(0.3125) and found[0, LARGEST_DOSE].low is None
    # At 0.05 the multiplier is 1: the log-odds change by twice the slope.
    mean = (slopes[:30].mean() + slopes[30:].mean()) / 2
    odds, effect = found[0, "log_odds_at_0.05"], found[0, "effect_at_0.05"]
    assert odds.value == pytest.approx(2 * mean) and odds.n == 45
    assert odds.low is not None and odds.high is not None and odds.low < odds.value < odds.high
    moved = expit(logit(0.4) + slopes) - expit(logit(0.4) - slopes)
    assert effect.value == pytest.approx((moved[:30].mean() + moved[30:].mean()) / 2)


def test_items_that_were_not_asked_do_not_count() -> None:
    measured = dosed(np.ones((1, 8)), (-1.0, 0.0, 1.0), kl_per_step=0.05)
    own = measured.vector
    assert own.kl is not None
    beyond = np.full((*own.kl.shape[:2], 1, 2), BEYOND_LETTERS)
    log_p, kl = (np.concatenate(both, axis=2) for both in ((own.log_p, beyond), (own.kl, np.full((1, 3, 1), np.nan))))
    one_more = Observed(tuple(range(9)), ("",) * 9, log_p, tuple(range(9)), kl)
    found = by_name(replace(measured, observed={"vector": one_more}))
    for name in ("effect_at_0.02", LARGEST_DOSE):
        assert by_name(measured)[0, name] == found[0, name]


def test_without_a_dose_there_are_no_figures_of_it() -> None:
    measured = dosed(np.ones((1, 8)), (-1.0, 0.0, 1.0), kl_per_step=None)
    assert not {name for _, name in by_name(measured) if "_at_" in name or name == LARGEST_DOSE}


def scale_of(multipliers: Floats, scale: float) -> Interval:
    """What the same direction, ``scale`` times as long, does at 0.1, measured at ``multipliers``."""
    slopes = np.random.default_rng(1).gamma(2, 0.4, 80)
    measured = dosed(scale * slopes[None], tuple(multipliers), kl_per_step=0.12 * scale**2, curved=True)
    return by_name(measured)[0, "effect_at_0.1"]


@pytest.mark.parametrize("scale,widest", [(1.066, 1.0), (1.066, 4.0), (4.0, 1.0), (0.5, 4.0), (1.0, 2.0)])
def test_a_direction_does_the_same_at_equal_dose_however_long_it_is(scale: float, widest: float) -> None:
    one = scale_of(np.linspace(-1, 1, 7), 1.0)
    other = scale_of(np.linspace(-widest, widest, 7), scale)
    assert abs(one.value - other.value) < 0.005
    assert other.low is not None and other.high is not None and other.low < one.value < other.high


def test_only_the_rungs_of_the_ladder_have_figures() -> None:
    assert check_dose(0.1) == 0.1
    with pytest.raises(UsageError, match=r"no figures at 0\.3 nats") as raised:
        check_dose(0.3)
    assert "0.01, 0.02, 0.05, 0.1, 0.2, 0.5" in str(raised.value)


WIDE = tuple(map(float, np.linspace(-4, 4, 7)))
NARROW = tuple(map(float, np.linspace(-1, 1, 7)))


def direction(multipliers: Sequence[float], scale: float = 1.0, better: float = 0.0, layers: int = 1) -> Measurements:
    """One vector on 60 items, ``scale`` times as long; ``better``: by how much its slopes are larger at equal dose."""
    slopes = scale * (np.random.default_rng(3).gamma(2, 0.4, 60) + better)
    return dosed(np.stack([slopes] * layers), multipliers, kl_per_step=0.12 * scale**2, curved=True)


PAIRS = [(i, i) for i in range(60)]


@pytest.mark.parametrize(
    "one,other,at",
    [
        (direction(NARROW, 1.066), direction(NARROW), 0.1),
        (direction(WIDE, 1.066), direction(WIDE), 0.5),
        (direction(WIDE), direction(NARROW), 0.1),
        (direction(NARROW, 2), direction(WIDE, 0.25), 0.1),
    ],
)
def test_a_direction_compared_with_itself_ties(one: Measurements, other: Measurements, at: float) -> None:
    found = {each.metric: each for each in compare(one, other, PAIRS)}
    assert list(found) == ["log_odds", "effect"]
    effect = found["effect"]
    assert (effect.dose, effect.sides) == (at, "both") and effect.one > 0.2
    assert abs(effect.difference.value) < 0.005
    assert effect.difference.low is not None and effect.difference.high is not None
    assert effect.difference.low <= 0 <= effect.difference.high
    assert all(each.p_value > 0.05 for each in found.values())


def test_what_does_more_at_equal_dose_wins_though_it_is_shorter() -> None:
    better = direction(WIDE, 0.5, better=0.2)
    worse = direction(WIDE, 1.0)
    (odds, effect) = compare(better, worse, PAIRS)
    assert effect.difference.low is not None and effect.difference.low > 0.05 and effect.p_value < 0.001
    assert odds.difference.low is not None and odds.difference.low > 0 and odds.p_value <= odds.p_holm
    assert effect.difference.value == pytest.approx(effect.one - effect.other)
    # At equal multipliers, as where doses were not measured, the longer one does more.
    older = [replace(m, observed={"vector": replace(m.vector, kl=None)}) for m in (better, worse)]
    by_multiplier = {each.metric: each for each in compare(older[0], older[1], PAIRS)}
    assert by_multiplier["steerability"].difference.value < 0
    assert {(each.dose, each.sides) for each in by_multiplier.values()} == {(None, None)}


def test_any_dose_that_both_reach_is_compared_at() -> None:
    one, other = direction(WIDE, 1.066), direction(NARROW)
    (odds, effect) = compare(one, other, PAIRS, dose=0.0837)
    assert effect.dose == 0.0837
    for each, measured in ((effect.one, one), (effect.other, other)):
        (curve_of,) = dose_curves(measured.vector, measured.multipliers) or []
        assert each == pytest.approx(curve_of.at(0.0837, "both")["effect"].values.mean())
    assert odds.p_holm == pytest.approx(min(1, 2 * min(odds.p_value, effect.p_value))) or odds.p_holm >= odds.p_value


def test_the_dose_is_that_of_the_common_items() -> None:
    one, other = direction(NARROW), direction(NARROW)
    # Items with an even number have a dose of 0, so those with an odd one have twice the mean.
    odd = [pair for pair in PAIRS if pair[0] % 2]
    (found, _) = compare(one, other, odd)
    assert found.dose == 0.2 and found.difference.n == 30


def test_the_sides_that_both_have_are_compared() -> None:
    whole, half = direction(NARROW), direction(tuple(m for m in NARROW if m >= 0))
    for one, other in ((whole, half), (half, whole)):
        found = compare(one, other, PAIRS)
        assert {(each.dose, each.sides) for each in found} == {(0.1, "up")}
        assert all(each.difference.value == pytest.approx(0) for each in found)
    below = direction(tuple(m for m in NARROW if m <= 0))
    with pytest.raises(NoCommonDoseError, match="not measured on a common side of 0"):
        compare(half, below, PAIRS)


def test_doses_that_do_not_overlap_are_refused() -> None:
    one, other = direction(NARROW, 0.1), direction(tuple(m for m in WIDE if m), 1.0)
    with pytest.raises(NoCommonDoseError) as raised:
        compare(one, other, PAIRS)
    message = str(raised.value)
    assert "8.33e-06 to 0.0012 of the first at layer 0 and 0.209 to 1.61 of the second at layer 0" in message, message
    assert "Evaluate the first at layer 0 at larger multipliers, about 13.2 times those measured" in message, message
    with pytest.raises(NoCommonDoseError, match=r"0\.5 is beyond a dose that was measured"):
        compare(direction(WIDE), direction(NARROW), PAIRS, dose=0.5)
    with pytest.raises(NoCommonDoseError, match="Evaluate the second at layer 0 at smaller multipliers and at 0"):
        compare(direction(WIDE), other, PAIRS, dose=0.1)
    with pytest.raises(NoCommonDoseError, match=r"Name a dose from 0\.000832 to 0\.0012"):
        compare(one, direction(NARROW), PAIRS)


def test_layers_that_share_no_dose_are_left_out_where_others_do() -> None:
    one, other = direction(NARROW, layers=2), direction(NARROW, layers=2)
    assert other.vector.kl is not None
    other.vector.kl[1] *= 1e-4
    assert {each.layer for each in compare(one, other, PAIRS)} == {0}
    with pytest.raises(NoCommonDoseError):
        compare(one, other, PAIRS, [(1, 1)])


def test_a_dose_that_was_not_measured_is_not_guessed() -> None:
    one = direction(NARROW)
    older = replace(one, observed={"vector": replace(one.vector, kl=None)})
    assert {each.metric for each in compare(one, older, PAIRS)} == {"steerability", "effect"}
    with pytest.raises(UsageError, match="the dose was not measured in one of the two"):
        compare(one, older, PAIRS, dose=0.1)
    for wrong in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(UsageError, match="is not a dose"):
            compare(one, one, PAIRS, dose=wrong)


def by_hand(model: Model, items: ItemSet, layer: int, vector: NDArray[np.float32], steps: Sequence[float]) -> Observed:
    """Log-probabilities of the letters and the divergence there, from the logits of one item after the other."""
    log_p, kl = np.zeros((1, len(steps), len(items.items), 2)), np.zeros((1, len(steps), len(items.items)))
    for i, item in enumerate(items.items):
        before = item.matching.ids[: item.shared]
        own, others = item.matching.ids[item.shared], [other.ids[item.shared] for other in item.others]
        unsteered = log_softmax(logits(model.network, before)[-1])
        for m, step in enumerate(steps):
            with steering(model, [Addition(layer, vector, step)], "all"):
                steered = log_softmax(logits(model.network, before)[-1])
            log_p[0, m, i] = steered[own], logsumexp(steered[others])
            kl[0, m, i] = np.exp(unsteered) @ (unsteered - steered)
    letters = tuple(item.letter or "" for item in items.items)
    return Observed(tuple(range(len(letters))), letters, log_p, tuple(range(len(letters))), kl)


def test_a_real_direction_scaled_ties_with_itself(demo: Model) -> None:
    pairs = [item.pair for item in load_pairs("seed:demo-sycophancy-ab").items if isinstance(item, PairItem)][:24]
    items, layer = prepare(pairs, demo.template(), demo), 2
    direction = np.zeros(demo.d_model, np.float32)
    for item in items.items:
        ends = [hidden_states(demo.network, side.ids)[layer, side.answer] for side in (item.matching, item.others[0])]
        direction += (ends[0] - ends[1]) / len(items.items)
    one, other = (
        Measurements(
            "propensity",
            (layer,),
            NARROW,
            {"vector": by_hand(demo, items, layer, np.float32(scale) * direction, NARROW)},
        )
        for scale in (1.0, 1.066)
    )
    (_, found) = compare(one, other, [(i, i) for i in range(len(items.items))], dose=0.1)
    low, high = found.difference.low, found.difference.high
    assert found.one > 0.3 and low is not None and high is not None and low <= 0 <= high, found
    assert abs(found.difference.value) < 0.005, found
