"""The public names: everything that the API hands out or takes can be imported from ``caa_registry``."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import caa_registry
from caa_registry import errors

PACKAGE = Path(__file__).resolve().parents[2] / "caa_registry"
NOUNS = {
    "Registry",
    "Datasets",
    "Models",
    "StoredEvaluations",
    "StoredVectors",
    "Upkeep",
    "Exchange",
    "Remotes",
    "Vectors",
    "Evaluations",
    "Plans",
    "Aliases",
    "Audit",
    "RecordedRuns",
    "Tags",
    "Reports",
}
# What the API is made of, or says of itself to the rooms below: not for users to name.
INSIDE = {
    *NOUNS,
    "BlobStore",
    "CompletedTokens",
    "Database",
    "Example",
    "Figure",  # of matplotlib
    "Null",
    "Observed",
    "Part",
    "PromptTokens",
    "ResidualStream",
    "Shapes",
    "Template",
    "Workspace",
}


def classes() -> dict[str, list[ast.ClassDef]]:
    """Every class of the package but tables and the command line, by name."""
    found: dict[str, list[ast.ClassDef]] = {}
    for path in PACKAGE.rglob("*.py"):
        if not {"cli", "tables"} & set(path.parts):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef):
                    found.setdefault(node.name, []).append(node)
    return found


def named(annotation: ast.expr | None) -> Iterator[str]:
    """The names in an annotation."""
    for node in ast.walk(annotation) if annotation is not None else ():
        if isinstance(node, ast.Name):
            yield node.id


def mentioned(node: ast.ClassDef) -> Iterator[str]:
    """What the public methods of a class take and return, and its public fields are."""
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
            for argument in (*member.args.args, *member.args.kwonlyargs):
                yield from named(argument.annotation)
            yield from named(member.returns)
        if isinstance(member, ast.AnnAssign) and not ast.unparse(member.target).startswith("_"):
            yield from named(member.annotation)


def reached() -> set[str]:
    """The classes that a user of the nouns meets, directly or within another."""
    known = classes()
    todo, seen = [name for name in NOUNS if name in known], set(NOUNS)
    while todo:
        for node in known[todo.pop()]:
            new = {name for name in mentioned(node) if name in known} - seen
            seen |= new
            todo += [name for name in new if name not in INSIDE]
    return seen


def test_what_the_api_hands_out_or_takes_is_public() -> None:
    met = reached()
    assert {"VectorVersion", "Score", "Fingerprint", "Change", "Judge"} <= met
    assert sorted(met - INSIDE - set(caa_registry.__all__)) == []


def test_every_error_is_public() -> None:
    raised = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert "CaaError" in raised and raised <= set(caa_registry.__all__)


def test_the_public_names_are_there() -> None:
    for name in caa_registry.__all__:
        assert getattr(caa_registry, name) is not None
    assert set(dir(caa_registry)) == set(caa_registry.__all__)
    with pytest.raises(AttributeError):
        _ = caa_registry.nothing


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = {
        (node.module, alias.name) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imports == {(module, name) for module, names in caa_registry._PUBLIC.items() for name in names}
