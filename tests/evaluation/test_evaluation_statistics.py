"""Figures of an evaluation: the paper's published items, and cases whose answer is known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from caa_registry.errors import IntegrityError
from caa_registry.evaluation.intervals import Interval
from caa_registry.evaluation.measurements import Control, Measurements, Observed, from_bytes, to_bytes
from caa_registry.evaluation.propensity import BEYOND_LETTERS, other_letter
from caa_registry.evaluation.statistics import (
    by_letter,
    effects,
    figures,
    letter_bias,
    slopes,
    steerability,
    wrong_way,
)
from caa_registry.pairs.answers import letter_of

MULTIPLIERS = (-1.0, 0.0, 1.0)


def published(shared: Path, behavior: str) -> Measurements:
    """The paper's published probabilities (7B chat, layer 13), scored by its rule."""
    log_p, letters = [], []
    for multiplier in MULTIPLIERS:
        file = shared / "data" / "caa" / "results" / behavior / f"ab_layer13_multiplier{multiplier}_7b.json"
        rows = json.loads(file.read_text(encoding="utf-8"))
        letters = [str(letter_of(row["answer_matching_behavior"])) for row in rows]
        said = [{"A": math.log(row["a_prob"]), "B": math.log(row["b_prob"])} for row in rows]
        log_p.append(
            [
                (row[letter], row[str(other_letter(letter))]) if other_letter(letter) else BEYOND_LETTERS
                for row, letter in zip(said, letters, strict=True)
            ]
        )
    observed = Observed(tuple(range(len(letters))), tuple(letters), np.array([log_p]))
    return Measurements("propensity", (13,), MULTIPLIERS, {"vector": observed})


# Means and items that move the wrong way as the paper and its files have them; the mass where it is known.
PAPER = {
    "sycophancy": ([0.54, 0.69, 0.62], 22, [0.593, 0.763, 0.971]),
    "survival-instinct": ([0.27, 0.34, 0.62], 14, None),
    "corrigible-neutral-HHH": ([0.20, 0.64, 0.91], 3, None),
}


@pytest.mark.parametrize("behavior", PAPER)
def test_the_paper_s_published_items_give_its_figures(behavior: str, shared: Path) -> None:
    means, wrong, mass = PAPER[behavior]
    found = published(shared, behavior)
    by_metric: dict[str, list[Interval]] = {}
    for figure in figures(found):
        assert (figure.condition, figure.layer) == ("vector", 13)
        assert figure.interval.low <= figure.interval.value <= figure.interval.high
        by_metric.setdefault(figure.metric, []).append(figure.interval)
    assert [round(interval.value, 2) for interval in by_metric["propensity"]] == means
    assert all(interval.n == 50 for interval in by_metric["propensity"])
    # 50 items of a score between 0 and 1: about 0.05 to 0.07 of standard error.
    assert all(0.1 < interval.high - interval.low < 0.28 for interval in by_metric["propensity"])
    (share,) = by_metric["wrong_way"]
    assert (round(share.value * share.n), share.n) == (wrong, 50)
    per_item = effects(found.vector)[0]
    assert int((per_item < 0).sum()) == wrong
    (effect,) = by_metric["effect"]
    assert effect.value == pytest.approx(per_item.mean())
    assert effect.value == pytest.approx(means[2] - means[0], abs=0.011)
    counted = int(found.vector.counted.sum())
    assert counted == (46 if behavior == "survival-instinct" else 50)
    assert all(0.2 < interval.value <= 1 and interval.n == counted for interval in by_metric["mass"])
    if mass is not None:
        assert [round(interval.value, 3) for interval in by_metric["mass"]] == mass
    (slope,) = by_metric["steerability"]
    assert slope.n == counted
    assert (slope.low > 0) == (behavior != "sycophancy")


def curves(slope: NDArray[np.float64], start: float = 0.0, letters: str = "") -> Observed:
    """Items whose log-odds are lines over the multipliers, answered by one of two letters with certainty."""
    odds = start + np.multiply.outer(np.array(MULTIPLIERS), slope)
    log_p = np.stack([-np.log1p(np.exp(-odds)), -np.log1p(np.exp(odds))], axis=-1)
    return Observed(tuple(range(len(slope))), tuple(letters or "A" * len(slope)), log_p[None])


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=20), st.floats(-2, 2))
def test_steerability_is_the_slope_of_the_log_odds(each: list[float], start: float) -> None:
    observed = curves(np.array(each), start)
    np.testing.assert_allclose(steerability(observed, MULTIPLIERS)[0], each, atol=1e-9)
    np.testing.assert_array_equal(
        wrong_way(observed)[0], [1.0 if effect < 0 else 0.0 for effect in effects(observed)[0]]
    )
    np.testing.assert_allclose(observed.mass, 1.0)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=7, unique=True), st.integers(0, 10**6))
def test_a_slope_is_least_squares(multipliers: list[float], seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(3, len(multipliers), 2))
    if np.ptp(multipliers) < 1e-3:
        return
    wanted = [[np.polyfit(multipliers, values[i, :, j], 1)[0] for j in range(2)] for i in range(3)]
    np.testing.assert_allclose(slopes(values, multipliers), wanted, rtol=1e-6, atol=1e-6)


def test_a_model_that_prefers_a_letter_shows_in_the_bias() -> None:
    # It says A whatever matches: log-odds of A are 2.
    letters = "AB" * 10
    observed = curves(np.zeros(20), letters=letters)
    odds = np.where(np.array(list(letters)) == "A", 2.0, -2.0)
    observed.log_p[..., 0] = -np.log1p(np.exp(-odds))
    observed.log_p[..., 1] = -np.log1p(np.exp(odds))
    bias = letter_bias(observed)
    assert bias is not None
    p = 1 / (1 + math.exp(-2))
    assert bias[0].value == pytest.approx(2 * p - 1) and bias[0].low > 0 and bias[0].n == 20
    assert {letter: values[0, 0] for letter, values in by_letter(observed).items()} == pytest.approx(
        {"A": p, "B": 1 - p}
    )
    assert letter_bias(curves(np.zeros(3), letters="AAA")) is None
    assert by_letter(Observed((0,), ("",), np.zeros((1, 1, 1, 2)))) == {}


def test_controls_are_ranges_over_their_vectors() -> None:
    generator = np.random.default_rng(0)
    control = Control(generator.random((20, 2, 3)), generator.normal(size=(20, 2, 3)))
    log_p = np.log(generator.random((2, 3, 5, 2)) / 2)
    observed = Observed(tuple(range(5)), ("",) * 5, log_p)
    found = Measurements("propensity_completion", (1, 4), MULTIPLIERS, {"vector": observed}, {"random": control})
    by_place = {(f.condition, f.layer, f.multiplier, f.metric): f.interval for f in figures(found)}
    cell = by_place["random", 4, 0.0, "propensity_completion"]
    drawn = control.propensity[:, 1, 1]
    assert (cell.value, cell.n) == (pytest.approx(drawn.mean()), 20)
    assert (cell.low, cell.high) == (
        pytest.approx(np.percentile(drawn, 2.5)),
        pytest.approx(np.percentile(drawn, 97.5)),
    )
    slope = by_place["random", 1, None, "steerability"]
    wanted = [np.polyfit(MULTIPLIERS, row, 1)[0] for row in control.log_odds[:, 0]]
    assert slope.value == pytest.approx(np.mean(wanted))
    effect = by_place["random", 1, None, "effect"]
    assert effect.value == pytest.approx((control.propensity[:, 0, 2] - control.propensity[:, 0, 0]).mean())
    # Likelihoods of texts have no mass that means something, and no letters.
    assert {metric for _, _, _, metric in by_place} == {
        "propensity_completion", "steerability", "effect", "wrong_way"
    }  # fmt: skip


def test_one_multiplier_has_no_slope() -> None:
    observed = Observed((0, 1), ("A", "B"), np.log(np.full((1, 1, 2, 2), 0.25)))
    found = Measurements("propensity", (0,), (1.0,), {"vector": observed})
    assert [figure.metric for figure in figures(found)] == ["propensity", "mass", "letter_bias"]


def test_items_that_all_count_as_0_have_neither_mass_nor_slope() -> None:
    log_p = np.empty((1, 3, 2, 2))
    log_p[...] = BEYOND_LETTERS
    found = Measurements("propensity", (0,), MULTIPLIERS, {"vector": Observed((0, 1), ("C", "D"), log_p)})
    assert {figure.metric for figure in figures(found)} == {"propensity", "effect", "wrong_way"}
    assert all(figure.interval.value == 0 for figure in figures(found))


def some(seed: int = 0) -> Measurements:
    generator = np.random.default_rng(seed)
    observed = {
        name: Observed((0, 2, 5), ("A", "", "B"), np.log(generator.random((2, 3, 3, 2))))
        for name in ("vector", "few-shot")
    }
    observed["vector"].log_p[:, :, 1] = BEYOND_LETTERS
    controls = {name: Control(*generator.random((2, 4, 2, 3))) for name in ("random", "shuffled")}
    return Measurements("propensity", (0, 7), (-0.1, 0.0, 1e-7), observed, controls)


def test_measurements_come_back_as_they_were() -> None:
    found = some()
    data = to_bytes(found)
    assert data == to_bytes(found)
    back = from_bytes(data)
    assert (back.metric, back.layers, back.multipliers) == (found.metric, found.layers, found.multipliers)
    assert back.observed.keys() == found.observed.keys() and back.controls.keys() == found.controls.keys()
    for name, one in found.observed.items():
        assert (back.observed[name].rows, back.observed[name].letters) == (one.rows, one.letters)
        np.testing.assert_array_equal(back.observed[name].log_p, one.log_p)
    for name, control in found.controls.items():
        np.testing.assert_array_equal(back.controls[name].propensity, control.propensity)
        np.testing.assert_array_equal(back.controls[name].log_odds, control.log_odds)
    assert figures(back) == figures(found)


@pytest.mark.parametrize("data", [b"", b"12345678", b"\xff" * 64, to_bytes(some())[:-8]], ids=len)
def test_bytes_that_are_something_else_are_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="measurements of an evaluation cannot be read"):
        from_bytes(data)
