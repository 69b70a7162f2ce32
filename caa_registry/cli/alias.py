"""``caa alias``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from caa_registry.cli import output
from caa_registry.cli.listing import page_options, rows_to_show, say_rest
from caa_registry.cli.options import POSITIONS, LayerList, Number, Settings, common
from caa_registry.errors import UsageError
from caa_registry.wire.aliases import alias_json

if TYPE_CHECKING:
    from caa_registry.registry.records import Alias


@click.group()
def alias() -> None:
    """Movable names of versions, with a recommended layer and multiplier."""


@alias.command("set", epilog="Example: caa alias set team/sycophancy:v2 best --layer 3 --multiplier 1")
@click.argument("reference")
@click.argument("name")
@click.option("--layer", type=LayerList(allow_all=False), help="Layer to recommend (several: 2,3).")
@click.option("--multiplier", type=Number(), help="Multiplier to recommend.  [default: 1]")
@click.option("--positions", type=POSITIONS, help="Steered positions to recommend.  [default: after_prompt]")
@click.option("--replace", is_flag=True, help="Replace what a calibration set, too.")
@common
def set_(
    settings: Settings,
    reference: str,
    name: str,
    layer: Any,
    multiplier: float | None,
    positions: Any,
    replace: bool,
) -> None:
    """Point the alias NAME at the version REFERENCE. An existing alias moves."""
    from caa_registry.registry.records import Recommendation

    recommendation = None
    if layer is not None:
        recommendation = Recommendation(
            tuple(layer), 1.0 if multiplier is None else multiplier, positions or "after_prompt"
        )
    elif multiplier is not None or positions is not None:
        raise UsageError("a recommended multiplier or recommended positions need a layer", "Give --layer too.")
    with settings.open() as registry:
        record = registry.aliases.set(reference, name, recommendation, replace=replace)
    if settings.as_json:
        output.print_json(alias_json(record))
    else:
        output.message(f"{record.reference} is now {record.target}{_advice(record)}.")


@alias.command(epilog="Example: caa alias rm team/sycophancy:best")
@click.argument("reference")
@common
def rm(settings: Settings, reference: str) -> None:
    """Remove the alias REFERENCE (NAME:ALIAS). The version it points at stays."""
    with settings.open() as registry:
        registry.aliases.remove(reference)
    if settings.as_json:
        output.print_json({"removed": reference})
    else:
        output.message(f"Removed {reference}.")


@alias.command(epilog="Example: caa alias ls")
@page_options
@common
def ls(settings: Settings, limit: int | None, all_rows: bool) -> None:
    """List aliases."""
    count = rows_to_show(settings, limit, all_rows)
    with settings.open() as registry:
        listed = registry.aliases.ls(limit=count)
    if settings.as_json:
        output.print_json([alias_json(item) for item in listed])
        return
    rows = [(a.kind, a.reference, a.target, _advice(a).removeprefix(", recommending ")) for a in listed]
    output.table(
        ["kind", "alias", "version", "recommends"], rows, empty="No aliases yet. Set one: caa alias set --help"
    )
    say_rest(listed)


def _advice(record: Alias) -> str:
    advice = record.recommendation
    if advice is None:
        return ""
    layers = ",".join(str(layer) for layer in advice.layers)
    return f", recommending layer {layers}, multiplier {advice.multiplier:g}, positions {advice.positions}"
