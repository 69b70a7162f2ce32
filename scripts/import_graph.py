#!/usr/bin/env python
"""Print the modules of caa_registry, each with its floor and what it imports, and any circle.

A module's floor is one above the highest module that it imports; floor 0 imports nothing of the package. Every import
counts, also inside functions and under TYPE_CHECKING. What a table of extensions names ("module:attribute") does not.
Ends with 1 where there is a circle.

    python scripts/import_graph.py                       the whole package, top floor first
    python scripts/import_graph.py --room registry       one room; or a part of it: registry.vectors
    python scripts/import_graph.py --json                one JSON object: modules, floors, circles
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "caa_registry"

Graph = dict[str, set[str]]


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of the package by its dotted name; a package by that of its folder."""
    paths = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return paths


def graph(root: Path = ROOT) -> Graph:
    """By module the modules that it imports. Importing a name from a package counts as importing the package."""
    known = modules(root)
    return {name: set(_imported(path, known)) - {name} for name, path in known.items()}


def _imported(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                if submodule in known:
                    yield submodule
                elif node.module in known:
                    yield node.module


def circles(edges: Graph) -> list[list[str]]:
    """The sets of two modules or more that reach one another (Tarjan 1972), each sorted."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for imported in sorted(edges.get(name, ())):
            if imported not in index:
                visit(imported)
                low[name] = min(low[name], low[imported])
            elif imported in stack:
                low[name] = min(low[name], index[imported])
        if low[name] == index[name]:
            part = [stack.pop()]
            while part[-1] != name:
                part.append(stack.pop())
            if len(part) > 1:
                components.append(sorted(part))

    for name in sorted(edges):
        if name not in index:
            visit(name)
    return components


def way_round(edges: Graph, circle: Sequence[str]) -> list[str]:
    """A shortest way through ``circle`` from its first module back to it, with that module at both ends."""
    start = circle[0]
    ways = [[start]]
    seen: set[str] = set()
    for way in ways:
        for imported in sorted(edges[way[-1]] & set(circle) - seen):
            if imported == start:
                return [*way, start]
            seen.add(imported)
            ways.append([*way, imported])
    raise ValueError(f"{start} is in no circle")


def floors(edges: Graph) -> dict[str, int]:
    """The floor of each module: 0 for what imports nothing of the package. The graph must have no circle."""
    height: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in height:
            height[name] = 1 + max((of(imported) for imported in edges[name]), default=-1)
        return height[name]

    for name in edges:
        of(name)
    return height


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--room", default="", help="only this room or part of one: registry, or registry.vectors")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    edges = graph(root)
    chosen = f"{PACKAGE}.{options.room}" if options.room else PACKAGE
    names = [name for name in edges if f"{name}.".startswith(f"{chosen}.")]
    if not names:
        parser.error(f"there is no room {options.room!r}")
    rounds = [way_round(edges, circle) for circle in circles(edges)]
    height = {} if rounds else floors(edges)
    if options.json:
        shown = {name: {"floor": height.get(name), "imports": sorted(edges[name])} for name in names}
        print(json.dumps({"modules": shown, "circles": rounds}, indent=1))
    else:
        for name in sorted(names, key=lambda name: (-height.get(name, 0), name)):
            print(f"{height.get(name, '?'):>3} {_short(name)}: {', '.join(map(_short, sorted(edges[name]))) or '-'}")
    for way in rounds:
        print(f"circle: {' -> '.join(map(_short, way))}", file=sys.stderr)
    return 1 if rounds else 0


def _short(name: str) -> str:
    return name.removeprefix(f"{PACKAGE}.")


if __name__ == "__main__":
    sys.exit(main())
