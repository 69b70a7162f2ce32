"""An evaluation of any kind as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from caa_registry.cli import output
from caa_registry.cli.dose_table import dose_table
from caa_registry.cli.options import Settings
from caa_registry.registry.evaluations.layers import shown_layer
from caa_registry.registry.records import RecordedPropensity, RecordedSideEffects
from caa_registry.wire.evaluations import caveats_json, evaluation_json, judgement_json
from caa_registry.wording import count, named_layers, subject

if TYPE_CHECKING:
    from caa_registry.evaluation.doses.shape import CurveShape
    from caa_registry.evaluation.inference.caveats import Caveat
    from caa_registry.registry.records import Answer, Evaluation, Judged

_BASELINES = ("system-positive", "system-negative", "few-shot")
_OF_LAYERS = (
    "steerability", "token_slope", "letter_slope", "effect", "letter_effect", "anti_steerable", "wrong_way",
    "wrong_way_up", "wrong_way_down",
)  # fmt: skip


def say_evaluation(
    settings: Settings,
    evaluation: Evaluation,
    judgements: Sequence[Judged] | None = None,
    answers: Sequence[Answer] = (),
    caveats: Sequence[Caveat] = (),
    shapes: Sequence[CurveShape] = (),
) -> None:
    """An evaluation of any kind: what was asked, what a reader must know about it, and its scores; of an open-ended one
    also its ratings, of one by propensity the ``shapes`` of its curves. ``caveats``: where its numbers mean little."""
    if not settings.prints:
        return
    if settings.as_json:
        ratings = {} if judgements is None else {"judgements": [judgement_json(judged) for judged in judgements]}
        curves = shapes if evaluation.kind == "propensity" else None
        output.print_json({**evaluation_json(evaluation, curves), **caveats_json(caveats), **ratings})
        return
    split = f" ({evaluation.split}{evaluation.half})" if evaluation.split else ""
    output.paragraph(
        f"Evaluation {evaluation.id}: {evaluation.vector} on {evaluation.dataset}{split}, model "
        f"{evaluation.model.name}, positions {evaluation.positions}, template {evaluation.template}; "
        f"{evaluation.metric}"
    )
    if evaluation.quarantined:
        output.paragraph(f"Warning: quarantined. {evaluation.quarantined}")
    recorded = evaluation.settings
    if isinstance(recorded, RecordedPropensity):
        output.paragraph(evaluation.standing.sentence)
        for note in _notes(recorded):
            output.paragraph(note)
        scores(evaluation)
        _shapes(evaluation, shapes)
        for caveat in caveats:
            output.paragraph(f"Warning: {caveat.text}")
    elif isinstance(recorded, RecordedSideEffects):
        if recorded.too_long:
            left_out = subject(recorded.too_long, "passage", "was", "were")
            output.paragraph(f"Note: {left_out} left out: too long for the context or memory.")
        _side_effects(evaluation)
    else:
        _open_ended(evaluation, judgements or (), answers)


def _notes(recorded: RecordedPropensity) -> Iterator[str]:
    """What a reader must know about the questions."""
    leaked = recorded.leaked
    if leaked.same or leaked.near:
        yield (
            f"Warning: leaked. Of the questions {leaked.same} are among the pairs that made the vector and "
            f"{leaked.near} more are nearly the same as one of them. These scores say little about new questions."
        )
    if leaked.unknown:
        yield (
            "Note: leaks unknown. Not all of the pairs that made the vector are known here, so these questions may be "
            "among them."
        )
    if recorded.more_choices:
        yield f"Note: {recorded.more_choices} items are scored over more than two letters."
    if recorded.beyond_letters:
        treated = "count as 0 (--paper)" if recorded.paper else "were left out"
        yield f"Note: {recorded.beyond_letters} items have a matching letter beyond A/B and {treated}."
    if recorded.too_long:
        yield f"Note: {recorded.too_long} items were left out: too long for the model's context or memory."
    if recorded.unscorable:
        yield (
            f"Note: {recorded.unscorable} whole texts were left out. Their sides differ in the first token, and this "
            "model's tokenizer puts none before it that could predict it."
        )


def _side_effects(evaluation: Evaluation) -> None:
    perplexity = {(score.layer, score.multiplier): score for score in evaluation.of("perplexity")}
    rows = []
    for score in evaluation.of("kl"):
        text = perplexity[score.layer, score.multiplier]
        numbers = (output.figure(x) for x in (score.value, score.ci_low, score.ci_high))
        plain = output.figure(text.value), output.interval(text)
        rows.append((score.layer, output.strength(score.multiplier), *numbers, *plain, score.n))
    columns = ["layer", "multiplier", "KL", "ci_low", "ci_high", "perplexity", "95 %", "passages"]
    output.table(columns, rows, empty="no scores")


def _open_ended(evaluation: Evaluation, judgements: Sequence[Judged], answers: Sequence[Answer]) -> None:
    from caa_registry.registry.evaluations.ratings import mean_ratings

    metrics = ("tokens", "repeated_4", "distinct_2", "perplexity")
    by_metric = {metric: {score.multiplier: score for score in evaluation.of(metric)} for metric in metrics}
    rows = []
    for multiplier in evaluation.settings.multipliers:
        means = [by_metric[metric].get(multiplier) for metric in metrics]
        n = sum(answer.multiplier == multiplier for answer in answers)
        rows.append((output.strength(multiplier), n, *("" if s is None else f"{s.value:.2f}" for s in means)))
    output.table(["multiplier", "answers", "tokens", "repeated 4", "distinct 2", "perplexity"], rows, empty="")
    rated = []
    for judged in judgements:
        for multiplier, interval in mean_ratings(answers, judged).items():
            values: tuple[object, ...] = ("", "", 0)
            if interval is not None:
                values = output.figure(interval.value), output.between(interval.low, interval.high), interval.n
            missing = sum(a.multiplier == multiplier and judged.ratings[a.position] is None for a in answers)
            judge = f"{judged.judge['kind']} {judged.judge['name']}"
            rated.append((judge, output.strength(multiplier), *values, missing))
    if rated:
        click.echo()
        output.table(["judge", "multiplier", "rating", "95 %", "rated", "unparsable"], rated, empty="")


def scores(evaluation: Evaluation) -> None:
    """Every layer and multiplier, then every layer, at its multipliers and at equal doses, then the baselines."""
    _cells(evaluation)
    _layers(evaluation)
    say_letters(evaluation)
    dose_table(evaluation)
    _baselines(evaluation)
    _untrained(evaluation)


def _cells(evaluation: Evaluation) -> None:
    # Earlier releases measured random directions at every multiplier.
    kinds = ((None, "random"), *((metric, "vector") for metric in ("kl", "norm_ratio", "mass", "answers_first")))
    null, kl, ratio, mass, first, bias = (
        {(score.layer, score.multiplier): score for score in evaluation.of(metric, condition)}
        for metric, condition in (*kinds, ("letter_bias", "vector"))
    )
    rows = []
    for score in evaluation.of():
        at = score.layer, score.multiplier
        rows.append(
            (
                score.layer,
                output.strength(score.multiplier),
                *(output.figure(x) for x in (score.value, score.ci_low, score.ci_high)),
                score.n,
                output.interval(null.get(at)),
                *(output.figure(cells[at].value) if at in cells else "" for cells in (kl, ratio, mass, first)),
                f"{bias[at].value:+.3f}" if at in bias else "",
            )
        )
    doses = ["KL", "norm ratio", "mass", "answer first", "A-B"]
    columns = ["layer", "multiplier", "value", "ci_low", "ci_high", "n", "null", *doses]
    output.table(columns, rows, empty="no scores")


def _layers(evaluation: Evaluation) -> None:
    null, rows = evaluation.null or "", []
    for metric in _OF_LAYERS:
        for score in evaluation.of(metric):
            value, low, high = (output.figure(x) for x in (score.value, score.ci_low, score.ci_high))
            against, shuffled = (evaluation.at(score.layer, metric, name) for name in (null, "shuffled"))
            ps = (evaluation.at(score.layer, prefix + metric, null) for prefix in ("p_", "p_chosen_"))
            figures = (output.figure(p.value if p else None) for p in ps)
            ranges = output.interval(against), *figures, output.interval(shuffled)
            smallest = evaluation.detectable(score.layer, metric)
            shown = output.figure(smallest.value if smallest else None)
            rows.append((metric, score.layer, value, low, high, score.n, shown, *ranges))
    if rows:
        click.echo()
        columns = [
            "metric", "layer", "value", "ci_low", "ci_high", "n", "detectable", "null", "p", "p, chosen", "shuffled"
        ]  # fmt: skip
        output.table(columns, rows, empty="")
    for name in (null, "shuffled"):
        used = [score.n for score in evaluation.of("steerability", name)]
        if used and name != "random":
            output.message(f"Null: {count(max(used), 'vector')}, {name}.")


def _shapes(evaluation: Evaluation, shapes: Sequence[CurveShape]) -> None:
    """The shape at the layer that pictures and reports show, and where curves turn back."""
    from caa_registry.evaluation.doses.shape import in_words, warning

    layer = shown_layer(evaluation)
    for shape in shapes:
        if shape.layer == layer:
            output.paragraph(in_words(shape))
    turning = [shape for shape in shapes if shape.turns_back]
    if turning:
        output.paragraph(warning(turning))


def say_letters(evaluation: Evaluation) -> None:
    """Say where a vector moves the letter more than the behavior."""
    layers = evaluation.letter_layers
    if layers:
        output.paragraph(
            f"Letter vector at {named_layers(layers)}: there it moves the letter "
            "of the answer more than the behavior (letter_slope against steerability)."
        )


def _baselines(evaluation: Evaluation) -> None:
    """A column a multiplier: what prompts do alone (multiplier 0) and with the vector."""
    cells: dict[tuple[str, int], list[str]] = {}
    for condition in ("vector", *_BASELINES):
        for score in evaluation.of(None, condition):
            cells.setdefault((condition, score.layer), []).append(output.figure(score.value))
    if len({condition for condition, _ in cells}) > 1:
        click.echo()
        multipliers = [output.strength(multiplier) for multiplier in evaluation.settings.multipliers]
        rows = [
            ("no prompt" if condition == "vector" else condition, layer, *values)
            for (condition, layer), values in sorted(cells.items(), key=lambda item: item[0][1])
        ]
        output.table(["baseline", "layer", *multipliers], rows, empty="")


def _untrained(evaluation: Evaluation) -> None:
    """What the same recipe does on a network of the same shape with random weights, beside the vector."""
    if not evaluation.of(None, "untrained"):
        return
    rows = []
    for layer in evaluation.settings.layers:
        cells: list[object] = [layer]
        for metric in ("steerability", "effect"):
            own, beside = (evaluation.at(layer, metric, name) for name in ("vector", "untrained"))
            cells += [output.figure(score.value if score else None) for score in (own, beside)]
            cells.append(output.interval(beside))
        auc = evaluation.at(layer, "auc", "untrained")
        rows.append([*cells, output.figure(auc.value if auc else None)])
    click.echo()
    columns = ["layer", "steerability", "untrained", "95 %", "effect", "untrained", "95 %", "AUC, untrained"]
    output.table(columns, rows, empty="")
