"""An evaluation of any kind as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from caa_registry.cli import output
from caa_registry.cli.options import Settings
from caa_registry.wire.evaluations import evaluation_json, judgement_json

if TYPE_CHECKING:
    from caa_registry.registry.evaluations.open_ended import Answer
    from caa_registry.registry.evaluations.ratings import Judged
    from caa_registry.registry.records import Evaluation

_BASELINES = ("system-positive", "system-negative", "few-shot")


def say_evaluation(
    settings: Settings,
    found: Evaluation,
    judged: Sequence[Judged] | None = None,
    given: Sequence[Answer] | None = None,
) -> None:
    """An evaluation of any kind: what was asked, what is to be known of it, and its scores; of an open-ended one also
    its ratings."""
    if settings.as_json:
        ratings = {} if judged is None else {"judgements": [judgement_json(each) for each in judged]}
        output.print_json({**evaluation_json(found), **ratings})
        return
    parameters = found.parameters
    half = "" if parameters.get("rows", "all") == "all" else f", {parameters['rows']} rows"
    split = f" ({found.split}{half})" if found.split else ""
    output.message(
        f"Evaluation {found.id}: {found.vector} on {found.dataset}{split}, model {found.model.name}, "
        f"positions {found.positions}, template {found.template}; {found.metric}"
    )
    if found.quarantined:
        output.message(f"Warning: quarantined. {found.quarantined}")
    if found.leaked:
        output.message(
            f"Warning: leaked. {parameters['leaked']['same']} of the questions are among the pairs that made the "
            f"vector, {parameters['leaked']['near']} more nearly; these scores say little of new questions."
        )
    if parameters.get("more_choices"):
        output.message(f"Note: {parameters['more_choices']} items are scored over more than two letters.")
    if parameters.get("beyond_letters"):
        output.message(
            f"Note: {parameters['beyond_letters']} items have a matching letter beyond A/B and count as 0 (--paper)."
        )
    if parameters.get("too_long"):
        output.message(f"Note: {parameters['too_long']} items were left out: longer than the model's context.")
    if parameters.get("unscorable"):
        output.message(
            f"Note: {parameters['unscorable']} whole texts were left out: they differ in their first token, and this "
            "model's tokenizer sets none before it that could predict it."
        )
    if found.kind == "side-effects":
        _side_effects(found)
    elif found.kind == "open-ended":
        _open_ended(found, judged or (), given or ())
    else:
        scores(found)


def _side_effects(evaluation: Evaluation) -> None:
    perplexity = {(score.layer, score.multiplier): score for score in evaluation.of("perplexity")}
    rows = []
    for score in evaluation.of("kl"):
        other = perplexity[score.layer, score.multiplier]
        numbers = (output.figure(x) for x in (score.value, score.ci_low, score.ci_high))
        plain = f"{other.value:.2f}", output.interval(other)
        rows.append((score.layer, output.strength(score.multiplier), *numbers, *plain, score.n))
    columns = ["layer", "multiplier", "KL", "ci_low", "ci_high", "perplexity", "95 %", "passages"]
    output.table(columns, rows, empty="no scores")


def _open_ended(evaluation: Evaluation, judged: Sequence[Judged], given: Sequence[Answer]) -> None:
    from caa_registry.registry.evaluations.ratings import mean_ratings

    by_metric = {
        metric: {score.multiplier: score for score in evaluation.of(metric)}
        for metric in ("perplexity", "repeated_4", "distinct_2", "tokens")
    }
    rows = []
    for multiplier in evaluation.parameters["multipliers"]:
        found = [by_metric[metric].get(multiplier) for metric in ("tokens", "repeated_4", "distinct_2", "perplexity")]
        n = sum(answer.multiplier == multiplier for answer in given)
        rows.append((output.strength(multiplier), n, *("" if s is None else f"{s.value:.2f}" for s in found)))
    output.table(["multiplier", "answers", "tokens", "repeated 4", "distinct 2", "perplexity"], rows, empty="")
    rated = []
    for each in judged:
        for multiplier, interval in mean_ratings(given, each).items():
            values = ("", "", 0) if interval is None else (
                f"{interval.value:.2f}", f"{interval.low:.2f} .. {interval.high:.2f}", interval.n
            )  # fmt: skip
            missing = sum(a.multiplier == multiplier and each.ratings[a.position] is None for a in given)
            rated.append((f"{each.judge['kind']} {each.judge['name']}", output.strength(multiplier), *values, missing))
    if rated:
        click.echo()
        output.table(["judge", "multiplier", "rating", "95 %", "rated", "unparsable"], rated, empty="")


def scores(evaluation: Evaluation) -> None:
    """Every layer and multiplier, then every layer, then the baselines. ``null``: the middle 95 % of random directions
    of the vector's length; ``shuffled``: of vectors made with shuffled labels."""
    _cells(evaluation)
    _layers(evaluation)
    _baselines(evaluation)


def _cells(evaluation: Evaluation) -> None:
    null, mass, bias = (
        {(score.layer, score.multiplier): score for score in found}
        for found in (evaluation.of(condition="random"), evaluation.of("mass"), evaluation.of("letter_bias"))
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
                output.figure(mass[at].value) if at in mass else "",
                f"{bias[at].value:+.2f}" if at in bias else "",
            )
        )
    columns = ["layer", "multiplier", "value", "ci_low", "ci_high", "n", "null", "mass", "A-B"]
    output.table(columns, rows, empty="no scores")


def _layers(evaluation: Evaluation) -> None:
    rows = []
    for metric in ("steerability", "effect", "wrong_way"):
        null, shuffled = (
            {score.layer: score for score in evaluation.of(metric, control)} for control in ("random", "shuffled")
        )
        for score in evaluation.of(metric):
            value, low, high = (output.figure(x) for x in (score.value, score.ci_low, score.ci_high))
            ranges = (output.interval(found.get(score.layer)) for found in (null, shuffled))
            rows.append((metric, score.layer, value, low, high, score.n, *ranges))
    if rows:
        click.echo()
        columns = ["metric", "layer", "value", "ci_low", "ci_high", "n", "null", "shuffled"]
        output.table(columns, rows, empty="")


def _baselines(evaluation: Evaluation) -> None:
    """A column a multiplier: what prompts do alone (multiplier 0) and with the vector."""
    found: dict[tuple[str, int], list[str]] = {}
    for condition in ("vector", *_BASELINES):
        for score in evaluation.of(None, condition):
            found.setdefault((condition, score.layer), []).append(output.figure(score.value))
    if len({condition for condition, _ in found}) > 1:
        click.echo()
        multipliers = [output.strength(multiplier) for multiplier in evaluation.parameters["multipliers"]]
        rows = [
            ("no prompt" if condition == "vector" else condition, layer, *values)
            for (condition, layer), values in sorted(found.items(), key=lambda item: item[0][1])
        ]
        output.table(["baseline", "layer", *multipliers], rows, empty="")
