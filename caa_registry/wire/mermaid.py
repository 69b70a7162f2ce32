"""Lineage as a Mermaid graph, which documentation sites and code hosts draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caa_registry.errors import visible

if TYPE_CHECKING:
    from caa_registry.registry.records import Lineage

# A shape for each kind: what opens and what closes it.
_SHAPES = {
    "dataset": ("[(", ")]"),
    "model": ("{{", "}}"),
    "vector": ("[", "]"),
    "evaluation": ("([", "])"),
    "plan": ("[/", "/]"),
}
_WRITTEN = {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "\n": " ", "`": "#96;"}


def lineage_mermaid(lineage: Lineage) -> str:
    """The graph, from left to right: every node and every arrow once."""
    places = {key: f"n{number}" for number, key in enumerate(lineage.nodes)}
    lines = ["graph LR"]
    for key, node in lineage.nodes.items():
        opening, closing = _SHAPES[node.kind]
        label = "<br>".join(map(_written, node.lines))
        lines.append(f'    {places[key]}{opening}"{label}"{closing}')
    for source, product in lineage.arrows:
        lines.append(f"    {places[source]} --> {places[product]}")
    lines.append(f"    style {places[lineage.root.key]} stroke-width:3px")
    return "\n".join(lines) + "\n"


def _written(text: str) -> str:
    return "".join(_WRITTEN.get(letter, letter) for letter in visible(text))
