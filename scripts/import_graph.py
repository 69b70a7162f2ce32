#!/usr/bin/env python
"""Print which module of caa_registry imports which, the floors they stand on, and any circle.

Every import counts: those inside functions and those under TYPE_CHECKING too. Exit code 1 where there is a circle.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "caa_registry"

Graph = dict[str, set[str]]


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of the package by its dotted name; a package by that of its folder."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


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
    """The sets of modules that reach one another (Tarjan 1972), each sorted, but for single ones."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(edges.get(name, ())):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            part = [stack.pop()]
            while part[-1] != name:
                part.append(stack.pop())
            if len(part) > 1:
                found.append(sorted(part))

    for name in sorted(edges):
        if name not in index:
            visit(name)
    return found


def floors(edges: Graph) -> dict[str, int]:
    """How many imports stand below a module at most: 0 for what imports nothing of the package. Needs no circle."""
    height: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in height:
            height[name] = 1 + max((of(other) for other in edges[name]), default=-1)
        return height[name]

    for name in edges:
        of(name)
    return height


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object: module to what it imports")
    arguments = parser.parse_args()
    edges = graph()
    if arguments.json:
        print(json.dumps({name: sorted(others) for name, others in edges.items()}, indent=1))
    found = circles(edges)
    for circle in found:
        print(f"circle: {', '.join(circle)}", file=sys.stderr)
    if not found and not arguments.json:
        for name, floor in sorted(floors(edges).items(), key=lambda item: (-item[1], item[0])):
            print(f"{floor:3} {name}: {', '.join(sorted(edges[name])) or '-'}".replace(f"{PACKAGE}.", ""))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
