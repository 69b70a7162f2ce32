"""The shape of a dose-response curve, on curves whose shape is known."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import linregress

from caa_registry.evaluation.doses.norms import norm_ratios
from caa_registry.evaluation.doses.shape import CurveShape, in_words, shape_of, shapes, warning
from caa_registry.evaluation.measurements import Measurements, Observed
from caa_registry.evaluation.statistics import figures
from caa_registry.vectors import LayerVector, VectorSet

WIDE = (-2.0, -1.0, 0.0, 1.0, 2.0)
# What a vector of letters did at one layer of the demo model.
TURNING = (0.368, 0.068, 0.506, 0.935, 0.606)
ITEMS = 40


def measured(*curves: tuple[float, ...], noise: float = 0.0, multipliers: tuple[float, ...] = WIDE) -> Measurements:
    """A layer a curve: items whose mean propensity is that, each off by as much at every multiplier."""
    draw = np.random.default_rng(0)
    values = np.array(curves)[..., None] + noise * draw.standard_normal((len(curves), len(multipliers), ITEMS))
    values = np.clip(values, 0.001, 0.999)
    log_p = np.log(np.stack([values, 1 - values], axis=-1))
    observed = Observed(tuple(range(ITEMS)), ("A", "B") * (ITEMS // 2), log_p, tuple(range(ITEMS)))
    return Measurements("propensity", tuple(range(len(curves))), multipliers, {"vector": observed})


def test_a_curve_that_turns_back_is_said() -> None:
    (shape,) = shapes(measured(TURNING, noise=0.02))
    assert shape.turns_back == (-1.0, 1.0) and not shape.rises and not shape.falls
    assert shape.peak == 1.0 and shape.peak_value == pytest.approx(0.935, abs=0.01) and shape.saturates == 1.0
    assert "turns back beyond -1 and +1; it is highest at +1 (0.9" in in_words(shape)
    assert "turns back (layer 0 beyond -1 and +1)" in warning([shape])


@pytest.mark.parametrize(
    ("curve", "rises", "falls", "turns", "saturates"),
    [
        ((0.1, 0.3, 0.5, 0.7, 0.9), True, False, (), None),
        ((0.9, 0.7, 0.5, 0.3, 0.1), False, True, (), None),
        ((0.5, 0.5, 0.5, 0.5, 0.5), True, True, (), None),
        ((0.1, 0.3, 0.5, 0.9, 0.91), True, False, (), 1.0),
        ((0.9, 0.5, 0.1, 0.09, 0.08), False, True, (), 0.0),
        ((0.1, 0.3, 0.5, 0.9, 0.7), False, False, (1.0,), 1.0),
        ((0.1, 0.3, 0.9, 0.8, 0.7), False, False, (0.0,), 0.0),
        ((0.3, 0.1, 0.5, 0.7, 0.9), False, False, (-1.0,), None),
        ((0.7, 0.9, 0.5, 0.3, 0.1), False, False, (-1.0,), None),
        ((0.9, 0.5, 0.3, 0.1, 0.4), False, False, (1.0,), 1.0),
        ((0.4, 0.3, 0.2, 0.7, 0.9), False, False, (0.0,), None),
    ],
)
def test_what_rises_falls_turns_and_saturates(
    curve: tuple[float, ...], rises: bool, falls: bool, turns: tuple[float, ...], saturates: float | None
) -> None:
    (shape,) = shapes(measured(curve, noise=0.0))
    assert (shape.rises, shape.falls, shape.turns_back, shape.saturates) == (rises, falls, turns, saturates)
    course = "does not change" if rises and falls else "rises all" if rises else "falls all" if falls else "turns back"
    assert course in in_words(shape)


def test_a_step_that_noise_explains_does_not_count() -> None:
    almost = (0.2, 0.4, 0.6, 0.61, 0.6)
    (quiet,), (noisy,) = shapes(measured(almost)), shapes(measured(almost, noise=0.1))
    assert not quiet.rises and quiet.turns_back == (1.0,)
    assert noisy.rises and noisy.turns_back == ()


def test_items_are_paired_and_those_of_one_question_count_as_one() -> None:
    """Items differ far more than a step is high, which all of them take."""
    spread = np.linspace(-0.2, 0.2, ITEMS)
    whole = measured((0.3, 0.5, 0.7), multipliers=(-1.0, 0.0, 1.0))
    values = np.array([0.5, 0.52, 0.51])[:, None] + spread
    log_p = np.log(np.stack([values, 1 - values], axis=-1))[None]
    observed = replace(whole.vector, log_p=log_p)
    (shape,) = shapes(replace(whole, observed={"vector": observed}))
    assert not shape.rises and shape.turns_back == (0.0,)
    # Four questions have no interval: nothing can be told.
    few = replace(observed, clusters=tuple(i % 4 for i in range(ITEMS)))
    (untold,) = shapes(replace(whole, observed={"vector": few}))
    assert untold.rises and untold.falls and untold.turns_back == ()


@given(st.lists(st.floats(0, 1), min_size=3, max_size=9), st.data())
def test_the_line_is_scipy_s_and_mirrored_curves_mirror(values: list[float], data: st.DataObject) -> None:
    curve = np.round(values, 3)
    places = data.draw(st.lists(st.integers(-8, 8), min_size=len(curve), max_size=len(curve), unique=True))
    multipliers = sorted(place / 2 for place in places)
    steps = [int(x) for x in np.sign(np.diff(curve))]
    shape = shape_of(0, multipliers, curve, steps)
    if np.ptp(curve) == 0:
        assert shape.r_squared is None
    else:
        assert shape.r_squared == pytest.approx(linregress(multipliers, curve).rvalue ** 2, abs=1e-9)
    assert shape.peak_value == curve.max() and curve[multipliers.index(shape.peak)] == curve.max()
    slope = linregress(multipliers, curve).slope
    if abs(slope) < 1e-9:
        return
    # Monotone one way, or turned back: never both, never neither.
    assert (shape.rises or shape.falls) == (shape.turns_back == ())
    assert set(shape.turns_back) <= set(multipliers)
    other = shape_of(0, multipliers, 1 - curve, [-step for step in steps])
    assert (other.rises, other.falls, other.turns_back) == (shape.falls, shape.rises, shape.turns_back)
    turned = shape_of(0, [0.0 - m for m in reversed(multipliers)], curve[::-1], [-step for step in reversed(steps)])
    if not any(low < 0 < high for low, high in itertools.pairwise(multipliers)):
        assert turned.turns_back == tuple(0.0 - m for m in reversed(shape.turns_back))


def test_too_little_has_no_shape() -> None:
    assert shapes(measured((0.5,), multipliers=(1.0,))) == []
    (two,) = shapes(measured((0.2, 0.4), multipliers=(0.0, 1.0)))
    assert two == CurveShape(0, True, False, (), None, None, 1.0, pytest.approx(0.4))


def with_doses(kl: NDArray[np.float64], first: NDArray[np.bool_] | None) -> Measurements:
    whole = measured((0.3, 0.5, 0.7), multipliers=(-1.0, 0.0, 1.0))
    return replace(whole, observed={"vector": replace(whole.vector, kl=kl, answers_first=first)})


def test_doses_become_figures_with_intervals() -> None:
    draw = np.random.default_rng(1)
    kl = draw.exponential(0.1, (1, 3, ITEMS))
    kl[:, 1] = 0
    first = draw.random((1, 3, ITEMS)) < 0.3
    first[:, 2] = True
    found = figures(with_doses(kl, first))
    divergences = [figure.interval for figure in found if figure.metric == "kl"]
    assert [x.value for x in divergences] == pytest.approx(kl[0].mean(axis=1))
    assert all(x.low is not None and 0 <= x.low <= x.value <= (x.high or 0) for x in divergences)
    assert (divergences[1].low, divergences[1].high) == (0, 0) and divergences[0].n == ITEMS
    shares = [figure.interval for figure in found if figure.metric == "answers_first"]
    assert [x.value for x in shares] == pytest.approx(first[0].mean(axis=1))
    # Wilson's interval of 40 of 40.
    assert shares[2].low == pytest.approx(0.9124, abs=1e-4) and shares[2].high == 1
    without = figures(with_doses(kl, None))
    assert not any(figure.metric == "answers_first" for figure in without)
    assert not any(figure.metric in ("kl", "answers_first") for figure in figures(measured(TURNING)))


def test_an_item_that_was_not_asked_has_no_dose() -> None:
    whole = with_doses(np.full((1, 3, ITEMS), 0.25), None)
    log_p, kl = whole.vector.log_p.copy(), np.full((1, 3, ITEMS), 0.25)
    log_p[:, :, 7], kl[..., 7] = (-np.inf, 0.0), np.nan
    found = figures(replace(whole, observed={"vector": replace(whole.vector, log_p=log_p, kl=kl)}))
    divergences = [figure.interval for figure in found if figure.metric == "kl"]
    assert [(x.value, x.n) for x in divergences] == [(0.25, ITEMS - 1)] * 3


def test_the_norm_ratio_is_of_the_multiplied_vector() -> None:
    values = np.array([3.0, 4.0], np.float32)
    vectors = VectorSet.of([LayerVector(0, values, 10.0), LayerVector(1, values), LayerVector(2, values, 2.0)])
    found = norm_ratios(vectors, (0, 1, 2), (-2.0, 0.0, 0.5))
    assert [(x.layer, x.multiplier, x.interval.value) for x in found] == [
        (0, -2.0, 1.0), (0, 0.0, 0.0), (0, 0.5, 0.25), (2, -2.0, 5.0), (2, 0.0, 0.0), (2, 0.5, 1.25),
    ]  # fmt: skip
