"""``caa eval``."""

from __future__ import annotations

from typing import Any

import click

from caa_registry.cli import output
from caa_registry.cli.comparison_table import say_comparison
from caa_registry.cli.evidence_table import ranking_table
from caa_registry.cli.groups import LazyGroup
from caa_registry.cli.listing import page_options, rows_to_show, tag_option, wanted_tags
from caa_registry.cli.options import (
    ALLOW_MISMATCH,
    DRAWN,
    MULTIPLIERS,
    ROWS,
    SEED,
    STEERED_LAYERS,
    STEERED_MODEL,
    STEERED_POSITIONS_OPTION,
    STEERED_TEMPLATE,
    ModelChoice,
    Settings,
    common,
    controls_option,
    orders_option,
    with_adapter,
)
from caa_registry.cli.resumable import kept
from caa_registry.cli.score_tables import say_evaluation
from caa_registry.cli.shards import SHARD, kept_shard
from caa_registry.evaluation.shards import Shard
from caa_registry.pairs.orders import Orders
from caa_registry.registry.records import STATISTICS, Evaluation, PropensitySettings
from caa_registry.wire.evaluations import comparison_json, evaluation_json, ranked_json
from caa_registry.wire.vectors import vector_json
from caa_registry.wording import ranges

LAZY = {
    "merge": "caa_registry.cli.shards:merge",
    "plan": "caa_registry.cli.plans:plan",
    "plans": "caa_registry.cli.plans:plans",
    "run": "caa_registry.cli.plans:run",
    "plot": "caa_registry.cli.pictures:plot_evaluation",
    "report": "caa_registry.cli.pictures:report",
    "side-effects": "caa_registry.cli.side_effects:side_effects",
    "calibrate": "caa_registry.cli.side_effects:calibrate",
    "categories": "caa_registry.cli.side_effects:categories",
    "cross": "caa_registry.cli.side_effects:cross",
    "open-ended": "caa_registry.cli.open_ended:open_ended",
    "answers": "caa_registry.cli.open_ended:answers",
    "rate": "caa_registry.cli.open_ended:rate",
    "sheet": "caa_registry.cli.open_ended:sheet",
    "rubrics": "caa_registry.cli.open_ended:rubrics",
    "verify": "caa_registry.cli.eval_verify:verify",
}


@click.group("eval", cls=LazyGroup, lazy=LAZY)
def evaluation() -> None:
    """How well vectors work."""


@evaluation.command(
    epilog="Example: caa eval propensity team/refusal --layers 2,3 --multipliers -1,0,1",
)
@click.argument("vector")
@click.option("--dataset", metavar="REF", help="Questions to score on.  [default: the vector's own dataset]")
@click.option("--split", default="test", show_default=True, help="Split to score on.")
@STEERED_MODEL
@with_adapter
@STEERED_LAYERS
@MULTIPLIERS
@STEERED_POSITIONS_OPTION
@STEERED_TEMPLATE
@ROWS
@click.option(
    "--paper", is_flag=True, help="Score over A and B, and 0 where another letter matches, as the paper does."
)
@orders_option("as-written")
@controls_option()
@DRAWN
@SEED
@click.option("--system-positive", metavar="TEXT", default="", help="Baseline: a system prompt for the behavior.")
@click.option("--system-negative", metavar="TEXT", default="", help="Baseline: a system prompt against it.")
@click.option("--prompts", metavar="NAME|FILE", help="Baselines: both system prompts of a rubric (caa eval rubrics).")
@click.option(
    "--few-shot",
    type=click.IntRange(0),
    default=0,
    help="Baseline: this many of the vector's pairs before each question.",
)
@click.option("--untrained", is_flag=True, help="Baseline: the same recipe on a network with random weights.")
@SHARD
@ALLOW_MISMATCH
@common
def propensity(
    settings: Settings,
    vector: str,
    dataset: str | None,
    split: str,
    model: ModelChoice,
    layers: Any,
    multipliers: tuple[float, ...],
    positions: Any,
    template: Any,
    rows: Any,
    paper: bool,
    orders: Orders,
    controls: tuple[str, ...],
    draws: int,
    seed: int | None,
    system_positive: str,
    system_negative: str,
    prompts: str | None,
    few_shot: int,
    untrained: bool,
    shard: Shard | None,
    allow_mismatch: bool,
) -> None:
    """Measure how strongly the steered model prefers the matching answer, per layer and multiplier.

    The propensity of a question is p(matching) / (p(matching) + p(not matching)): of the answer's token for letters
    and Yes/No, of the whole completion for free text. Shown is the mean with a 95 % interval over questions, those that
    ask the same counting as one. Beside it stands the dose: KL from the unsteered model where answers are read, in nats
    per token, and the norm of what is added over that of the activations.

    Where answers are letters, effects count every letter the same, and the effect on the letter stands beside them. A
    vector that moves the letter more than the behavior is called a letter vector. p is the chance that a vector that
    means nothing, but is as long, does as much from the lowest to the highest multiplier; p, chosen: that the largest
    of all layers does. To resume an interrupted evaluation, run the same command again.

    On several processes or hosts: mlx.launch -n 2 -- caa eval propensity ..., or --shard on each.
    """
    if prompts is not None:
        from caa_registry.cli.open_ended import rubric_of

        rubric = rubric_of(prompts, "")
        system_positive = system_positive or rubric.system_positive
        system_negative = system_negative or rubric.system_negative
    asked = PropensitySettings(
        positions=positions,
        template=template,
        rows=rows,
        paper=paper,
        orders=orders,
        controls=controls,
        draws=draws,
        seed=seed,
        system_positive=system_positive,
        system_negative=system_negative,
        few_shot=few_shot,
        untrained=untrained,
        allow_mismatch=allow_mismatch,
    )
    with (
        kept_shard(settings, shard),
        settings.open() as registry,
        output.progress("activations") as reading,
        kept("scores") as progress,
    ):
        version = registry.vectors.get(vector)
        scored = registry.evaluations.propensity(
            version,
            dataset=dataset,
            split=split,
            model=model.or_recorded(registry, version),
            layers=layers,
            multipliers=multipliers,
            settings=asked,
            shard=shard,
            progress=progress,
            reading=reading,
        )
        caveats, shapes = registry.evaluations.caveats(scored), registry.evaluations.shapes(scored)
    say_evaluation(settings, scored, caveats=caveats, shapes=shapes)


@evaluation.command(epilog="Example: caa eval ls --vector team/sycophancy:v1")
@click.option("--vector", metavar="REF", help="Only evaluations of this vector version.")
@tag_option("evaluations of vectors")
@page_options
@common
def ls(settings: Settings, vector: str | None, tag: Any, limit: int | None, all_rows: bool) -> None:
    """List evaluations, the newest last."""
    count, tags = rows_to_show(settings, limit, all_rows), wanted_tags(tag)
    with settings.open() as registry:
        listed = registry.evaluations.ls(vector, tags=tags, limit=count)
    if settings.as_json:
        output.print_json([evaluation_json(evaluation) for evaluation in listed])
        return
    columns = ["id", "vector", "dataset", "split", "metric", "layers", "multipliers", "n", "note"]
    rows = [_row(evaluation) for evaluation in listed]
    output.table(columns, rows, empty="No evaluations yet. Make one: caa eval propensity VECTOR")
    if len(listed) < listed.total:
        output.message(f"Newest {len(listed):,} of {listed.total:,}; --all shows all.")


def _row(evaluation: Evaluation) -> tuple[object, ...]:
    recorded = evaluation.settings
    return (
        evaluation.id,
        evaluation.vector,
        evaluation.dataset,
        evaluation.split if recorded.rows == "all" else f"{evaluation.split} ({recorded.rows})",
        evaluation.metric if evaluation.kind == "propensity" else evaluation.kind,
        ranges(recorded.layers),
        ", ".join(f"{multiplier:g}" for multiplier in recorded.multipliers),
        evaluation.n,
        evaluation.remarks,
    )


@evaluation.command(epilog="Example: caa eval show 3")
@click.argument("id", type=int)
@common
def show(settings: Settings, id: int) -> None:
    """Show the scores of an evaluation."""
    with settings.open() as registry:
        shown = registry.evaluations.get(id)
        if shown.kind == "open-ended":
            judgements, answers = registry.evaluations.judgements(shown), registry.evaluations.answers(shown)
            say_evaluation(settings, shown, judgements, answers)
        else:
            caveats, shapes = registry.evaluations.caveats(shown), registry.evaluations.shapes(shown)
            say_evaluation(settings, shown, caveats=caveats, shapes=shapes)


@evaluation.command(epilog="Example: caa eval leaderboard --behavior sycophancy --model demo")
@click.option("--behavior", metavar="B", help="Only this behavior.")
@click.option("--model", metavar="M", help="Only this model: its name, or the beginning of its fingerprint.")
@click.option("--metric", type=click.Choice(STATISTICS), default="steerability", show_default=True)
@click.option(
    "--dose",
    type=float,
    metavar="D",
    help="Nats per token to rank at.  [default: the largest up to 0.1 that all of a group reach]",
)
@tag_option("vectors")
@common
def leaderboard(
    settings: Settings, behavior: str | None, model: str | None, metric: Any, dose: float | None, tag: Any
) -> None:
    """Rank all versions of all vectors within each behavior and model, at equal dose.

    The dose is the KL divergence from the unsteered model, in nats per token, where answers are read. Steerability is
    ranked by the change of the log-odds from that dose below 0 to that above, effect by that of the propensity, both
    interpolated between the multipliers that were measured, at the layer where it is largest. The rank is one more than
    the number of vectors whose interval lies wholly above, so that what cannot be told apart ties. p is against vectors
    that mean nothing; "p, Holm" is corrected for all vectors of the group. The verdict is that of caa eval calibrate.

    One evaluation speaks for a vector: on its own behavior and without leaked questions; with its dose measured rather
    than without, with a null rather than without, of the most layers, the newest of equals. Ranks are comparable only
    where the questions are the same. Vectors that do not reach the dose, or were evaluated by a release that did not
    measure it, are listed below.
    """
    with settings.open() as registry:
        standings = registry.evaluations.leaderboard(
            behavior=behavior, model=model, metric=metric, dose=dose, tags=wanted_tags(tag)
        )
    if settings.as_json:
        output.print_json([{**vector_json(each.vector), **ranked_json(each)} for each in standings])
        return
    ranking_table(standings, metric)


@evaluation.command(epilog="Example: caa eval compare team/sycophancy team/sycophancy-pca --layer 2")
@click.argument("one")
@click.argument("other")
@click.option("--layer", type=click.IntRange(0), help="Layer to compare.  [default: each that both have]")
@click.option("--other-layer", type=click.IntRange(0), help="Layer of OTHER.  [default: the same]")
@click.option(
    "--dose",
    type=float,
    metavar="D",
    help="Nats per token to compare at.  [default: the largest of 0.01, 0.02, 0.05, 0.1, 0.2, 0.5 that both reach]",
)
@common
def compare(
    settings: Settings, one: str, other: str, layer: int | None, other_layer: int | None, dose: float | None
) -> None:
    """Compare two evaluations on the questions that both have, paired by question, at equal dose.

    ONE and OTHER are numbers of evaluations, or vectors, of which the newest evaluation counts. The dose is the KL
    divergence from the unsteered model, in nats per token, on those questions. What each does at it is interpolated
    between its multipliers, which need not be the same. A difference is ONE minus OTHER with a 95 % interval. p comes
    from a two-sided sign-flip permutation test; "p, Holm" is corrected for all comparisons shown.

    Where the dose was not measured, as by earlier releases, the two are compared at the multipliers that both have.
    """
    with settings.open() as registry:
        first, second, compared = registry.evaluations.compare(
            one, other, layer=layer, other_layer=other_layer, dose=dose
        )
    if settings.as_json:
        output.print_json(comparison_json(first, second, compared))
        return
    say_comparison(first, second, compared, every_layer=layer is None)
