"""``caa doctor``: what caa runs on, and the state of the registry, without making or changing anything."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest
from catalog.registry_fixtures import empty_postgres, new_postgres, new_sqlite, oldest_sqlite
from cli.command_line import caa, process
from sqlalchemy import create_engine, make_url, text

from caa_registry.catalog.schema import head_revision
from caa_registry.catalog.state import look
from caa_registry.errors import RegistryError
from caa_registry.models import device


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One small product is enough where its speed does not matter."""
    monkeypatch.setattr(device, "_CPU_SHAPE", (8, 8, 8))
    monkeypatch.setattr(device, "_SECONDS", 0.001)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder of its own."""
    monkeypatch.setenv("CAA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_json_says_everything(full: Path) -> None:
    result = caa("doctor", "--json")
    assert (result.code, result.err) == (0, "")
    found = result.json
    assert {"platform", "python", "packages", "cores", "free_memory", "advice"} <= set(found)
    assert set(found["packages"]) == {"caa-registry", "mlx", "mlx-lm", "transformers"}
    assert found["cores"] >= 1 and found["free_memory"] > 0
    computing = found["computing"]
    assert computing["device"] in ("cpu", "gpu") and computing["device_name"]
    assert computing["dtype"] == ("float32" if computing["device"] == "cpu" else "as stored")
    assert computing["speed"]["float32"] > 0
    assert (computing["blas"] is None) == bool(computing["why_not"])
    assert found["registry"] == {
        "shown": str(full),
        "state": "ready",
        "opens": True,
        "schema": head_revision(),
        "problem": "",
    }


def test_people_get_fields_and_advice(full: Path) -> None:
    result = caa("doctor")
    assert (result.code, result.err) == (0, "")
    for word in ("platform", "Python", "mlx-lm", "device", "BLAS", "GFLOP/s", "free memory"):
        assert word in result.out
    assert f"{full}: ready (schema {head_revision()})" in result.out
    assert "None" not in result.out


def test_no_registry_is_no_fault_and_none_is_made(home: Path) -> None:
    result = caa("doctor", "--json")
    assert result.code == 0 and result.json["registry"]["state"] == "none"
    assert not home.exists()
    assert "does not exist yet" in caa("doctor").out
    assert caa("doctor", "--registry", home / "r.db").code == 0 and not home.exists()


def broken(path: Path) -> None:
    path.write_bytes(b"no database " * 100)


def newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE caa_alembic_version SET version_num = '9999'")
    connection.close()


@pytest.mark.parametrize(("damage", "words"), [(broken, "not a SQLite file"), (newer, "newer caa-registry")])
def test_a_registry_that_cannot_be_opened(damage: object, words: str, full: Path) -> None:
    assert callable(damage)
    damage(full)
    before = full.read_bytes()
    result = caa("doctor")
    assert result.code == 1 and f"{full}: unusable" in result.out and words in result.out.split("\n\n")[-1]
    found = caa("doctor", "--json")
    assert found.code == 1 and not found.json["registry"]["opens"] and words in found.json["registry"]["problem"]
    assert full.read_bytes() == before


def test_an_older_file_is_left_as_it_is(full: Path, tmp_path: Path) -> None:
    full.unlink()
    oldest_sqlite(full, tmp_path / "oldest")
    state = look(f"sqlite:///{full}")
    assert (state.state, state.opens, state.schema) == ("older", True, "0001")
    assert "older than this caa (schema 0001)" in caa("doctor").out
    assert look(f"sqlite:///{full}").state == "older" and not list(full.parent.glob("*.bak-*"))


def test_a_folder_and_an_empty_file(tmp_path: Path) -> None:
    assert look(f"sqlite:///{tmp_path}").state == "unusable"
    (tmp_path / "r.db").touch()
    assert look(f"sqlite:///{tmp_path / 'r.db'}").state == "none"
    with pytest.raises(RegistryError):
        look("mysql://host/database")


def test_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    empty, ready = empty_postgres(), new_postgres()
    assert (look(empty).state, look(empty).opens) == ("none", True)
    assert (look(ready).state, look(ready).opens) == ("ready", True)
    engine = create_engine(ready)
    with engine.begin() as connection:
        connection.execute(text("UPDATE caa_alembic_version SET version_num = '0001'"))
    engine.dispose()
    older = look(ready)
    assert (older.state, older.opens) == ("older", False) and "caa db upgrade" in older.problem
    gone = make_url(ready).set(database="is_not_there", password="s3cret").render_as_string(hide_password=False)
    monkeypatch.setenv("CAA_REGISTRY", gone)
    result = caa("doctor")
    assert result.code == 1 and "unusable" in result.out and "is_not_there" in result.out
    assert "s3cret" not in result.out + result.err + caa("doctor", "--json").out


@pytest.mark.skipif(sys.platform != "linux", reason="only a Linux CPU needs another BLAS")
def test_a_slow_blas_gets_advice(empty: Path) -> None:
    if device.device().kind == "gpu":
        pytest.skip("a GPU needs no BLAS")
    result = process("doctor", environment={"CAA_BLAS": "libnothing-of-it.so"})
    assert result.code == 0 and "MLX's own: CAA_BLAS: libnothing-of-it.so" in result.out
    assert result.out.splitlines()[-1] == "Correct CAA_BLAS, or leave it unset."
    assert process("doctor", environment={"CAA_BLAS": "none"}).out.splitlines()[-1] == "No problems found."


def test_a_broken_mlx_is_told(empty: Path, tmp_path: Path) -> None:
    (tmp_path / "broken" / "mlx").mkdir(parents=True)
    (tmp_path / "broken" / "mlx" / "__init__.py").write_text("")
    (tmp_path / "broken" / "mlx" / "core.py").write_text("raise ImportError('libcuda.so.1: cannot open')")
    paths = os.pathsep.join([str(tmp_path / "broken"), *filter(None, [os.environ.get("PYTHONPATH")])])
    result = process("doctor", environment={"PYTHONPATH": paths})
    assert result.code == 0, result.err
    assert "MLX cannot be imported: libcuda.so.1: cannot open" in result.out


def test_nothing_is_written_to_a_ready_registry(tmp_path: Path) -> None:
    path = Path(new_sqlite(tmp_path).removeprefix("sqlite:///"))
    before = shutil.copy(path, tmp_path / "before.db")
    look(f"sqlite:///{path}")
    assert path.read_bytes() == Path(before).read_bytes()
