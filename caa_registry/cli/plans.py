"""Plans: ``caa eval plan``, ``plans`` and ``run``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from caa_registry.cli import output
from caa_registry.cli.listing import page_options, rows_to_show
from caa_registry.cli.options import (
    DRAWN,
    METHOD,
    MULTIPLIERS,
    READ,
    ROWS,
    SEED,
    STEERED_LAYERS,
    STEERED_POSITIONS_OPTION,
    STEERED_TEMPLATE,
    ModelChoice,
    NameList,
    Settings,
    common,
    controls_option,
    orders_option,
    with_adapter,
)
from caa_registry.cli.resumable import kept
from caa_registry.digests import short
from caa_registry.errors import UsageError
from caa_registry.pairs.orders import Orders
from caa_registry.registry.records import PLANNED, STATISTICS, PlanSettings, ToCompute
from caa_registry.wire.evaluations import evaluation_json
from caa_registry.wire.plans import outcome_json, plan_json
from caa_registry.wording import count, ranges

if TYPE_CHECKING:
    from caa_registry.registry.records import Evaluation, Plan, PlannedOutcome
    from caa_registry.registry.registry import Registry


@click.command(epilog="Example: caa eval plan team/confirm --vector team/refusal --layers 2")
@click.argument("name")
@click.option("--vector", metavar="REF", help="Vector to measure.")
@click.option("--recipe", metavar="NAME", help="Or: the vector that the run computes first, under this name.")
@click.option("--pairs", metavar="REF", help="With --recipe: dataset to compute from.")
@click.option("--pairs-split", help="With --recipe: split to compute from.  [default: generate]")
@click.option(
    "--method", type=METHOD, help="With --recipe: how the direction is estimated.  [default: mean-difference]"
)
@click.option("--read", type=READ, help="With --recipe: token to read.")
@click.option("--dataset", metavar="REF", help="Questions to score on.  [default: the dataset of the vector]")
@click.option("--split", default="test", show_default=True, help="Split to score on.")
@click.option("--model", metavar="M", help="Model to steer.  [default: the one the vector was computed on]")
@with_adapter
@STEERED_LAYERS
@MULTIPLIERS
@STEERED_POSITIONS_OPTION
@STEERED_TEMPLATE
@ROWS
@orders_option("both")
@controls_option("; p is against the first")
@DRAWN
@SEED
@click.option(
    "--statistic", type=click.Choice(STATISTICS), default="effect", show_default=True, help="What is reported."
)
@click.option("--less", is_flag=True, help="The behavior is to become weaker, not stronger.")
@click.option(
    "--conditions",
    type=NameList(PLANNED),
    default=",".join(PLANNED),
    show_default=True,
    help="What must hold.",
)
@click.option(
    "--beyond",
    type=float,
    default=0.0,
    show_default=True,
    help="The whole interval must lie above this; with --less, below its negative.",
)
@click.option("--level", type=float, default=0.05, show_default=True, help="Largest p.")
@common
def plan(
    settings: Settings,
    name: str,
    vector: str | None,
    recipe: str | None,
    pairs: str | None,
    pairs_split: str | None,
    method: str | None,
    read: Any,
    dataset: str | None,
    split: str,
    model: ModelChoice,
    layers: Any,
    multipliers: tuple[float, ...],
    positions: Any,
    template: Any,
    rows: Any,
    orders: Orders,
    controls: tuple[str, ...],
    draws: int,
    seed: int | None,
    statistic: Any,
    less: bool,
    conditions: tuple[str, ...],
    beyond: float,
    level: float,
) -> None:
    """Say what is to be measured and what must come of it, before it is.

    A plan never changes. It pins the vector (or the recipe of one that is not computed yet), the questions and the
    model by their digests, and its own digest stands in the audit. caa eval run measures it. Evaluations that follow a
    plan which was there before them are confirmatory, unless somebody had asked the questions earlier.

    Conditions: the statistic's interval lies beyond --beyond in the planned direction (interval); p is at most --level
    (null); the answers have half of the probability, or texts can move (answers); no question is among the vector's own
    pairs (leaks). With several layers they are about the one where the statistic is largest, and p is that of the
    largest of all.
    """
    of_recipe = {"--pairs": pairs, "--pairs-split": pairs_split, "--method": method, "--read": read}
    planned = _vector(vector, recipe, of_recipe)
    asked = PlanSettings(
        positions=positions,
        template=template,
        rows=rows,
        orders=orders,
        controls=controls,
        draws=draws,
        seed=seed,
        statistic=statistic,
        direction="less" if less else "more",
        conditions=conditions,
        beyond=beyond,
        level=level,
    )
    with settings.open() as registry:
        given = model.name is not None or model.adapter is not None or recipe is not None
        stored = registry.plans.make(
            name,
            planned,
            dataset=dataset,
            split=split,
            model=model.given(registry) if given else None,
            layers=layers,
            multipliers=multipliers,
            settings=asked,
        )
        before = registry.plans.asked_before(stored)
    if settings.as_json:
        output.print_json({**plan_json(stored), "asked_before": before})
        return
    _say_plan(stored)
    if before is not None:
        output.paragraph(
            f"Note: evaluation {before} had asked this vector these questions before. What follows the plan is "
            "exploratory."
        )
    output.message(f"Run it: caa eval run {stored.name}")


def _vector(vector: str | None, recipe: str | None, options: dict[str, Any]) -> str | ToCompute:
    if (vector is None) == (recipe is None):
        raise UsageError("a plan is about one vector", "Give --vector, or --recipe with --pairs and --model.")
    if vector is not None:
        for option, value in options.items():
            if value is not None:
                raise UsageError(f"{option} is given, and the vector exists", "It goes with --recipe.")
        return vector
    assert recipe is not None
    if options["--pairs"] is None:
        raise UsageError("a vector to be computed needs pairs", "Give --pairs REF.")
    return ToCompute(
        recipe,
        options["--pairs"],
        options["--pairs-split"],
        options["--method"] or "mean-difference",
        options["--read"],
    )


@click.command(epilog="Example: caa eval plans team/confirm")
@click.argument("plan", required=False)
@page_options
@common
def plans(settings: Settings, plan: str | None, limit: int | None, all_rows: bool) -> None:
    """List plans, the newest last; or show PLAN, its name or how its digest begins, and what came of every run."""
    if plan is not None:
        with settings.open() as registry:
            _show(settings, registry, registry.plans.get(plan))
        return
    count = rows_to_show(settings, limit, all_rows)
    with settings.open() as registry:
        listed = registry.plans.ls(limit=count)
    if settings.as_json:
        output.print_json([plan_json(each) for each in listed])
        return
    rows = [
        (
            each.name,
            short(each.digest),
            each.what,
            each.terms.dataset.name,
            each.terms.split,
            ranges(each.terms.layers),
            each.terms.settings.statistic,
            ", ".join(map(str, each.evaluations)),
        )
        for each in listed
    ]
    columns = ["name", "digest", "vector", "dataset", "split", "layers", "statistic", "runs"]
    output.table(columns, rows, empty="No plans yet. Make one: caa eval plan NAME --vector REF")
    if len(listed) < listed.total:
        output.message(f"Newest {len(listed):,} of {listed.total:,}; --all shows all.")


def _show(settings: Settings, registry: Registry, shown: Plan) -> None:
    runs = [registry.evaluations.get(number) for number in shown.evaluations]
    outcomes = [registry.plans.outcome(run) for run in runs]
    if settings.as_json:
        of_runs = [
            {**evaluation_json(run), "outcome": outcome_json(came)} for run, came in zip(runs, outcomes, strict=True)
        ]
        output.print_json({**plan_json(shown), "runs": of_runs})
        return
    _say_plan(shown)
    for run, came in zip(runs, outcomes, strict=True):
        _say_outcome(run, came)


@click.command(epilog="Example: caa eval run team/confirm")
@click.argument("plan")
@click.option("--model", metavar="M", help="Where the plan's model is now.  [default: where it was last seen]")
@with_adapter
@common
def run(settings: Settings, plan: str, model: ModelChoice) -> None:
    """Measure PLAN, its name or how its digest begins, exactly as it says, and show what came of its conditions.

    Nothing can be changed here: where the model or a version is no longer what was planned, it is refused. The exit
    code is 1 where a condition is not met. To resume an interrupted run, run the same command again; once it is
    finished, the same command makes a further run, which is counted and shown beside the others.
    """
    with settings.open() as registry, output.progress("activations") as reading, kept("scores") as progress:
        given = model.name is not None or model.adapter is not None
        loaded = model.given(registry) if given else None
        evaluation = registry.plans.run(plan, model=loaded, progress=progress, reading=reading)
        came = registry.plans.outcome(evaluation)
    if settings.prints:
        if settings.as_json:
            output.print_json({**evaluation_json(evaluation), "outcome": outcome_json(came)})
        else:
            _say_outcome(evaluation, came)
    if not came.met:
        sys.exit(1)


def _say_plan(shown: Plan) -> None:
    from caa_registry.registry.evaluations.plans.description import described

    output.message(f"Plan {shown.name} ({short(shown.digest)}):")
    output.table(["", "planned"], described(shown), empty="")


def _say_outcome(evaluation: Evaluation, came: PlannedOutcome) -> None:
    several = len(came.layers) > 1
    output.paragraph(f"Evaluation {evaluation.id}: {evaluation.standing.sentence}")
    rows = [
        (
            each.layer,
            output.figure(each.value),
            output.between(each.low, each.high),
            each.n,
            output.figure(each.p_value),
            output.figure(each.detectable),
        )
        for each in came.layers
    ]
    p_name = "p, chosen" if several else "p"
    output.table(["layer", came.statistic, "95 %", "n", p_name, "detectable"], rows, empty="no scores")
    best = next(each for each in came.layers if each.layer == came.layer)
    if best.detectable is not None and best.clusters is not None:
        asked = f"{count(best.n, 'question')} in {count(best.clusters, 'cluster')}"
        output.message(f"{asked} would show {best.detectable:.3f} or more (80 % power).")
    if several:
        output.message(
            f"The conditions are about layer {came.layer}, where it is largest of those planned. p counts that; the "
            "interval does not."
        )
    met = [(each.name, "yes" if each.met else "NO", each.figure) for each in came.conditions]
    output.table(["condition", "met", "because"], met, empty="")
    if evaluation.is_letter_vector(came.layer):
        output.paragraph("Note: it is a letter vector there. It moves the letter of the answer more than the behavior.")
