"""Registries of strangers that would be read without end."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.endless_registry import make_endless
from support.limited import MOST_ABOVE, measured, peaks

from caa_registry.catalog import engines
from caa_registry.catalog.database import Database
from caa_registry.errors import RegistryError


def _opened(path: Path) -> str:
    try:
        Database.open(f"sqlite:///{path}", create=False).close()
    except RegistryError as error:
        assert error.hint
        return error.message
    return "opened"


def report(folder: str) -> None:
    """In a child: a registry, and one with a schema of endless pages."""
    sound, endless = Path(folder) / "sound.db", Path(folder) / "endless.db"
    for path in (sound, endless):
        Database.open(f"sqlite:///{path}", create=True).close()
    make_endless(endless)
    measured(lambda: _opened(sound), {"schema": lambda: _opened(endless), "sound": lambda: _opened(sound)})


def test_a_schema_of_pages_that_lead_to_one_another_is_not_read_for_ever(tmp_path: Path) -> None:
    found = peaks("catalog.test_catalog_hostile_files:report", str(tmp_path))
    assert "is damaged: reading it takes longer" in found["outcomes"]["schema"]
    assert found["outcomes"]["sound"] == "opened"
    assert found["above"] < MOST_ABOVE


def test_reading_is_bounded_and_writing_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_MOST_STEPS", 3_000_000)
    rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT count(*) FROM n"
    with Database.open(f"sqlite:///{tmp_path / 'r.db'}", create=True) as database:
        for _ in range(4):
            with database.read() as session:
                assert session.connection().exec_driver_sql(rows.format(100_000)).scalar() == 100_000
        with pytest.raises(RegistryError, match="reading it takes longer"), database.read() as session:
            session.connection().exec_driver_sql(rows.format(2_000_000))
        with database.write() as session:
            assert session.connection().exec_driver_sql(rows.format(2_000_000)).scalar() == 2_000_000
