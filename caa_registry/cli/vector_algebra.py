"""``caa vector combine``, ``similar`` and ``compare``: vectors of vectors, and how near they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from caa_registry.cli import output
from caa_registry.cli.comparison_table import say_comparison
from caa_registry.cli.layer_table import layer_table
from caa_registry.cli.options import MESSAGE, LayerList, NumberList, Settings, common
from caa_registry.errors import UsageError
from caa_registry.registry.records import COMBINE_OPERATIONS
from caa_registry.wire.evaluations import comparison_json
from caa_registry.wire.vectors import nearness_json, similar_json, vector_json
from caa_registry.wording import named_layers

if TYPE_CHECKING:
    from caa_registry.registry.records import CombineOperation, LayerNearness

_TRANSFER = ("dataset", "split", "layers", "multipliers")
_NOISE = "noise: cosine between the directions of two halves of that vector's own pairs"


@click.command(epilog="Example: caa vector combine team/mix team/refusal:v1 team/sycophancy:v1:-0.5")
@click.argument("name")
@click.argument("vectors", nargs=-1, required=True, metavar="REF[:WEIGHT]...")
@click.option(
    "--operation", type=click.Choice(COMBINE_OPERATIONS), default="sum", show_default=True, help="How they become one."
)
@click.option("--layers", type=LayerList(allow_all=False), metavar="LAYERS", help="0-3,7.  [default: all of them]")
@click.option("--behavior", default="", help="What the result steers.  [default: that of the vectors, else its name]")
@MESSAGE
@common
def combine(
    settings: Settings,
    name: str,
    vectors: tuple[str, ...],
    operation: CombineOperation,
    layers: tuple[int, ...] | None,
    behavior: str,
    message: str,
) -> None:
    """Make one vector of several of the same model, layer by layer. Its lineage names them.

    \b
    sum             their weighted sum
    mean            their weighted mean
    difference      the first minus the second
    interpolate     a point between two: with weight 0.25 on the second, a
                    quarter of the way to it
    orthogonalize   the first without its part along the others
    normalize       one vector at length 1, times its weight

    A weight follows its vector: team/x:v2:-0.5 is minus half of team/x:v2.
    """
    with settings.open() as registry:
        version = registry.vectors.combine(
            name, vectors, operation=operation, layers=layers, behavior=behavior, message=message
        )
    if settings.as_json:
        output.print_json({**vector_json(version), "existing": version.existing})
        return
    if version.existing:
        output.message(f"{version.reference} already holds exactly this; nothing was added.")
    else:
        output.message(f"Made {version.reference}: {version.made_from}, {named_layers(version.layer_numbers)}.")
    layer_table(version)


@click.command(epilog="Example: caa vector similar team/refusal:best --layer 13")
@click.argument("reference")
@click.option("--layer", type=click.IntRange(min=0), help="Which layer.  [default: the only one]")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many to show.")
@common
def similar(settings: Settings, reference: str, layer: int | None, limit: int) -> None:
    """List the vectors of the same model that point the same way, or the opposite way, at a layer.

    All versions of all vectors are compared. The noise beside a cosine is the cosine between the directions of two
    halves of that vector's own pairs. A vector that is about as near as that may be the same direction.
    """
    with settings.open() as registry:
        version = registry.vectors.get(reference)
        found = registry.vectors.similar(version, layer=layer, limit=limit)
    if settings.as_json:
        output.print_json([similar_json(each) for each in found])
        return
    output.table(
        ["vector", "made from", "cosine", "noise"],
        [(s.version.reference, s.version.made_from, f"{s.cosine:+.3f}", _figure(s.noise)) for s in found],
        empty="No other vector of this model has that layer.",
    )
    if found:
        output.message(f"At layer {found[0].layer} of {version.model_name}, beside {version.reference}.\n{_NOISE}")


@click.command(epilog="Example: caa vector compare team/refusal:v1 team/refusal:v2")
@click.argument("one")
@click.argument("other")
@click.option("--transfer", is_flag=True, help="Also compare effects; the models need only have one shape.")
@click.option("--dataset", metavar="REF", help="Questions for --transfer.  [default: OTHER's own]")
@click.option("--split", default="test", show_default=True, help="Split of the questions.")
@click.option("--layers", type=LayerList(allow_all=True), default="all", show_default=True, help="0-3,7 or all.")
@click.option("--multipliers", type=NumberList(), default="-1,0,1", show_default=True, help="For --transfer.")
@common
@click.pass_context
def compare(
    context: click.Context,
    settings: Settings,
    one: str,
    other: str,
    transfer: bool,
    dataset: str | None,
    split: str,
    layers: tuple[int, ...] | str,
    multipliers: tuple[float, ...],
) -> None:
    """Compare two vectors of one model at every layer that both have.

    With --transfer, ONE may belong to another model with the architecture and shape of OTHER's, such as its 4-bit
    quantization; whether it is one cannot be checked. Both vectors are then evaluated on the model of OTHER, on the
    same questions, and their effects are compared in pairs: cosines alone do not tell whether a vector still works
    there. The evaluations are stored.
    """
    if not transfer:
        given = [name for name in _TRANSFER if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
        if given:
            raise UsageError(f"--{given[0]} says what --transfer measures", "Give --transfer too.")
    with settings.open() as registry:
        versions = registry.vectors.get(one), registry.vectors.get(other)
        if transfer:
            with output.progress("evaluation") as progress:
                carried = registry.evaluations.transfer(
                    *versions,
                    dataset=dataset,
                    split=split,
                    layers="all" if isinstance(layers, str) else layers,
                    multipliers=multipliers,
                    progress=progress,
                )
            found: Sequence[LayerNearness] = carried.near
        else:
            carried, found = None, registry.vectors.compare(*versions)
    if settings.as_json:
        near = [nearness_json(each) for each in found]
        effects = comparison_json(carried.carried, carried.there, carried.compared) if carried else None
        output.print_json({"layers": near, "effects": effects} if carried else near)
        return
    output.table(
        ["layer", "cosine", "norm", "other norm", "noise", "other noise"],
        [
            (n.layer, _figure(n.cosine, "+.3f"), n.norm, n.other_norm, _figure(n.noise), _figure(n.other_noise))
            for n in found
        ],
        empty="",
    )
    output.message(f"{versions[0].reference}; other: {versions[1].reference}.\n{_NOISE}")
    if carried:
        say_comparison(carried.carried, carried.there, carried.compared, every_layer=True)


def _figure(value: float | None, form: str = ".3f") -> str:
    return "" if value is None else f"{value:{form}}"
