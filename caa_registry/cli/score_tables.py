"""The scores of an evaluation as tables: by layer and multiplier, by layer, and of the baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from caa_registry.cli import output

if TYPE_CHECKING:
    from caa_registry.registry.records import Evaluation

_BASELINES = ("system-positive", "system-negative", "few-shot")


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
