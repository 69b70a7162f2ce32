"""``caa lineage``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from caa_registry.cli import output
from caa_registry.cli.options import FORCE, Settings, common
from caa_registry.digests import short
from caa_registry.disk import check_new
from caa_registry.wire.lineage import lineage_json
from caa_registry.wire.mermaid import lineage_mermaid

if TYPE_CHECKING:
    from rich.tree import Tree

    from caa_registry.registry.records import Lineage, LineageNode

DEPTH = 5

Direction = Literal["inputs", "outputs"]


@click.command(epilog="Example: caa lineage team/sycophancy:best")
@click.argument("reference")
@click.option(
    "--depth", type=click.IntRange(1, 100), default=DEPTH, show_default=True, help="Steps to show in each direction."
)
@click.option("--mermaid", is_flag=True, help="Print a Mermaid graph instead.")
@click.option("--in-toto", is_flag=True, help="Print what made it as an in-toto statement, which caa sign signs.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Draw it to this file, .png or .svg.")
@FORCE
@common
def lineage(
    settings: Settings, reference: str, depth: int, mermaid: bool, in_toto: bool, out: Path | None, force: bool
) -> None:
    """Show what a dataset or vector version was made from, by which runs, and what was made from it.

    Each is shown once; where it comes up again, "(shown above)" stands for it. With --json the
    lineage is complete, with every node and every run once. --in-toto also takes an evaluation (evaluation:7).
    """
    if in_toto:
        with settings.open() as registry:
            output.print_json(registry.statement(reference))
        return
    if out is not None:
        from caa_registry.plots.style import save

        check_new(out, force=force)
        with settings.open() as registry:
            save(registry.reports.lineage_picture(reference, depth=depth), out, force=force)
        output.message(f"Wrote {out}.")
        return
    with settings.open() as registry:
        found = registry.lineage(reference)
    if settings.as_json:
        output.print_json(lineage_json(found))
        return
    if mermaid:
        output.document(lineage_mermaid(found.within(depth)))
        return
    say_lineage(found, depth)


def say_lineage(lineage: Lineage, depth: int = DEPTH) -> None:
    """The lineage as a tree on stdout, ``depth`` steps in either direction."""
    from rich.text import Text
    from rich.tree import Tree

    root = lineage.root
    tree = Tree(Text(output.visible(_line(root))))
    origin = "nothing recorded"
    if root.kind == "dataset":
        origin = f"its source (caa dataset show {root.reference})"
    unfolded = {root.key}
    _grow(tree.add("made from"), lineage, root, "inputs", depth, unfolded, empty=origin)
    _grow(tree.add("used by"), lineage, root, "outputs", depth, unfolded, empty="nothing yet")
    output.rich(tree)


def _grow(
    tree: Tree,
    lineage: Lineage,
    node: LineageNode,
    direction: Direction,
    depth: int,
    unfolded: set[str],
    *,
    empty: str = "",
) -> None:
    """Add the nodes in one direction from ``node``, and those beyond them. ``unfolded``: what has been added with what
    is beyond it."""
    from rich.text import Text

    keys = node.inputs if direction == "inputs" else node.outputs
    if not keys and empty:
        tree.add(Text(output.visible(empty)))
    if keys and depth == 0:
        tree.add(Text(f"... {len(keys)} more, shown with a larger --depth"))
        return
    for key in keys:
        next_node = lineage.nodes[key]
        if key in unfolded:
            tree.add(Text(output.visible(f"{_name(next_node)} (shown above)")))
            continue
        if depth > 1 or not (next_node.inputs if direction == "inputs" else next_node.outputs):
            unfolded.add(key)
        _grow(tree.add(Text(output.visible(_line(next_node)))), lineage, next_node, direction, depth - 1, unfolded)


def _name(node: LineageNode) -> str:
    return f"{node.kind} {node.reference}" if node.kind != "evaluation" else node.reference


def _line(node: LineageNode) -> str:
    text = _name(node)
    if node.digest:
        text += f"  {short(node.digest)}"
    if node.aliases:
        text += f"  ({', '.join(node.aliases)})"
    if node.run:
        when = node.run.finished_at.isoformat(timespec="seconds")
        text += f"  [run {node.run.id}: {node.run.kind} by {node.run.actor}, {when}]"
    return text
