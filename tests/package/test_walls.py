"""The walls between the rooms: what each brings in, and which way imports run."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest
from catalog.registry_fixtures import new_sqlite

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "caa_registry"

BASE = {
    "errors",
    "references",
    "wording",
    "digests",
    "disk",
    "settings",
    "progress",
    "display",
    "package",
    "extensions",
    "hub",
    "blas",
    "elf",
    "mx",
    "mx_thread",
    "vectors",
}
_STACK = ["cli", "wire", "registry", "plots", "evaluation", "extraction", "engine", "steering", "models", "pairs"]
ALLOWED = {room: set(_STACK[i:]) | BASE for i, room in enumerate(_STACK)}
# `caa db upgrade` is about the catalogue itself; files are read before a registry is opened, or made, for them.
ALLOWED["cli"] |= {"doctor", "catalog", "blobs", "formats"}
ALLOWED["doctor"] = {"doctor", "registry", "extraction", "engine", "models", "blobs", "catalog"} | BASE
ALLOWED["registry"] |= {"formats", "blobs", "catalog"}
ALLOWED |= {"formats": {"formats"} | BASE, "blobs": {"blobs", "catalog"} | BASE, "catalog": {"catalog"} | BASE}
ALLOWED |= {"assets": set()} | dict.fromkeys(BASE, BASE)

# Rooms of which it does not matter what they bring in.
WITHOUT_ENTRY = {"assets", "doctor"}

# Inside registry/ too imports run downward. Each floor may import itself and those below.
FLOORS = [
    "opening",
    "registry",
    "transfer",
    "maintenance",
    "order",
    "reports",
    "evaluations",
    "vectors",
    "datasets",
    "models",
    "provenance",
    "lookup",
    "renames",
    "rows",
    "records",
    "workspace",
]
# How many modules a folder holds at one level, unless they are of one kind.
MOST_MODULES = 14
OF_ONE_KIND = {"cli", "pairs/sources", "extraction/estimators", "pairs/lint", "registry/records", "steering/operators"}
MOST_LINES = 400

MLX = {"mlx", "mlx_lm"}
SQL = {"sqlalchemy", "alembic"}
HEAVY = {*MLX, "datasets", "transformers", "torch"}
# What a room never imports: nowhere in its files, and not through anything that they import when they are imported.
NEVER = {
    **dict.fromkeys(["catalog", "blobs", "pairs", "formats", "plots"], MLX),
    **dict.fromkeys(["models", "engine", "steering", "extraction", "evaluation"], SQL),
}
# What a module brings in when it is imported is none of these.
FORBIDDEN = {
    "caa_registry": {*HEAVY, *SQL, "numpy", "rich"},
    "caa_registry.catalog.database": {*HEAVY, "click", "numpy", "safetensors"},
    "caa_registry.blobs.database": {*HEAVY, "click", "numpy"},
    "caa_registry.blobs.location": {*HEAVY, "click", "numpy", "obstore"},
    "caa_registry.blobs.bucket": {*HEAVY, "click", "numpy", "obstore"},
    "caa_registry.pairs.sources": {*HEAVY, *SQL, "click", "numpy"},
    "caa_registry.pairs.lint.lint": {*HEAVY, *SQL, "click", "sklearn", "datasketch", "scipy"},
    "caa_registry.pairs.lint.rules": {*HEAVY, *SQL, "click", "numpy"},
    "caa_registry.models.model": {*SQL, "click", "datasets"},
    "caa_registry.models.loading": {*HEAVY, *SQL},
    "caa_registry.engine.sweeps": {*SQL, "click", "datasets"},
    "caa_registry.engine.texts": {*SQL, "click", "datasets"},
    "caa_registry.engine.decoding": {*SQL, "click", "datasets"},
    "caa_registry.engine.prefix_sharing": {*SQL, "click", "datasets"},
    "caa_registry.engine.plan": {*HEAVY, *SQL, "click"},
    "caa_registry.steering.additions": {*SQL, "click", "datasets"},
    "caa_registry.steering.positions": {*HEAVY, *SQL, "click", "numpy"},
    "caa_registry.extraction.compute": {*SQL, "click", "datasets"},
    "caa_registry.extraction.methods": {*HEAVY, *SQL, "click", "numpy"},
    "caa_registry.extraction.quality": {*HEAVY, *SQL, "click", "scipy", "sklearn"},
    "caa_registry.extraction.estimators.estimator": {*HEAVY, *SQL, "click", "scipy", "sklearn"},
    "caa_registry.formats.format": {*HEAVY, *SQL, "click"},
    "caa_registry.evaluation.sweep": {*SQL, "click", "datasets"},
    "caa_registry.evaluation.open_ended.generation": {*SQL, "click", "datasets"},
    "caa_registry.evaluation.open_ended.endpoint": {*HEAVY, *SQL, "click", "numpy", "httpx2"},
    "caa_registry.evaluation.open_ended.human_ratings": {*HEAVY, *SQL, "click", "numpy"},
    "caa_registry.evaluation.calibration": {*HEAVY, *SQL, "click"},
    "caa_registry.evaluation.side_effects.measure": {*SQL, "click", "datasets"},
    "caa_registry.evaluation.side_effects.neutral_text": {*HEAVY, *SQL, "click"},
    "caa_registry.plots.style": {*HEAVY, *SQL, "click"},
    "caa_registry.plots.layer_sweep": {*HEAVY, *SQL, "click"},
    "caa_registry.registry.registry": {*HEAVY, "click"},
    "caa_registry.wire.vectors": {*HEAVY, "click"},
    "caa_registry.wire.evaluations": {*HEAVY, "click"},
    "caa_registry.cli.main": {*HEAVY, "sqlalchemy", "rich", "numpy"},
}

# What a listing needs none of.
SLOW = {*HEAVY, "numpy", "alembic", "psycopg", "huggingface_hub", "yaml", "scipy", "sklearn", "rich", "obstore"}
COMMANDS = {
    "--help": {*HEAVY, "sqlalchemy"},
    "dataset ls": SLOW,
    "vector ls": SLOW,
    "dataset seeds": {*HEAVY, "sqlalchemy"},
}


def brought_in(program: str, *arguments: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after ``program``."""
    tell = "import json, sys\nsys.stderr.write('\\n' + json.dumps(sorted({n.split('.')[0] for n in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{tell}", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("module", FORBIDDEN)
def test_a_room_brings_in_nothing_forbidden(module: str) -> None:
    assert brought_in(f"import {module}") & FORBIDDEN[module] == set()


@pytest.mark.parametrize("room", NEVER)
def test_a_whole_room_brings_in_nothing_that_it_never_imports(room: str) -> None:
    modules = [name for name in MODULES if name.split(".")[1] == room]
    assert modules
    assert brought_in("\n".join(f"import {name}" for name in modules)) & NEVER[room] == set()


def named(code: str) -> set[str]:
    """The top-level names that ``code`` imports, inside functions too. The ways to MLX count as MLX."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    ways = {"caa_registry.mx", "caa_registry.mx_thread"}
    return {"mlx" for name in names if ".".join(name.split(".")[:2]) in ways} | {name.split(".")[0] for name in names}


@pytest.mark.parametrize("room", NEVER)
def test_a_room_does_not_even_import_it_later(room: str) -> None:
    for path in (PACKAGE / room).rglob("*.py"):
        assert named(path.read_text(encoding="utf-8")) & NEVER[room] == set(), path


def test_a_late_import_is_seen() -> None:
    assert "sqlalchemy" in named("def f():\n    from sqlalchemy.orm import Session\n")
    assert named("if TYPE_CHECKING:\n    from caa_registry.mx import mx\n") >= MLX - {"mlx_lm"}
    assert "mlx" in named("from caa_registry import mx") and "mlx" not in named("from caa_registry import errors")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_quick_command_brings_in_nothing_slow(command: str, tmp_path: Path) -> None:
    program = """
import sys
from caa_registry.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
    registry = new_sqlite(tmp_path).removeprefix("sqlite:///")
    assert brought_in(program, "--registry", registry, *command.split()) & COMMANDS[command] == set()


def _import_graph() -> ModuleType:
    spec = importlib.util.spec_from_file_location("import_graph", ROOT / "scripts" / "import_graph.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GRAPH = _import_graph()
EDGES = GRAPH.graph(ROOT)
MODULES = sorted(name for name in EDGES if name not in ("caa_registry", "caa_registry.__main__"))


def upward(edges: Mapping[str, set[str]], module: str) -> set[str]:
    """What a module imports that stands above it: of rooms, and inside registry/ of floors."""
    parts = module.split(".")
    above = {name for name in edges[module] if name.split(".")[1] not in ALLOWED[parts[1]]}
    if parts[1] == "registry" and len(parts) > 2:
        floors = FLOORS[FLOORS.index(parts[2]) :]
        for name in edges[module]:
            room = name.split(".")
            if room[1] == "registry" and len(room) > 2 and room[2] not in floors:
                above.add(name)
    return above


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downward(module: str) -> None:
    assert upward(EDGES, module) == set()


def test_an_upward_import_is_seen() -> None:
    """Also inside registry/, and also one that only a type checker follows."""
    upper, lower = "caa_registry.registry.evaluations.evaluations", "caa_registry.registry.lookup"
    assert upward({**EDGES, lower: EDGES[lower] | {upper}}, lower) == {upper}
    assert upward({**EDGES, upper: EDGES[upper] | {lower}}, upper) == set()
    pairs, models = "caa_registry.pairs.record", "caa_registry.models.model"
    assert upward({**EDGES, pairs: EDGES[pairs] | {models}}, pairs) == {models}


def test_type_checking_imports_count(tmp_path: Path) -> None:
    folder = tmp_path / "caa_registry"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "a.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from caa_registry import b\n"
    )
    (folder / "b.py").write_text("def f() -> None:\n    import caa_registry.a\n")
    edges = GRAPH.graph(tmp_path)
    assert edges["caa_registry.a"] == {"caa_registry.b"} and edges["caa_registry.b"] == {"caa_registry.a"}
    assert GRAPH.circles(edges) == [["caa_registry.a", "caa_registry.b"]]


def test_there_is_no_circle() -> None:
    assert GRAPH.circles(EDGES) == []


def test_every_room_is_known_here() -> None:
    rooms = {name.split(".")[1] for name in MODULES}
    assert rooms == set(ALLOWED)
    tested = {room.split(".")[1] for room in FORBIDDEN if "." in room}
    assert rooms - BASE - WITHOUT_ENTRY == tested


def test_every_floor_of_the_registry_is_known_here() -> None:
    assert {name.split(".")[2] for name in MODULES if name.startswith("caa_registry.registry.")} == set(FLOORS)


def test_folders_and_files_stay_small() -> None:
    for folder in [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir())]:
        files = [path for path in folder.glob("*.py") if path.stem not in ("__init__", "__main__")]
        if str(folder.relative_to(PACKAGE)) not in OF_ONE_KIND:
            assert len(files) <= MOST_MODULES, folder
    for path in PACKAGE.rglob("*.py"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= MOST_LINES, f"{path} has {lines} lines"


def test_imports_are_written_in_full() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: write imports in full"
