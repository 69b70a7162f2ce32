"""``caa alias``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from caa_registry.cli import output
from caa_registry.cli.listing import page_options, rows_to_show, say_rest, tag_option, wanted_tags
from caa_registry.cli.options import POSITIONS, LayerList, Number, Settings, common
from caa_registry.errors import UsageError
from caa_registry.wire.aliases import alias_json, move_json

if TYPE_CHECKING:
    from caa_registry.registry.records import Alias, Recommendation


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
@click.option("--expect", metavar="VERSION", help="Set it only if it points there now: v3, or none for a new one.")
@click.option("--protect/--unprotect", default=None, help="Whether it moves and goes without --override from now on.")
@click.option("--override", is_flag=True, help="Move it although it is protected.")
@common
def set_(
    settings: Settings,
    reference: str,
    name: str,
    layer: Any,
    multiplier: float | None,
    positions: Any,
    replace: bool,
    expect: str | None,
    protect: bool | None,
    override: bool,
) -> None:
    """Point the alias NAME at the version REFERENCE. An existing alias moves.

    Of two people who move it at once with --expect, one is told that it has moved, and the exit code is 1. A protected
    alias stays protected when it is moved.
    """
    from caa_registry.registry.records import Recommendation

    recommendation = None
    if layer is not None:
        recommendation = Recommendation(
            tuple(layer), 1.0 if multiplier is None else multiplier, positions or "after_prompt"
        )
    elif multiplier is not None or positions is not None:
        raise UsageError("a recommended multiplier or recommended positions need a layer", "Give --layer too.")
    with settings.open() as registry:
        record = registry.aliases.set(
            reference, name, recommendation, replace=replace, expect=expect, protect=protect, override=override
        )
    if settings.as_json:
        output.print_json(alias_json(record))
    else:
        kept = ", protected" if record.protected else ""
        output.message(f"{record.reference} is now {record.target}{_advice(record)}{kept}.")


@alias.command(epilog="Example: caa alias rm team/sycophancy:best")
@click.argument("reference")
@click.option("--override", is_flag=True, help="Remove it although it is protected.")
@common
def rm(settings: Settings, reference: str, override: bool) -> None:
    """Remove the alias REFERENCE (NAME:ALIAS). The version it points at stays."""
    with settings.open() as registry:
        registry.aliases.remove(reference, override=override)
    if settings.as_json:
        output.print_json({"removed": reference})
    else:
        output.message(f"Removed {reference}.")


@alias.command(epilog="Example: caa alias ls")
@tag_option("aliases of versions")
@page_options
@common
def ls(settings: Settings, tag: Any, limit: int | None, all_rows: bool) -> None:
    """List aliases."""
    count, tags = rows_to_show(settings, limit, all_rows), wanted_tags(tag)
    with settings.open() as registry:
        listed = registry.aliases.ls(tags=tags, limit=count)
    if settings.as_json:
        output.print_json([alias_json(item) for item in listed])
        return
    rows = [
        (a.reference, a.kind, a.target, recommended(a.recommendation), "protected" if a.protected else "")
        for a in listed
    ]
    output.table(
        ["alias", "kind", "version", "recommends", "note"],
        rows,
        empty="No version with an alias has this tag." if tags else "No aliases yet. Set one: caa alias set --help",
    )
    say_rest(listed)


@alias.command(epilog="Example: caa alias log team/sycophancy:best")
@click.argument("reference", metavar="NAME[:ALIAS]")
@common
def log(settings: Settings, reference: str) -> None:
    """List the moves of an alias, newest first; without ALIAS those of all aliases of a name, removed ones too."""
    with settings.open() as registry:
        listed = registry.aliases.log(reference)
    if settings.as_json:
        output.print_json([move_json(move) for move in listed])
        return
    rows = [
        (
            f"{move.at:%Y-%m-%d %H:%M}",
            move.actor,
            f"{move.name}:{move.alias}",
            move.before or "none",
            move.after or "removed",
            recommended(move.recommendation),
        )
        for move in listed
    ]
    output.table(["at (UTC)", "by", "alias", "from", "to", "recommends"], rows, empty=f"{reference} was never set.")


def _advice(record: Alias) -> str:
    advice = recommended(record.recommendation)
    return f", recommending {advice}" if advice else ""


def recommended(advice: Recommendation | None) -> str:
    """What an alias recommends; empty where that is nothing."""
    if advice is None:
        return ""
    layers = ",".join(str(layer) for layer in advice.layers)
    return f"layer {layers}, multiplier {advice.multiplier:g}, positions {advice.positions}"
