"""A fast BLAS is loaded before MLX by every module that uses MLX, and by nothing that does not."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLAS = "caa_registry.models.blas"
MLX = ("mlx", "mlx_lm")

# Imports each module anew as if it were the first, and stops it where it asks for MLX: was the BLAS there by then?
PROGRAM = f"""
import importlib, json, sys

class Asked(Exception):
    pass

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {MLX!r}:
            raise Asked
        return None

sys.meta_path.insert(0, Watch())
found = {{}}
for module in sys.argv[1:]:
    for name in [name for name in sys.modules if name.split(".")[0] == "caa_registry"]:
        del sys.modules[name]
    try:
        importlib.import_module(module)
        found[module] = "no MLX"
    except Asked:
        found[module] = "BLAS first" if "{BLAS}" in sys.modules else "MLX first"
print(json.dumps(found))
"""


def modules() -> list[str]:
    paths = sorted((ROOT / "caa_registry").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]


def run(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_whoever_asks_for_mlx_has_loaded_the_blas() -> None:
    found = json.loads(run(PROGRAM, *modules()))
    assert [name for name, order in found.items() if order == "MLX first"] == []
    assert found["caa_registry.models.stream"] == "BLAS first"
    assert found["caa_registry.cli.main"] == "no MLX"


def scopes(tree: ast.Module) -> Iterator[ast.Module | ast.FunctionDef]:
    yield tree
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def own_imports(scope: ast.Module | ast.FunctionDef) -> list[str]:
    """What a module or function imports itself, in order, without what it imports for type checking alone."""
    found = []
    waiting: list[ast.AST] = list(scope.body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.FunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(str(node.module))
        waiting[:0] = ast.iter_child_nodes(node)
    return found


@pytest.mark.parametrize("module", modules())
def test_imports_inside_functions_keep_the_order_too(module: str) -> None:
    path = ROOT / (module.replace(".", "/") + ".py")
    if not path.is_file():
        return  # a package's __init__
    tree = ast.parse(path.read_text(encoding="utf-8"))
    at_the_top = BLAS in own_imports(tree)
    for scope in scopes(tree):
        names = own_imports(scope)
        asked = [i for i, name in enumerate(names) if name.split(".")[0] in MLX]
        if asked and not (at_the_top and isinstance(scope, ast.FunctionDef)):
            assert BLAS in names[: asked[0]], f"{module}: import {BLAS} before {names[asked[0]]}"


@pytest.mark.parametrize("command", [[], ["--help"], ["vector", "ls", "--help"], ["dataset", "seeds"]])
def test_what_needs_no_mlx_loads_no_blas(command: list[str]) -> None:
    program = f"""
import sys
import caa_registry
if sys.argv[1:]:
    from caa_registry.cli.main import main
    try:
        main()
    except SystemExit:
        pass
assert "{BLAS}" not in sys.modules and "mlx.core" not in sys.modules
"""
    run(program, *command)


def test_listing_vectors_loads_no_blas(tmp_path: Path) -> None:
    from catalog.registry_fixtures import new_sqlite

    program = f"""
import sys
import caa_registry
with caa_registry.open(sys.argv[1]) as registry:
    assert registry.vectors.ls() == [] and registry.models.ls() == []
assert "{BLAS}" not in sys.modules and "mlx.core" not in sys.modules
"""
    run(program, new_sqlite(tmp_path))
