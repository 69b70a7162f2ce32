"""What a vector does besides what it is for, and how strongly it can be used: ``caa eval side-effects``, ``calibrate``,
``categories``, ``cross``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import click

from caa_registry.cli import output
from caa_registry.cli.options import (
    ALLOW_MISMATCH,
    MULTIPLIERS,
    STEERED_LAYERS,
    STEERED_MODEL,
    STEERED_POSITIONS_OPTION,
    STEERED_TEMPLATE,
    ModelChoice,
    NumberList,
    Settings,
    common,
    orders_option,
    with_adapter,
)
from caa_registry.cli.resumable import kept
from caa_registry.cli.score_tables import say_evaluation, say_letters
from caa_registry.cli.shards import SHARD, kept_shard
from caa_registry.evaluation.conditions import ConditionName
from caa_registry.evaluation.shards import Shard
from caa_registry.pairs.orders import Orders
from caa_registry.registry.records import Calibrated, CalibrationSettings
from caa_registry.wire.evaluations import calibration_json, categories_json, caveats_json, cross_json
from caa_registry.wording import count, ranges

if TYPE_CHECKING:
    from caa_registry.evaluation.calibration import Choice
    from caa_registry.evaluation.inference.caveats import Caveat
    from caa_registry.evaluation.inference.intervals import Interval
    from caa_registry.evaluation.verdict import Condition

TEXT = click.option(
    "--text", default="english", show_default=True, help="english, demo, or a text file with a passage a paragraph."
)
_STEPS = "-3,-2,-1.5,-1,-0.5,0,0.5,1,1.5,2,3"


@click.command("side-effects", epilog="Example: caa eval side-effects team/refusal --layers 2 --multipliers -2,-1,1")
@click.argument("vector")
@TEXT
@STEERED_MODEL
@with_adapter
@STEERED_LAYERS
@MULTIPLIERS
@SHARD
@ALLOW_MISMATCH
@common
def side_effects(
    settings: Settings,
    vector: str,
    text: str,
    model: ModelChoice,
    layers: Any,
    multipliers: tuple[float, ...],
    shard: Shard | None,
    allow_mismatch: bool,
) -> None:
    """Measure what a vector does to ordinary text: KL divergence from the unsteered model, and perplexity.

    KL is in nats per token, over the whole vocabulary; intervals resample passages. All tokens of the text are steered.
    """
    with kept_shard(settings, shard), settings.open() as registry, kept("passages") as progress:
        version = registry.vectors.get(vector)
        evaluation = registry.evaluations.side_effects(
            version,
            model=model.or_recorded(registry, version),
            text=text,
            layers=layers,
            multipliers=multipliers,
            allow_mismatch=allow_mismatch,
            shard=shard,
            progress=progress,
        )
    say_evaluation(settings, evaluation)


@click.command("calibrate", epilog="Example: caa eval calibrate team/sycophancy --target-kl 0.2")
@click.argument("vector")
@click.option(
    "--dataset", metavar="REF", help="Questions to choose and report on.  [default: the vector's own dataset]"
)
@click.option("--split", default="test", show_default=True, help="Split of the questions.")
@STEERED_MODEL
@with_adapter
@STEERED_LAYERS
@click.option("--multipliers", type=NumberList(), default=_STEPS, show_default=True)
@STEERED_POSITIONS_OPTION
@STEERED_TEMPLATE
@TEXT
@click.option(
    "--target-kl", type=float, default=0.2, show_default=True, help="Largest KL on that text, nats per token."
)
@click.option("--less", is_flag=True, help="Choose what lowers the behavior most, not what raises it.")
@click.option("--coherence", type=click.IntRange(0), default=8, show_default=True, help="Answers to check; 0: none.")
@click.option("--alias", default="best", show_default=True, help="Alias to set on the cell that is chosen.")
@orders_option("both")
@click.option(
    "--accept",
    type=click.Choice(get_args(ConditionName)),
    multiple=True,
    help="A condition that need not hold; recorded with the alias.",
)
@common
def calibrate(
    settings: Settings,
    vector: str,
    dataset: str | None,
    split: str,
    model: ModelChoice,
    layers: Any,
    multipliers: tuple[float, ...],
    positions: Any,
    template: Any,
    text: str,
    target_kl: float,
    less: bool,
    coherence: int,
    alias: str,
    orders: Orders,
    accept: tuple[ConditionName, ...],
) -> None:
    """Find the layer and multiplier to use, and set an alias there if the evidence is good.

    Among the multipliers at which ordinary text hardly changes it takes the largest mean effect, chosen on one half of
    the questions and reported on the other. Some answers are generated at that cell: where they repeat themselves or
    surprise the unsteered model, the next best cell is tried.

    The alias is set only where, on the other half, the effect's interval lies above 0 (interval), vectors that mean
    nothing do as much in at most 5 % of cases (null), the answers can move (answers), no question is among the vector's
    own pairs (leaks), KL stays at or below the target (kl), and larger multipliers do no more (grid). Else nothing
    works here, and the exit code is 1.
    """
    asked = CalibrationSettings(
        positions=positions,
        template=template,
        text=text,
        target_kl=target_kl,
        direction="less" if less else "more",
        coherence=coherence,
        alias=alias,
        orders=orders,
        accept=accept,
    )
    with settings.open() as registry, kept("scores") as progress:
        version = registry.vectors.get(vector)
        calibrated = registry.evaluations.calibrate(
            version,
            model=model.or_recorded(registry, version),
            dataset=dataset,
            split=split,
            layers=layers,
            multipliers=multipliers,
            settings=asked,
            progress=progress,
        )
        choice = calibrated.calibration.choice
        found = registry.evaluations.caveats(calibrated.propensity, choice.layer if choice else None)
        # The layer is chosen on one half, and reported on the other.
        caveats = [caveat for caveat in found if caveat.name != "chosen"]
    if not settings.prints:
        return
    if settings.as_json:
        output.print_json({**calibration_json(calibrated), **caveats_json(caveats)})
    else:
        _say_calibrated(calibrated, caveats)
    if calibrated.alias is None:
        sys.exit(1)


def _say_calibrated(calibrated: Calibrated, caveats: Sequence[Caveat]) -> None:
    calibration, choice = calibrated.calibration, calibrated.calibration.choice
    rows = [
        (
            bounds.layer,
            f"{bounds.low:g} .. {bounds.high:g}",
            "" if bounds.low_limit is None else f"{bounds.low_limit:.2f}",
            "" if bounds.high_limit is None else f"{bounds.high_limit:.2f}",
        )
        for bounds in calibration.ranges
    ]
    output.message(f"Multipliers up to which KL stays at or below {calibration.target_kl:g} nats per token:")
    output.table(["layer", "measured", "reached below 0 at", "reached above 0 at"], rows, empty="")
    say_letters(calibrated.propensity)
    for caveat in caveats:
        output.paragraph(f"Warning: {caveat.text}")
    if choice is None or calibrated.verdict is None:
        output.paragraph(f"Nothing works here: {calibration.reason}.")
        return
    conditions = [(each.name, _met(each), each.figure) for each in calibrated.verdict.conditions]
    output.table(["condition", "met", "because"], conditions, empty="")
    output.paragraph(_enough(choice))
    where = f"layer {choice.layer}, multiplier {choice.multiplier:g}"
    if choice.multiplier < 0:
        output.paragraph(
            "Note: the multiplier is negative. Turned round, the vector does more of what is wanted than as it is."
        )
    if calibrated.alias is None:
        failed = ", ".join(each.name for each in calibrated.verdict.failed)
        output.paragraph(
            f"Nothing works here: at {where}, the best there is, these conditions do not hold: {failed}. No alias is "
            "set. To set it all the same: --accept CONDITION."
        )
        return
    score, effect = choice.score_b, choice.effect_b
    evaluations = calibrated.propensity, calibrated.side_effects, *calibrated.extended, *calibrated.answers
    output.paragraph(
        f"{calibrated.alias.reference}: {where}. On the other "
        f"half ({count(calibration.n_b, 'question')}) the propensity is {_with_interval(score)}, changed by "
        f"{_with_interval(effect)} in the intended direction; KL {choice.kl.value:.3f}. "
        f"Evidence: evaluations {', '.join(str(e.id) for e in evaluations)}."
    )


def _enough(choice: Choice) -> str:
    """How small an effect the questions would show, and how many would show the one that they do not."""
    power, effect = choice.power_b, choice.effect_b
    if power.detectable is None:
        return "These questions are too few, or too few of a letter, to say how small an effect they would show."
    asked = f"{count(power.items, 'question')} in {count(power.clusters, 'cluster')}"
    said = f"{asked} would show an effect of {output.figure(power.detectable)} or more (80 % power, two-sided 5 %)."
    unclear = effect.low is not None and effect.low <= 0 < effect.value
    if unclear and power.needed is not None:
        said += f" An effect of {output.figure(effect.value)} would take about {power.needed:,} clusters."
    return said


def _met(condition: Condition) -> str:
    return "accepted" if condition.accepted else "yes" if condition.met else "NO"


def _with_interval(interval: Interval) -> str:
    between = output.between(interval.low, interval.high)
    return f"{output.figure(interval.value)} [{between}]" if between else output.figure(interval.value)


@click.command("categories", epilog="Example: caa eval categories 4 --layer 13")
@click.argument("id", type=int)
@click.option("--layer", type=click.IntRange(0), help="Layer to show.  [default: the most steerable]")
@common
def categories(settings: Settings, id: int, layer: int | None) -> None:
    """Show an evaluation's scores by category of its questions, such as those of MMLU or TruthfulQA.

    The last two rows are the mean over all questions, and the mean of the categories' means.
    """
    with settings.open() as registry:
        by_multiplier = registry.evaluations.categories(id, layer)
    if settings.as_json:
        output.print_json(categories_json(by_multiplier))
        return
    scores = list(by_multiplier.values())
    rows: list[tuple[object, ...]] = [
        (name, interval.n, *(output.figure(each.categories[name].value) for each in scores))
        for name, interval in scores[0].categories.items()
    ]
    rows.append(("all questions", scores[0].items.n, *(output.figure(each.items.value) for each in scores)))
    rows.append(("mean of categories", scores[0].of_means.n, *(output.figure(each.of_means.value) for each in scores)))
    output.table(["category", "n", *(output.strength(m) for m in by_multiplier)], rows, empty="")


@click.command("cross", epilog="Example: caa eval cross demo/sycophancy demo/sentiment --layer 2")
@click.argument("vectors", nargs=-1, required=True)
@click.option("--layer", type=click.IntRange(0), required=True, help="Layer that all vectors are added at.")
@click.option(
    "--multiplier",
    type=float,
    default=1.0,
    show_default=True,
    help="Effects are measured from minus this to plus this.",
)
@click.option("--split", default="test", show_default=True, help="Split of each vector's dataset to ask.")
@click.option("--model", metavar="M", help="Model to steer.  [default: the one the first was computed on]")
@with_adapter
@common
def cross(
    settings: Settings, vectors: tuple[str, ...], layer: int, multiplier: float, split: str, model: ModelChoice
) -> None:
    """Measure the effect of every vector on every other behavior's questions.

    A row for each vector, a column for each behavior: the mean change of the propensity from minus to plus the
    multiplier, with a 95 % interval. Each cell is an evaluation that is stored. own: the share of all effects of a
    vector that falls on its own behavior.
    """
    with settings.open() as registry, kept("scores") as progress:
        versions = [registry.vectors.get(vector) for vector in vectors]
        matrix, evaluations = registry.evaluations.cross(
            versions,
            model=model.or_recorded(registry, versions[0]),
            layer=layer,
            multiplier=multiplier,
            split=split,
            progress=progress,
        )
        caveats = [(each.id, caveat) for each in evaluations for caveat in registry.evaluations.caveats(each, layer)]
    if not settings.prints:
        return
    if settings.as_json:
        warnings = [{"evaluation": id, **dataclasses.asdict(caveat)} for id, caveat in caveats]
        output.print_json({**cross_json(matrix, evaluations), "warnings": warnings})
        return
    rows = [
        (
            vector,
            *(_change(matrix.effects[vector, behavior]) for behavior in matrix.behaviors),
            f"{100 * matrix.dominance[vector].share:.0f} %",
        )
        for vector in matrix.vectors
    ]
    output.table(["vector", *matrix.behaviors, "own"], rows, empty="")
    for text in dict.fromkeys(caveat.text for _, caveat in caveats):
        about = [id for id, each in caveats if each.text == text]
        output.paragraph(f"Warning (evaluation{'s' if len(about) > 1 else ''} {ranges(about)}): {text}")
    output.paragraph(f"Evaluations {evaluations[0].id} to {evaluations[-1].id} have the items (caa eval show).")


def _change(effect: Interval) -> str:
    if effect.low is None or effect.high is None:
        return f"{effect.value:+.2f}"
    return f"{effect.value:+.2f} [{effect.low:+.2f}, {effect.high:+.2f}]"
