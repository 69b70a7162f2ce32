"""Where a number of an evaluation means little, or cannot be computed: each a sentence that says why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from caa_registry.display.records import Record
from caa_registry.evaluation.inference.intervals import FEWEST_CLUSTERS
from caa_registry.evaluation.letters import FEWEST_OF_A_LETTER, contrasts
from caa_registry.evaluation.measurements import Measurements, Observed
from caa_registry.evaluation.nulls.comparison import tests
from caa_registry.evaluation.nulls.names import FEWEST_DRAWS
from caa_registry.evaluation.propensity import SURE, saturated
from caa_registry.evaluation.statistics import steerability
from caa_registry.evaluation.verdict import LEAST_MASS, LEVEL, MOST_SATURATED
from caa_registry.wording import named_layers

CaveatName = Literal["mass", "saturated", "few", "letters", "chosen", "multipliers", "draws", "untrained"]
ENOUGH_CLUSTERS = 10
"""With fewer different questions it is too early to tell."""


@dataclass(frozen=True)
class Caveat(Record):
    """What to know before a number is believed: ``name`` for programs, ``text`` for people, whole sentences."""

    name: CaveatName
    text: str


def caveats(measured: Measurements, layer: int | None = None, *, needs_letters: bool = False) -> list[Caveat]:
    """What is to be said of an evaluation, of one ``layer`` that was named beforehand, or of all of them.

    ``needs_letters``: something was asked for that only letters have, their order or the paper's score.
    """
    layers = measured.layers if layer is None else (layer,)
    places = [measured.layers.index(each) for each in layers]
    observed = measured.vector
    if not observed.counted.any():
        text = "The model was asked none of the questions: their letters are beyond A and B, which counts as 0."
        return [Caveat("letters", f"{text} There is no effect to compute.")]
    found = [*_few(observed), *_letters(measured, needs_letters), *_mass(measured, places)]
    found += [*_saturated(measured, places), *_untrained(measured, places)]
    if len(measured.multipliers) < 2:
        text = "One multiplier gives scores and no effect: steerability and p need two."
        return [*found, Caveat("multipliers", text)]
    if len(layers) > 1:
        found.append(_chosen(measured, steepest_layer(measured)))
    return [*found, *_draws(measured)]


def chosen(measured: Measurements, layer: int) -> Caveat | None:
    """What is to be said where ``layer`` is shown because the vector does most there on the items that are reported;
    ``None`` where there was nothing to choose from."""
    several = len(measured.layers) > 1 and len(measured.multipliers) > 1 and measured.vector.counted.any()
    return _chosen(measured, layer) if several else None


def of_comparison(clusters: int) -> Caveat | None:
    """What is to be said where a sign-flip test of so many differences cannot come to p = 0.05."""
    least = 2.0 ** (1 - clusters)
    if least <= LEVEL:
        return None
    text = f"{_different(clusters)} too few to compare by: no p-value can be below {least:.2g}, whatever the difference"
    return Caveat("few", f"{text} is.")


def steepest_layer(measured: Measurements) -> int:
    """The layer with the largest steerability, of at least two multipliers."""
    slopes = steerability(measured.vector, measured.multipliers) @ contrasts(measured.vector).weights
    return measured.layers[int(slopes.argmax())]


def _few(observed: Observed) -> Iterator[Caveat]:
    clusters = len(np.unique(np.array(observed.clusters)[observed.counted]))
    items = int(observed.counted.sum())
    if clusters == 1 and items > 1:
        text = f"All {items} questions ask the same, or nearly: they are one piece of evidence, and no interval can be"
        yield Caveat("few", f"{text} computed.")
    elif clusters < FEWEST_CLUSTERS:
        text = f"{_different(clusters)} too few for an interval, which needs {FEWEST_CLUSTERS}: nothing says how far"
        yield Caveat("few", f"{text} off these figures are.")
    elif clusters < ENOUGH_CLUSTERS:
        yield Caveat("few", f"{_different(clusters)} too few to tell; make it {ENOUGH_CLUSTERS} or more.")


def _different(clusters: int) -> str:
    return "1 question is" if clusters == 1 else f"{clusters} different questions are"


def _letters(measured: Measurements, needed: bool) -> Iterator[Caveat]:
    observed = measured.vector
    letters = np.array(observed.letters)[observed.counted]
    names = sorted(set(map(str, letters)))
    if names == [""]:
        if needed:
            text = "The questions are not answered by letters: they have no other order and no paper's score, and were"
            yield Caveat("letters", f"{text} asked as they are written.")
    elif "" in names:
        text = "Only some questions are answered by letters: behavior and letter cannot be told apart."
        yield Caveat("letters", f"{text} There is no letter_slope.")
    elif len(names) == 1:
        yield Caveat(
            "letters",
            f"The matching answer is {names[0]} in every question: a vector that only favours {names[0]} looks the "
            "same as one of the behavior, and there is no letter_slope. Ask in both orders: --orders both.",
        )
    elif len(measured.multipliers) > 1:
        clusters = np.array(observed.clusters)[observed.counted]
        counts = {name: len(np.unique(clusters[letters == name])) for name in names}
        rarest = min(names, key=lambda name: counts[name])
        if counts[rarest] < FEWEST_OF_A_LETTER and len(np.unique(clusters)) >= FEWEST_CLUSTERS:
            yield Caveat(
                "letters",
                f"{rarest} is the matching letter of only {counts[rarest]} different questions. Below "
                f"{FEWEST_OF_A_LETTER} there is no interval of steerability, effect and letter_slope, in which every "
                "letter counts the same.",
            )


def _mass(measured: Measurements, places: Sequence[int]) -> Iterator[Caveat]:
    observed = measured.vector
    if measured.metric != "propensity":
        return
    masses = observed.mass[places][..., observed.counted].mean(axis=-1)
    low = masses < LEAST_MASS
    if not low.any():
        return
    row, column = np.unravel_index(masses.argmin(), masses.shape)
    where = f"layer {measured.layers[places[int(row)]]}, multiplier {measured.multipliers[int(column)]:g}"
    text = (
        f"The answers together have less than half of the probability in {low.sum()} of {low.size} cells (least "
        f"{masses.min():.3f}, at {where}): scores there compare what the model hardly ever says."
    )
    if observed.answers_first is not None:
        first = observed.answers_first[places][..., observed.counted].mean(axis=-1)[low].mean()
        text += f" Of the questions there, {first:.1%} have one of their answers as the most probable token."
    yield Caveat("mass", text)


def _saturated(measured: Measurements, places: Sequence[int]) -> Iterator[Caveat]:
    observed = measured.vector
    if measured.metric == "propensity" or len(measured.multipliers) < 2:
        return
    shares = [saturated(observed.propensity[place][:, observed.counted]) for place in places]
    if max(shares) <= MOST_SATURATED:
        return
    token = ", and per token (token_slope)" if observed.tokens is not None else ""
    worst = measured.layers[places[int(np.argmax(shares))]]
    yield Caveat(
        "saturated",
        f"At {sum(share > MOST_SATURATED for share in shares)} of {len(shares)} layers most texts are beyond {SURE} or "
        f"below {1 - SURE:.2f} at every multiplier ({max(shares):.1%} at layer {worst}): their propensity cannot show "
        f"what moves them. Read the log-odds instead (steerability){token}.",
    )


def _untrained(measured: Measurements, places: Sequence[int]) -> Iterator[Caveat]:
    beside = measured.observed.get("untrained")
    if beside is None or len(measured.multipliers) < 2:
        return
    weights = contrasts(measured.vector).weights
    slopes = [abs(steerability(each, measured.multipliers) @ weights) for each in (measured.vector, beside)]
    equalled = [measured.layers[place] for place in places if slopes[1][place] >= slopes[0][place]]
    if equalled:
        yield Caveat(
            "untrained",
            f"At {named_layers(equalled)} the same recipe on a network of random weights steers as much: there it "
            "takes no training to do what the vector does.",
        )


def _chosen(measured: Measurements, layer: int) -> Caveat:
    text = (
        f"Layer {layer} is the best of {len(measured.layers)} on the very questions that are reported, and looks "
        "better than it is."
    )
    null = next((name for name in measured.nulls if name != "shuffled"), None)
    if null is None:
        return Caveat("chosen", f"{text} No null was measured that would say how much.")
    place = measured.layers.index(layer)
    test = next(t for t in tests(measured, null) if t.statistic == "steerability" and t.layer == place)
    return Caveat("chosen", f"{text} Over all layers p = {test.chosen.p_value:.3f}.")


def _draws(measured: Measurements) -> Iterator[Caveat]:
    for name, null in measured.nulls.items():
        draws = len(null.propensity)
        if draws < FEWEST_DRAWS:
            text = f"Of {draws} vectors ({name}) no p-value can be below {1 / (1 + draws):.3f}, whatever the vector"
            yield Caveat("draws", f"{text} does. It takes {FEWEST_DRAWS} for 0.05.")
