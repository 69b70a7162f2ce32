"""``caa lineage``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from caa_registry.cli import output
from caa_registry.cli.options import Settings, common
from caa_registry.digests import short

if TYPE_CHECKING:
    from caa_registry.registry.records import LineageNode


@click.command(epilog="Example: caa lineage team/sycophancy:best")
@click.argument("reference")
@common
def lineage(settings: Settings, reference: str) -> None:
    """Show what a dataset or vector version was made from, by which runs, and what was made from it."""
    with settings.open() as registry:
        node = registry.lineage(reference)
    if settings.as_json:
        output.print_json(_json(node))
        return
    say_lineage(node)


def say_lineage(node: LineageNode) -> None:
    """The lineage as a tree on stdout."""
    from rich.text import Text
    from rich.tree import Tree

    tree = Tree(Text(_line(node)))
    _grow(tree.add("made from"), node.inputs, "inputs", empty=_origin(node))
    _grow(tree.add("used by"), node.outputs, "outputs", empty="nothing yet")
    output.stdout().print(tree)


def _grow(tree: Any, nodes: Any, direction: str, *, empty: str = "") -> None:
    from rich.text import Text

    if not nodes and empty:
        tree.add(Text(empty))
    for node in nodes:
        _grow(tree.add(Text(_line(node))), getattr(node, direction), direction)


def _line(node: LineageNode) -> str:
    text = f"{node.kind} {node.reference}" if node.kind != "evaluation" else node.reference
    if node.digest:
        text += f"  {short(node.digest)}"
    if node.aliases:
        text += f"  ({', '.join(node.aliases)})"
    if node.run:
        when = node.run.finished_at.isoformat(timespec="seconds")
        text += f"  [run {node.run.id}: {node.run.kind} by {node.run.actor}, {when}]"
    return text


def _origin(node: LineageNode) -> str:
    return f"its source (caa dataset show {node.reference})" if node.kind == "dataset" else "nothing recorded"


def _json(node: LineageNode) -> dict[str, Any]:
    run = node.run
    return {
        "kind": node.kind,
        "reference": node.reference,
        "digest": node.digest,
        "aliases": list(node.aliases),
        "run": {
            "id": run.id,
            "kind": run.kind,
            "actor": run.actor,
            "parameters": dict(run.parameters),
            "environment": dict(run.environment),
            "started_at": run.started_at.isoformat(),
            "finished_at": run.finished_at.isoformat(),
        }
        if run
        else None,
        "inputs": [_json(child) for child in node.inputs],
        "outputs": [_json(child) for child in node.outputs],
    }
