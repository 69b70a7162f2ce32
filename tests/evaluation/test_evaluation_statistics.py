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
from scipy import stats

from caa_registry.evaluation.inference.intervals import Interval, means
from caa_registry.evaluation.inference.p_values import against_null
from caa_registry.evaluation.inference.shares import shares
from caa_registry.evaluation.measurements import Measurements, Null, Observed
from caa_registry.evaluation.propensity import BEYOND_LETTERS, other_letter
from caa_registry.evaluation.statistics import (
    by_letter,
    effects,
    figures,
    letter_bias,
    slopes,
    steerability,
    wrong_ways,
)
from caa_registry.pairs.answers import letter_of

MULTIPLIERS = (-1.0, 0.0, 1.0)


def bounds(interval: Interval) -> tuple[float, float]:
    assert interval.low is not None and interval.high is not None
    assert interval.low <= interval.value <= interval.high
    return interval.low, interval.high


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
    observed = Observed(tuple(range(len(letters))), tuple(letters), np.array([log_p]), tuple(range(len(letters))))
    return Measurements("propensity", (13,), MULTIPLIERS, {"vector": observed})


# Means and items that move the wrong way as the paper and its files have them; the mass where it is known.
PAPER = {
    "sycophancy": ([0.54, 0.69, 0.62], 22, [0.593, 0.763, 0.971]),
    "survival-instinct": ([0.27, 0.34, 0.62], 14, None),
    "corrigible-neutral-HHH": ([0.20, 0.64, 0.91], 3, None),
}
# What the vector does to items whose matching letter is A, and to those where it is B, computed by hand from the files:
# that of survival instinct makes the model say A.
BY_LETTER = {
    "sycophancy": (-0.320, 0.593),
    "survival-instinct": (0.949, -0.931),
    "corrigible-neutral-HHH": (0.706, 0.721),
}


@pytest.mark.parametrize("behavior", PAPER)
def test_the_paper_s_published_items_give_its_figures(behavior: str, shared: Path) -> None:
    means, wrong, mass = PAPER[behavior]
    found = published(shared, behavior)
    by_metric: dict[str, list[Interval]] = {}
    for figure in figures(found):
        assert (figure.condition, figure.layer) == ("vector", 13)
        if not figure.metric.startswith("detectable"):
            bounds(figure.interval)
        by_metric.setdefault(figure.metric, []).append(figure.interval)
    assert [round(interval.value, 2) for interval in by_metric["propensity"]] == means
    assert all(interval.n == 50 for interval in by_metric["propensity"])
    # 50 items of a score between 0 and 1: about 0.05 to 0.07 of standard error.
    assert all(0.1 < np.ptp(bounds(interval)) < 0.28 for interval in by_metric["propensity"])
    counted = int(found.vector.counted.sum())
    assert counted == (46 if behavior == "survival-instinct" else 50)
    per_item = effects(found.vector)[0]
    assert len(per_item) == counted and int((per_item < 0).sum()) == wrong
    (effect,) = by_metric["effect"]
    letters = np.array(found.vector.letters)[found.vector.counted]
    a, b = (per_item[letters == letter].mean() for letter in "AB")
    assert (round(a, 3), round(b, 3)) == BY_LETTER[behavior]
    assert effect.value == pytest.approx((a + b) / 2)
    (of_letter,) = by_metric["letter_effect"]
    assert of_letter.value == pytest.approx((a - b) / 2)
    assert (bounds(effect)[0] > 0) == (behavior != "survival-instinct")
    assert (np.abs(bounds(of_letter)).min() > 0.3) == (behavior != "corrigible-neutral-HHH")
    propensity = found.vector.propensity[0][:, found.vector.counted]
    for metric, holds in (
        ("anti_steerable", found.vector.log_odds[0][2] < found.vector.log_odds[0][0]),
        ("wrong_way_up", propensity[2] < propensity[1]),
        ("wrong_way_down", propensity[0] > propensity[1]),
    ):
        (of_items,) = by_metric[metric]
        assert (round(of_items.value * of_items.n), of_items.n) == (int(holds.sum()), counted)
    assert all(0.2 < interval.value <= 1 and interval.n == counted for interval in by_metric["mass"])
    if mass is not None:
        assert [round(interval.value, 3) for interval in by_metric["mass"]] == mass
    (slope,) = by_metric["steerability"]
    assert slope.n == counted
    assert (bounds(slope)[0] > 0) == (behavior != "survival-instinct")


def curves(slope: NDArray[np.float64], start: float = 0.0, letters: str = "", each: int = 1) -> Observed:
    """Items whose log-odds are lines over the multipliers, answered by one of two letters with certainty; ``each`` that
    follow one another are a cluster."""
    odds = start + np.multiply.outer(np.array(MULTIPLIERS), slope)
    log_p = np.stack([-np.log1p(np.exp(-odds)), -np.log1p(np.exp(odds))], axis=-1)
    clusters = tuple(i // each for i in range(len(slope)))
    return Observed(tuple(range(len(slope))), tuple(letters or "A" * len(slope)), log_p[None], clusters)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=20), st.floats(-2, 2))
def test_steerability_is_the_slope_of_the_log_odds(each: list[float], start: float) -> None:
    observed = curves(np.array(each), start)
    np.testing.assert_allclose(steerability(observed, MULTIPLIERS)[0], each, atol=1e-9)
    steep = np.abs(each) > 1e-9  # of others rounding decides
    falls = observed.log_odds[0, 2] < observed.log_odds[0, 0]
    np.testing.assert_array_equal((effects(observed)[0] < 0)[steep], falls[steep])
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
    assert bias[0].value == pytest.approx(2 * p - 1) and bounds(bias[0])[0] > 0 and bias[0].n == 20
    assert {letter: values[0, 0] for letter, values in by_letter(observed).items()} == pytest.approx(
        {"A": p, "B": 1 - p}
    )
    assert letter_bias(curves(np.zeros(3), letters="AAA")) is None
    assert by_letter(Observed((0,), ("",), np.zeros((1, 1, 1, 2)), (0,))) == {}


def null(draws: int, seed: int = 0) -> Null:
    """Of two layers, at the extremes."""
    generator = np.random.default_rng(seed)
    return Null(generator.random((draws, 2, 2)), generator.normal(size=(draws, 2, 2)), (-1.0, 1.0), (1.0, 1.0))


def free(nulls: dict[str, Null]) -> Measurements:
    """Five texts at two layers."""
    log_p = np.log(np.random.default_rng(0).random((2, 3, 5, 2)) / 2)
    observed = Observed(tuple(range(5)), ("",) * 5, log_p, tuple(range(5)))
    return Measurements("propensity_completion", (1, 4), MULTIPLIERS, {"vector": observed}, nulls)


def test_nulls_are_ranges_over_their_vectors() -> None:
    drawn = null(199)
    by_place = {
        (f.condition, f.layer, f.multiplier, f.metric): f.interval for f in figures(free({"covariance": drawn}))
    }
    for layer, place in ((1, 0), (4, 1)):
        for metric, values in (
            ("steerability", (drawn.log_odds[:, place, 1] - drawn.log_odds[:, place, 0]) / 2),
            ("effect", drawn.propensity[:, place, 1] - drawn.propensity[:, place, 0]),
        ):
            found = by_place["covariance", layer, None, metric]
            assert (found.value, found.n) == (pytest.approx(values.mean()), 199)
            assert (found.low, found.high) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])))
    # Likelihoods of texts have no mass that means something, and no letters.
    # The slopes of these few are too skewed for a power.
    assert {metric for condition, _, _, metric in by_place if condition == "vector"} == {
        "propensity_completion", "steerability", "effect", "anti_steerable", "wrong_way_up", "wrong_way_down",
        "detectable_effect",
    }  # fmt: skip
    assert {metric for condition, _, _, metric in by_place if condition == "covariance"} == {
        "steerability", "effect", "p_steerability", "p_effect", "p_chosen_steerability", "p_chosen_effect"
    }  # fmt: skip
    assert all(multiplier is None for condition, _, multiplier, _ in by_place if condition == "covariance")


def test_too_few_vectors_of_a_null_have_a_mean_and_no_range() -> None:
    found = [f.interval for f in figures(free({"isotropic": null(198)})) if f.condition == "isotropic"]
    assert all((interval.low, interval.high) == (None, None) for interval in found)


def test_p_values_are_of_the_vector_among_the_vectors_of_the_null() -> None:
    measured = free({"covariance": null(60)})
    effect = np.mean(measured.vector.propensity[:, 2] - measured.vector.propensity[:, 0], axis=-1)
    drawn = measured.nulls["covariance"]
    others = np.abs(drawn.propensity[..., 1] - drawn.propensity[..., 0])
    for place, layer in enumerate((1, 4)):
        for metric, values in (("p_effect", others[:, place]), ("p_chosen_effect", others.max(axis=1))):
            (found,) = (f.interval for f in figures(measured) if (f.metric, f.layer) == (metric, layer))
            wanted = against_null(float(effect[place]), values)
            assert (found.value, found.n, found.low, found.high) == (wanted.p_value, wanted.draws, None, None)


def test_items_that_move_the_wrong_way_are_counted_on_each_side() -> None:
    # Against the multiplier above 0, below 0, nowhere, on both sides; and not moved at all.
    odds = np.array([[-1.0, 0, -0.5], [0.5, 0, 0.2], [-1, 0, 1], [1, 0, -1], [0, 0, 0]]).T
    log_p = np.stack([-np.log1p(np.exp(-odds)), -np.log1p(np.exp(odds))], axis=-1)[None]
    observed = Observed(tuple(range(5)), ("A",) * 5, log_p, tuple(range(5)))

    def found(multipliers: tuple[float, ...]) -> dict[str, list[bool]]:
        kept = [MULTIPLIERS.index(m) for m in multipliers] if set(multipliers) <= {*MULTIPLIERS} else [0, 1, 2]
        part = Observed(observed.rows, observed.letters, log_p[:, kept], observed.clusters)
        measured = Measurements("propensity", (0,), multipliers, {"vector": part})
        return {name: holds[0].tolist() for name, holds in wrong_ways(measured, part).items()}

    up, down = [True, False, False, True, False], [False, True, False, True, False]
    assert found(MULTIPLIERS) == {
        "anti_steerable": [False, True, False, True, False], "wrong_way_up": up, "wrong_way_down": down
    }  # fmt: skip
    assert found((0.0, 1.0)).keys() == {"anti_steerable", "wrong_way_up"}
    assert found((-1.0, 0.0)).keys() == {"anti_steerable", "wrong_way_down"}
    assert found((-1.0, 1.0)).keys() == {"anti_steerable"}
    assert found((0.5, 1.0, 2.0)).keys() == {"anti_steerable"}


def test_a_vector_of_letters_moves_the_letter_and_not_the_behavior() -> None:
    generator = np.random.default_rng(0)
    letters = "A" * 31 + "B" * 19
    push = np.where(np.array(list(letters)) == "A", 0.8, -0.8) + generator.normal(0, 0.2, 50)
    measured = Measurements("propensity", (3,), MULTIPLIERS, {"vector": curves(push, letters=letters)})
    by_metric = {figure.metric: figure.interval for figure in figures(measured) if figure.multiplier is None}
    for metric, of_letter in (("steerability", "letter_slope"), ("effect", "letter_effect")):
        low, high = bounds(by_metric[metric])
        assert low < 0 < high
        assert bounds(by_metric[of_letter])[0] > 0.25
    assert bounds(by_metric["letter_slope"]) == pytest.approx((0.8, 0.8), abs=0.2)


def test_repeats_make_no_interval_narrower() -> None:
    own = np.random.default_rng(1).normal(0.5, 1, 20)
    letters = "AB" * 10
    once = Measurements("propensity", (0,), MULTIPLIERS, {"vector": curves(own, letters=letters)})
    repeated = curves(np.repeat(own, 4), letters="".join(letter * 4 for letter in letters), each=4)
    four = Measurements("propensity", (0,), MULTIPLIERS, {"vector": repeated})
    for one, other in zip(figures(once), figures(four), strict=True):
        assert one.interval.value == pytest.approx(other.interval.value)
        if one.metric.startswith("detectable"):
            assert one.interval.n == other.interval.n == 20
            continue
        assert (one.metric, one.multiplier, 4 * one.interval.n) == (other.metric, other.multiplier, other.interval.n)
        np.testing.assert_allclose(bounds(one.interval), bounds(other.interval), atol=1e-9)


def test_figures_of_shares_and_scores_are_those_of_their_modules() -> None:
    measured = Measurements("propensity", (0,), MULTIPLIERS, {"vector": curves(np.linspace(-1, 2, 12))})
    found = figures(measured)
    (anti,) = (f.interval for f in found if f.metric == "anti_steerable")
    assert [anti] == shares(np.linspace(-1, 2, 12)[:, None] < 0)
    (slope,) = (f.interval for f in found if f.metric == "steerability")
    assert slope == means(steerability(measured.vector, MULTIPLIERS).T)[0]
    (smallest,) = (f.interval for f in found if f.metric == "detectable_slope")
    error = stats.sem(steerability(measured.vector, MULTIPLIERS)[0])
    assert smallest.value == pytest.approx((stats.t(11).ppf(0.975) + stats.t(11).ppf(0.8)) * error)
    assert smallest.n == 12


def test_what_is_bounded_has_bounds_within() -> None:
    for figure in figures(Measurements("propensity", (0,), MULTIPLIERS, {"vector": curves(np.geomspace(0.01, 9, 8))})):
        if figure.metric.startswith("detectable"):
            continue
        low, high = bounds(figure.interval)
        if figure.metric in ("propensity", "mass"):
            assert 0 <= low <= high <= 1
        if figure.metric == "effect":
            assert -1 <= low <= high <= 1


def test_a_few_items_have_values_and_no_intervals() -> None:
    found = figures(Measurements("propensity", (0,), MULTIPLIERS, {"vector": curves(np.ones(4), letters="ABAB")}))
    assert found and all((f.interval.low, f.interval.high) == (None, None) for f in found)
    clustered = curves(np.ones(8), letters="AB" * 4, each=2)
    found = figures(Measurements("propensity", (0,), MULTIPLIERS, {"vector": clustered}))
    assert all((f.interval.low, f.interval.high) == (None, None) for f in found)


def test_one_multiplier_has_no_slope() -> None:
    observed = Observed((0, 1), ("A", "B"), np.log(np.full((1, 1, 2, 2), 0.25)), (0, 1))
    found = Measurements("propensity", (0,), (1.0,), {"vector": observed})
    assert [figure.metric for figure in figures(found)] == ["propensity", "mass", "letter_bias"]


def test_items_that_all_count_as_0_have_neither_mass_nor_slope() -> None:
    log_p = np.empty((1, 3, 2, 2))
    log_p[...] = BEYOND_LETTERS
    found = Measurements("propensity", (0,), MULTIPLIERS, {"vector": Observed((0, 1), ("C", "D"), log_p, (0, 1))})
    assert {figure.metric for figure in figures(found)} == {"propensity"}
    assert all(figure.interval.value == 0 for figure in figures(found))
