"""``caa eval``."""

from __future__ import annotations

from typing import Any

import click

from caa_registry.cli import output
from caa_registry.cli.options import POSITIONS, TEMPLATE, LayerList, NumberList, Settings, common
from caa_registry.references import ranges


@click.group("eval")
def evaluation() -> None:
    """How well vectors work."""


@evaluation.command(
    epilog="Example: caa eval propensity team/sycophancy --layers 2,3 --multipliers -1,0,1",
)
@click.argument("vector")
@click.option("--dataset", metavar="REF", help="Questions to score on.  [default: the vector's own dataset]")
@click.option("--split", default="test", show_default=True, help="Split to score on.")
@click.option("--model", metavar="M", help="Model to steer.  [default: the one the vector was computed on]")
@click.option("--layers", type=LayerList(allow_all=True), default="all", show_default=True, help="0-3,7 or all.")
@click.option("--multipliers", type=NumberList(), default="-1,0,1", show_default=True)
@click.option("--positions", type=POSITIONS, default="after_prompt", show_default=True, help="Steered positions.")
@click.option("--template", type=TEMPLATE, help="How prompts are rendered.  [default: as the vector was computed]")
@click.option(
    "--rows", type=click.Choice(["all", "even", "odd"]), default="all", show_default=True, help="Half to use."
)
@click.option("--paper", is_flag=True, help="Count items whose letter is beyond A/B as 0, as the paper does.")
@click.option("--allow-mismatch", is_flag=True, help="Apply the vector to another model; this is recorded.")
@common
def propensity(
    settings: Settings,
    vector: str,
    dataset: str | None,
    split: str,
    model: str | None,
    layers: Any,
    multipliers: tuple[float, ...],
    positions: Any,
    template: Any,
    rows: Any,
    paper: bool,
    allow_mismatch: bool,
) -> None:
    """Measure how strongly the steered model tends to the matching answer, per layer and multiplier.

    For each item p(matching) / (p(matching) + p(not matching)), over the answer's token for letters and Yes/No, over
    the likelihood of the completions for free text; the mean with a 95 % bootstrap interval.
    """
    with settings.open() as registry, output.progress("scores") as progress:
        version = registry.vectors.get(vector)
        found = registry.evaluations.propensity(
            version,
            dataset=dataset,
            split=split,
            model=model or registry.models.load_recorded(version.model),
            layers=layers,
            multipliers=multipliers,
            positions=positions,
            template=template,
            rows=rows,
            paper=paper,
            allow_mismatch=allow_mismatch,
            progress=progress,
        )
    _print(settings, found)


def _print(settings: Settings, found: Any) -> None:
    if settings.as_json:
        output.print_json(output.evaluation_json(found))
        return
    parameters = found.parameters
    half = "" if parameters.get("rows", "all") == "all" else f", {parameters['rows']} rows"
    output.message(
        f"Evaluation {found.id}: {found.vector} on {found.dataset} ({found.split}{half}), model {found.model.name}, "
        f"positions {found.positions}, template {found.template}"
    )
    if parameters.get("beyond_letters"):
        how = "counted as 0" if parameters.get("paper") else "left out (--paper counts them as 0)"
        output.message(f"Note: {parameters['beyond_letters']} items have a matching letter beyond A/B: {how}.")
    if parameters.get("too_long"):
        output.message(f"Note: {parameters['too_long']} items were left out: longer than the model's context.")
    if parameters.get("unscorable"):
        output.message(
            f"Note: {parameters['unscorable']} whole texts were left out: they differ in their first token, and this "
            "model's tokenizer sets none before it that could predict it."
        )
    output.scores(found.scores)


@evaluation.command(epilog="Example: caa eval ls --vector team/sycophancy:v1")
@click.option("--vector", metavar="REF", help="Only evaluations of this vector version.")
@common
def ls(settings: Settings, vector: str | None) -> None:
    """List evaluations."""
    with settings.open() as registry:
        found = registry.evaluations.ls(vector)
    if settings.as_json:
        output.print_json([output.evaluation_json(evaluation) for evaluation in found])
        return
    rows = [
        (
            e.id,
            e.vector,
            e.dataset,
            e.split if e.parameters["rows"] == "all" else f"{e.split} ({e.parameters['rows']})",
            e.metric,
            ranges(sorted({s.layer for s in e.scores})),
            ", ".join(f"{m:g}" for m in sorted({s.multiplier for s in e.scores})),
            e.scores[0].n,
        )
        for e in found
    ]
    columns = ["id", "vector", "dataset", "split", "metric", "layers", "multipliers", "n"]
    output.table(columns, rows, empty="No evaluations yet. Make one: caa eval propensity VECTOR")


@evaluation.command(epilog="Example: caa eval show 3")
@click.argument("id", type=int)
@common
def show(settings: Settings, id: int) -> None:
    """Show the scores of an evaluation."""
    with settings.open() as registry:
        found = registry.evaluations.get(id)
    _print(settings, found)
