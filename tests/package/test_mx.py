"""MLX is reached through ``caa_registry.mx`` alone, which binds a fast BLAS, and by nothing that does not need it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOOR = ROOT / "caa_registry" / "mx.py"
# The BLAS and the thread of MLX look at MLX itself, once something has imported it.
INSIDE = {DOOR, DOOR.with_name("blas.py"), DOOR.with_name("mx_thread.py")}
FILES = sorted(path for path in (ROOT / "caa_registry").rglob("*.py") if path not in INSIDE)


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_imports_mlx_past_the_door(path: Path) -> None:
    names = imported(path)
    assert not {name for name in names if name.split(".")[0] == "mlx"}, "write: from caa_registry.mx import mx"
    if any(name.split(".")[0] == "mlx_lm" for name in names):
        assert "caa_registry.mx" in names, "mlx_lm brings MLX in: import caa_registry.mx too"


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


NO_MLX = 'assert not {"caa_registry.blas", "caa_registry.mx", "mlx.core"} & set(sys.modules)'


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
{NO_MLX}
"""
    run(program, *command)


def test_listing_vectors_loads_no_blas(tmp_path: Path) -> None:
    from catalog.registry_fixtures import new_sqlite

    program = f"""
import sys
import caa_registry
with caa_registry.open(sys.argv[1]) as registry:
    assert registry.vectors.ls() == [] and registry.models.ls() == []
{NO_MLX}
"""
    run(program, new_sqlite(tmp_path))
