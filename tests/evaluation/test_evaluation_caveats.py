"""Where a number means little, a sentence says so; where it means something, nothing is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from caa_registry.evaluation.inference.caveats import caveats, chosen, of_comparison
from caa_registry.evaluation.measurements import Measurements, Null, Observed
from caa_registry.evaluation.propensity import BEYOND_LETTERS, saturated
from caa_registry.evaluation.statistics import figures, token_slopes

MULTIPLIERS = (-1.0, 0.0, 1.0)


def measured(
    n: int = 40,
    *,
    letters: Sequence[str] = ("A", "B"),
    clusters: Sequence[int] | None = None,
    mass: float = 0.9,
    log_odds: NDArray[np.float64] | None = None,
    metric: str = "propensity",
    tokens: bool = False,
    draws: int = 199,
    layers: tuple[int, ...] = (3,),
) -> Measurements:
    """Items whose log-odds rise by 1, by 2, ... a unit of multiplier at one layer after the other."""
    rising = np.arange(1, len(layers) + 1)[:, None, None] * np.array(MULTIPLIERS)[None, :, None] + np.zeros(n)
    odds = rising if log_odds is None else log_odds
    share = 1 / (1 + np.exp(-odds))
    log_p = np.log(mass) + np.log(np.stack([share, 1 - share], axis=-1))
    observed = Observed(
        tuple(range(n)),
        tuple(letters[i % len(letters)] for i in range(n)),
        log_p,
        tuple(range(n)) if clusters is None else tuple(clusters),
        tokens=np.tile([4, 2], (n, 1)) if tokens else None,
    )
    drawn = np.random.default_rng(1).normal(0, 0.01, (draws, len(layers), 2))
    nulls = {"covariance": Null(drawn, drawn, MULTIPLIERS[::2], (1.0,) * len(layers))}
    return Measurements(metric, layers, MULTIPLIERS, {"vector": observed}, nulls)


def said(found: Measurements, layer: int | None = None, *, needs_letters: bool = False) -> dict[str, str]:
    return {each.name: each.text for each in caveats(found, layer, needs_letters=needs_letters)}


def test_of_a_sound_evaluation_nothing_is_said() -> None:
    assert said(measured()) == {}


@pytest.mark.parametrize(
    ("n", "clusters", "words"),
    [
        (9, None, "9 different questions are too few to tell"),
        (10, [0, 0, *range(8)], "8 different questions are too few to tell"),
        (4, None, "4 different questions are too few for an interval, which needs 5"),
        (1, None, "1 question is too few for an interval"),
        (12, [7] * 12, "All 12 questions ask the same"),
    ],
)
def test_few_questions_are_said(n: int, clusters: list[int] | None, words: str) -> None:
    found = measured(n, letters=("",), metric="propensity_completion", clusters=clusters)
    assert words in said(found)["few"]
    intervals = [figure.interval for figure in figures(found) if figure.condition == "vector"]
    assert all((each.low is None) == (len(set(found.vector.clusters)) < 5) for each in intervals if each.value > 0)


def test_letters_that_tell_nothing_are_said() -> None:
    assert "A in every question" in said(measured(letters=("A",)))["letters"]
    assert "Only some questions" in said(measured(letters=("A", "")))["letters"]
    few = measured(letters=("A", "A", "A", "A", "B"))
    assert "B is the matching letter of only 8 different questions" in said(few)["letters"]
    (slope,) = [f.interval for f in figures(few) if f.metric == "letter_slope"]
    assert slope.low is None
    free = measured(letters=("",), metric="propensity_completion")
    assert "letters" not in said(free) and "asked as they are written" in said(free, needs_letters=True)["letters"]
    beyond = measured()
    beyond.vector.log_p[...] = BEYOND_LETTERS
    assert list(said(beyond)) == ["letters"] and "no effect to compute" in said(beyond)["letters"]


def test_a_small_mass_is_said_with_the_share_of_letters_that_come_first() -> None:
    low = measured(mass=0.4)
    assert "in 3 of 3 cells (least 0.400, at layer 3" in said(low)["mass"] and "most probable" not in said(low)["mass"]
    first = np.zeros((1, 3, 40), bool)
    first[..., :10] = True
    known = replace(low, observed={"vector": replace(low.vector, answers_first=first)})
    assert "25.0% have one of their answers as the most probable token" in said(known)["mass"]
    assert "mass" not in said(measured(mass=0.51)) and "mass" not in said(measured(mass=0.01, metric="completion"))


def test_texts_that_are_sure_whatever_is_done_are_said() -> None:
    odds = np.full((1, 3, 40), 6.0) + np.array(MULTIPLIERS)[:, None]
    sure = measured(log_odds=odds, letters=("",), metric="propensity_completion", tokens=True)
    assert "100.0% at layer 3" in said(sure)["saturated"] and "per token (token_slope)" in said(sure)["saturated"]
    without = replace(sure, observed={"vector": replace(sure.vector, tokens=None)})
    assert "token_slope" not in said(without)["saturated"]
    # What goes from one end to the other moves as far as anything can.
    turned = measured(log_odds=odds * np.array([-1.0, 1, 1])[:, None], letters=("",), metric="propensity_completion")
    assert "saturated" not in said(turned)


def test_an_item_is_saturated_where_it_is_sure_of_one_side_throughout() -> None:
    items = np.array([[0.995, 0.001, 0.995, 0.5], [0.999, 0.002, 0.001, 0.999]])
    assert saturated(items) == sum(all(v > 0.99 for v in c) or all(v < 0.01 for v in c) for c in items.T) / 4 == 0.5


def test_the_slope_per_token_is_that_of_mean_log_likelihoods() -> None:
    found = measured(letters=("",), metric="propensity_completion", tokens=True)
    slopes = token_slopes(found.vector, MULTIPLIERS)
    assert slopes is not None and token_slopes(measured().vector, MULTIPLIERS) is None
    for item in range(40):
        per_token = found.vector.log_p[0, :, item, 0] / 4 - found.vector.log_p[0, :, item, 1] / 2
        assert slopes[0, item] == pytest.approx(np.polyfit(MULTIPLIERS, per_token, 1)[0])
    (figure,) = [f.interval for f in figures(found) if f.metric == "token_slope"]
    assert figure.value == pytest.approx(slopes.mean())


def test_a_layer_chosen_on_the_items_reported_is_said_with_p_over_all() -> None:
    found = measured(layers=(3, 5))
    assert "Layer 5 is the best of 2" in said(found)["chosen"] and "p = 0.005" in said(found)["chosen"]
    assert "chosen" not in said(found, 5)
    choice = chosen(found, 5)
    assert choice is not None and "Layer 5" in choice.text
    assert chosen(measured(), 3) is None
    assert "No null was measured" in said(replace(found, nulls={}))["chosen"]


def test_an_untrained_network_that_does_as_much_is_said() -> None:
    found = measured(layers=(3, 5))
    beside = replace(found.vector, log_p=np.stack([found.vector.log_p[1], found.vector.log_p[0]]))
    both = replace(found, observed={**found.observed, "untrained": beside})
    assert "At layer 3 the same recipe on a network of random weights" in said(both)["untrained"]
    assert "untrained" in said(both, 3) and "untrained" not in said(both, 5)


def test_few_draws_and_one_multiplier_are_said() -> None:
    assert "Of 18 vectors (covariance) no p-value can be below 0.053" in said(measured(draws=18))["draws"]
    assert "draws" not in said(measured(draws=19))
    one = measured()
    at_one = replace(one.vector, log_p=one.vector.log_p[:, :1])
    assert "multipliers" in said(replace(one, multipliers=(-1.0,), observed={"vector": at_one}, nulls={}))


def test_a_comparison_that_cannot_come_to_p_005_says_so() -> None:
    few = of_comparison(5)
    assert few is not None and "no p-value can be below 0.062" in few.text
    assert of_comparison(6) is None
