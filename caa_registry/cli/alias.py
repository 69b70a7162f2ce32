"""``caa alias``."""

from __future__ import annotations

from typing import Any

import click

from caa_registry.cli import output
from caa_registry.cli.options import POSITIONS, LayerList, Number, Settings, common
from caa_registry.errors import UsageError


@click.group()
def alias() -> None:
    """Movable names of versions, with the layer and multiplier they recommend."""


@alias.command("set", epilog="Example: caa alias set team/sycophancy:v2 best --layer 3 --multiplier 1")
@click.argument("reference")
@click.argument("name")
@click.option("--layer", type=LayerList(allow_all=False), help="Layer to recommend (or several: 2,3).")
@click.option("--multiplier", type=Number(), help="Multiplier to recommend.  [default: 1]")
@click.option("--positions", type=POSITIONS, help="Steered positions to recommend.  [default: after_prompt]")
@common
def set_(settings: Settings, reference: str, name: str, layer: Any, multiplier: float | None, positions: Any) -> None:
    """Point the alias NAME at the version REFERENCE, moving it where it exists."""
    from caa_registry.registry.records import Recommendation

    recommendation = None
    if layer is not None:
        recommendation = Recommendation(
            tuple(layer), 1.0 if multiplier is None else multiplier, positions or "after_prompt"
        )
    elif multiplier is not None or positions is not None:
        raise UsageError("a multiplier is recommended together with a layer", "Give --layer too.")
    with settings.open() as registry:
        found = registry.aliases.set(reference, name, recommendation)
    if settings.as_json:
        output.print_json(alias_json(found))
    else:
        output.message(f"{found.reference} is now {found.target}{_advice(found)}.")


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
@common
def ls(settings: Settings) -> None:
    """List aliases."""
    with settings.open() as registry:
        found = registry.aliases.ls()
    if settings.as_json:
        output.print_json([alias_json(item) for item in found])
        return
    rows = [(a.kind, a.reference, a.target, _advice(a).removeprefix(", recommending ")) for a in found]
    output.table(
        ["kind", "alias", "version", "recommends"], rows, empty="No aliases yet. Set one: caa alias set --help"
    )


def alias_json(found: Any) -> dict[str, Any]:
    """An alias as its listings carry it."""
    return {
        "kind": found.kind,
        "alias": found.reference,
        "version": found.target,
        "recommendation": found.recommendation.as_json() if found.recommendation else None,
        "updated_at": found.updated_at.isoformat(),
    }


def _advice(found: Any) -> str:
    advice = found.recommendation
    if advice is None:
        return ""
    layers = ",".join(str(layer) for layer in advice.layers)
    return f", recommending layer {layers}, multiplier {advice.multiplier:g}, positions {advice.positions}"
