"""``scripts/import_graph.py``: what it prints of a package that is known."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "import_graph.py"
MODULES = {
    "__init__.py": "",
    "base.py": "",
    "room/__init__.py": "",
    "room/store.py": "def f() -> None:\n    import caa_registry.base\n",
    "room/shop.py": "from caa_registry.room import store\nfrom caa_registry.base import nothing\n",
    "roomy.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from caa_registry.room.shop import thing\n",
}


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("import_graph", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, code in MODULES.items():
        path = tmp_path / "caa_registry" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code, encoding="utf-8")
    return tmp_path


def test_floors_from_the_top(script: ModuleType, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main([], root) == 0
    lines = ["3 roomy: room.shop", "2 room.shop: base, room.store", "1 room.store: base"]
    lines += ["0 caa_registry: -", "0 base: -", "0 room: -"]
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == lines


def test_one_room(script: ModuleType, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--room", "room"], root) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["room.shop:", "room.store:", "room:"]
    assert script.main(["--room", "room.store", "--json"], root) == 0
    shown = {"caa_registry.room.store": {"floor": 1, "imports": ["caa_registry.base"]}}
    assert json.loads(capsys.readouterr().out) == {"modules": shown, "circles": []}
    with pytest.raises(SystemExit) as ended:
        script.main(["--room", "attic"], root)
    assert ended.value.code == 2


def test_a_circle_is_shown_the_shortest_way_round(
    script: ModuleType, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "caa_registry" / "base.py").write_text("import caa_registry.roomy\n", encoding="utf-8")
    assert script.main([], root) == 1
    shown = capsys.readouterr()
    assert shown.err == "circle: base -> roomy -> room.shop -> base\n"
    assert "  ? room.shop: base, room.store" in shown.out
    assert script.main(["--json"], root) == 1
    (way,) = json.loads(capsys.readouterr().out)["circles"]
    assert way == [f"caa_registry.{name}" for name in ("base", "roomy", "room.shop", "base")]
