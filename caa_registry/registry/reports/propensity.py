"""The part of a report that tells how well a vector works: an evaluation by propensity, beside its nulls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from caa_registry.digests import short
from caa_registry.registry.records import Beside, Evaluation, RecordedPropensity, Score
from caa_registry.registry.reports.content import EvaluationContent
from caa_registry.registry.reports.nulls import null_intervals
from caa_registry.registry.reports.text import between, change, picture, signed, table
from caa_registry.wording import count

if TYPE_CHECKING:
    from caa_registry.evaluation.measurements import Measurements

_NULLS = {
    "covariance": "random directions that vary as the pairs' differences do,",
    "isotropic": "random directions",
    "random": "random directions of its length",
    "shuffled": "vectors of the same pairs with their labels exchanged at random,",
}
# What an item can do against the multiplier, as a share of items.
_AGAINST = (
    ("anti_steerable", "have a slope below 0"),
    ("wrong_way", "score lower at the highest multiplier than at the lowest"),
    ("wrong_way_up", "score lower at the highest multiplier than without steering"),
    ("wrong_way_down", "score higher at the lowest multiplier than without steering"),
)


def propensity_section(shown: EvaluationContent, pictures: Sequence[str]) -> Iterator[str]:
    """What was asked, what came of it, and every table of the layer that is shown. ``pictures``: those there are."""
    evaluation, layer, recorded = shown.evaluation, shown.layer, shown.evaluation.settings
    assert isinstance(recorded, RecordedPropensity)
    yield f"## How well it works: evaluation {evaluation.id}"
    yield ""
    yield from (evaluation.standing.sentence, "")
    yield from _asked(shown, recorded)
    for caveat in shown.caveats:
        yield from (f"**Warning**: {caveat.text}", "")
    yield from _finding(shown)
    for name in ("dose-response", "layers", "heat-map", "slopes", "items"):
        if name in pictures:
            yield from picture(name)
    yield from _by_layer(evaluation)
    yield from _by_multiplier(shown)
    if shown.measured is not None:
        yield from _by_letter(shown.measured, layer)
    yield from _baselines(evaluation, recorded.beside, layer)
    yield from _untrained(evaluation)


def _asked(shown: EvaluationContent, recorded: RecordedPropensity) -> Iterator[str]:
    evaluation, clusters = shown.evaluation, ""
    if shown.measured is not None:
        kinds = len(set(shown.measured.vector.clusters))
        clusters = f" in {count(kinds, 'cluster')} of those that ask the same" if kinds < evaluation.n else ""
    yield (
        f"{count(evaluation.n, 'question')}{clusters} of {evaluation.dataset} ({evaluation.split}{evaluation.half}), "
        f"scored by {evaluation.metric}; model {evaluation.model.name} "
        f"(`{short(evaluation.model.fingerprint.digest)}`, {recorded.verdict}); "
        f"steered positions {evaluation.positions}; template {evaluation.template}. "
        f"Intervals: {recorded.interval}."
    )
    yield ""
    letters = "with a matching letter beyond A and B, "
    letters += "counted as 0 (the paper's rule)" if recorded.paper else "left out"
    notes = [
        (evaluation.leaked, "among the vector's own pairs, the same or nearly: these scores are LEAKED"),
        (recorded.more_choices, "scored over more than two letters"),
        (recorded.beyond_letters, letters),
        (recorded.too_long, "left out: longer than the model's context"),
        (recorded.unscorable, "left out: nothing predicts the token in which their sides differ"),
    ]
    lines = [f"- {count(n, 'question')} {note}" for n, note in notes if n]
    if evaluation.leaks_unknown:
        lines.append("- not all of the vector's own pairs are known: whether questions are among them cannot be told")
    if lines:
        yield from (*lines, "")


def _finding(shown: EvaluationContent) -> Iterator[str]:
    evaluation, layer = shown.evaluation, shown.layer
    slope = evaluation.at(layer, "steerability")
    effect = evaluation.at(layer, "effect")
    if slope is None or effect is None:
        return
    multipliers = evaluation.settings.multipliers
    yield (
        f"At layer {layer} the log-odds of the matching answer change by **{change(slope.value)}** nats a unit of "
        f"multiplier ({_within(slope)}), and its probability by {change(effect.value)} ({_within(effect)}) from "
        f"multiplier {signed(multipliers[0])} to {signed(multipliers[-1])}."
        + _detectable(evaluation.at(layer, "detectable_slope"), evaluation.at(layer, "detectable_effect"))
    )
    yield ""
    yield from _letter(evaluation, layer)
    per_token = evaluation.at(layer, "token_slope")
    if per_token is not None:
        yield (
            f"- Per token, the log-likelihoods of the two answers part by {change(per_token.value)} nats a unit of "
            f"multiplier ({_within(per_token)})."
        )
    for metric, words in _AGAINST:
        score = evaluation.at(layer, metric)
        if score is not None:
            yield f"- {_share(score)} items ({_within(score)}) {words}."
    yield ""
    if shown.measured is not None:
        yield from _against_nulls(shown.measured, evaluation, layer)


def _detectable(slope: Score | None, effect: Score | None) -> str:
    if slope is None or effect is None:
        return ""
    return (
        f" These questions, in {effect.n} clusters, would show a slope of {slope.value:.3f} or more, and a change of "
        f"probability of {effect.value:.3f} or more (80 % power, two-sided 5 %)."
    )


def _letter(evaluation: Evaluation, layer: int) -> Iterator[str]:
    slope = evaluation.at(layer, "letter_slope")
    if slope is not None:
        yield (
            f"Every letter counts the same there. The letter itself, A against B, moves by {change(slope.value)} nats "
            f"a unit ({_within(slope)})."
        )
        if evaluation.is_letter_vector(layer):
            yield "**This is a letter vector: it moves the letter of the answer more than the behavior.**"
        yield ""
    bias = [score for score in evaluation.of("letter_bias") if score.layer == layer]
    if bias:
        biases = ", ".join(f"{signed(score.multiplier)}: {change(score.value)} ({_within(score)})" for score in bias)
        yield f"Preference for a letter (score where A matches minus score where B does), by multiplier: {biases}."
        yield ""


def _against_nulls(measured: Measurements, evaluation: Evaluation, layer: int) -> Iterator[str]:
    from caa_registry.evaluation.nulls.comparison import drawn

    place = measured.layers.index(layer)
    for name, null in measured.nulls.items():
        slopes = drawn(null)["steerability"][:, place]
        alone, chosen = (evaluation.at(layer, f"{prefix}steerability", name) for prefix in ("p_", "p_chosen_"))
        length = "" if name == "random" else f" of {null.lengths[place]:.3f} times its length"
        line = f"- {len(slopes)} {_NULLS[name]}{length}: slopes from {change(slopes.min())} to {change(slopes.max())}."
        if alone is not None and chosen is not None:
            line += f" p = {alone.value:.3f} at this layer; p = {chosen.value:.3f} as the layer chosen of all."
        yield line
    if measured.nulls:
        yield ""


def _by_layer(evaluation: Evaluation) -> Iterator[str]:
    slopes = evaluation.of("steerability")
    if len(slopes) < 2:
        return
    yield "### By layer"
    yield ""
    rows, null = [], evaluation.null or ""
    for slope in slopes:
        at = slope.layer
        effect, wrong, letter = (evaluation.at(at, metric) for metric in ("effect", "anti_steerable", "letter_slope"))
        others, shuffled = (evaluation.at(at, "steerability", name) for name in (null, "shuffled"))
        ps = (evaluation.at(at, f"{prefix}steerability", null) for prefix in ("p_", "p_chosen_"))
        rows.append(
            (
                at,
                change(slope.value),
                _range(slope),
                change(letter.value) if letter else "",
                _range(others),
                *(f"{p.value:.3f}" if p else "" for p in ps),
                _range(shuffled),
                change(effect.value) if effect else "",
                _share(wrong) if wrong else "",
            )
        )
    columns = [
        "layer", "steerability", "95 %", "letter", "null", "p", "p, chosen", "shuffled", "effect", "slope below 0",
    ]  # fmt: skip
    yield from table(columns, rows)


def _by_multiplier(shown: EvaluationContent) -> Iterator[str]:
    evaluation, layer = shown.evaluation, shown.layer
    yield f"### By multiplier, layer {layer}"
    yield ""
    rows = []
    nulls = [null_intervals(shown, name) for name in (evaluation.null or "", "shuffled")]
    kinds = [
        {score.multiplier: score for score in evaluation.of(metric) if score.layer == layer}
        for metric in ("kl", "norm_ratio", "mass", "answers_first")
    ]
    for score in evaluation.of():
        if score.layer == layer:
            at = score.multiplier or 0.0
            kl, ratio, mass, first = (cells.get(score.multiplier) for cells in kinds)
            rows.append(
                (
                    signed(score.multiplier),
                    f"{score.value:.3f}",
                    _range(score),
                    *(between(null[at].low, null[at].high) if at in null else "" for null in nulls),
                    f"{kl.value:.3f}" if kl else "",
                    _range(kl),
                    *(f"{each.value:.3f}" if each else "" for each in (ratio, mass)),
                    _share(first) if first else "",
                )
            )
    doses = ["KL, nats a token", "95 % ", "norm ratio", "p(answers)", "an answer first"]
    yield from table(["multiplier", evaluation.metric, "95 %", "null, 95 %", "shuffled, 95 %", *doses], rows)
    if any(nulls) and evaluation.metric == "propensity":
        yield "Of nulls every letter counts the same."
        yield ""
    yield from _shape(shown)


def _shape(shown: EvaluationContent) -> Iterator[str]:
    if shown.measured is None:
        return
    from caa_registry.evaluation.doses.shape import in_words, shapes, warning

    for shape in shapes(shown.measured):
        if shape.layer == shown.layer:
            yield in_words(shape)
            yield ""
            if shape.turns_back:
                yield f"**{warning([shape])}**"
                yield ""


def _by_letter(measured: Measurements, layer: int) -> Iterator[str]:
    from caa_registry.evaluation.statistics import by_letter

    means = by_letter(measured.vector)
    if len(means) < 2:
        return
    yield f"### By matching letter, layer {layer}"
    yield ""
    place = measured.layers.index(layer)
    rows = [
        (letter, measured.vector.letters.count(letter), *(f"{value:.3f}" for value in values[place]))
        for letter, values in means.items()
    ]
    yield from table(["letter", "n", *(signed(m) for m in measured.multipliers)], rows)


def _baselines(evaluation: Evaluation, beside: Beside, layer: int) -> Iterator[str]:
    rows = []
    for condition in ("vector", "system-positive", "system-negative", "few-shot"):
        scores = [score for score in evaluation.of(condition=condition) if score.layer == layer]
        if scores:
            cells = (f"{score.value:.3f} ({_within(score)})" for score in scores)
            rows.append(("no prompt" if condition == "vector" else condition, *cells))
    if len(rows) < 2:
        return
    yield f"### Prompts, alone (multiplier 0) and with the vector, layer {layer}"
    yield ""
    yield from table(["prompt", *(signed(m) for m in evaluation.settings.multipliers)], rows)
    for name, prompt in (("system-positive", beside.system_positive), ("system-negative", beside.system_negative)):
        if prompt:
            yield f"- {name}: {prompt!r}"
    if beside.few_shot:
        yield f"- few-shot: {count(beside.few_shot, 'pair')} of {evaluation.vector}'s own, drawn at random"
    yield ""


def _untrained(evaluation: Evaluation) -> Iterator[str]:
    if not evaluation.of(None, "untrained"):
        return
    yield "### The same recipe on an untrained network of the same shape, by layer"
    yield ""
    rows = []
    for layer in evaluation.settings.layers:
        cells: list[object] = [layer]
        for metric in ("steerability", "effect"):
            own, beside = (evaluation.at(layer, metric, name) for name in ("vector", "untrained"))
            cells += [change(score.value) if score else "" for score in (own, beside)]
            cells.append(_range(beside))
        auc = evaluation.at(layer, "auc", "untrained")
        rows.append([*cells, f"{auc.value:.3f}" if auc else ""])
    columns = ["layer", "steerability", "untrained", "95 %", "effect", "untrained", "95 %", "AUC, untrained"]
    yield from table(columns, rows)


def _share(score: Score) -> str:
    return f"{round(score.value * score.n)} of {score.n}"


def _within(score: Score) -> str:
    """The interval in a sentence."""
    return _range(score) or "no interval"


def _range(score: Score | None) -> str:
    return "" if score is None else between(score.ci_low, score.ci_high)
