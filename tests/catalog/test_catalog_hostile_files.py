"""Registries of strangers that would be read without end."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.endless_registry import make_endless
from support.limited import MOST_ABOVE, measured, peaks
from support.oversized_registry import HOLES, make_oversized

from caa_registry.blobs.database import DatabaseBlobStore
from caa_registry.catalog import engines
from caa_registry.catalog.database import Database
from caa_registry.errors import CaaError, RegistryError


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


def oversized(folder: str) -> None:
    """In a child: a registry of which one cell stands for 900 MB, in a small file and in one that is all holes."""
    import caa_registry as caa

    sound, small, holes = (Path(folder, f"{name}.db") for name in ("sound", "small", "holes"))
    for path in (sound, small, holes):
        with caa.open(str(path)) as registry:
            registry.datasets.import_("seed:demo-sentiment", name="team/sentiment")
    make_oversized(small, "dataset", "name")
    make_oversized(holes, "dataset", "name", pages=HOLES)
    assert holes.stat().st_blocks * 512 < 2_000_000 < 900_000_000 < holes.stat().st_size

    def listed(path: Path) -> str:
        try:
            with caa.open(str(path)) as registry:
                return str([version.name for version in registry.datasets.ls()])
        except CaaError as error:
            assert error.hint
            return error.message

    measured(lambda: listed(sound), {path.stem: lambda path=path: listed(path) for path in (small, holes, sound)})  # type: ignore[misc]


def test_a_cell_that_is_longer_than_its_file_is_not_read(tmp_path: Path) -> None:
    found = peaks("catalog.test_catalog_hostile_files:oversized", str(tmp_path))
    assert "malformed" in found["outcomes"]["small"]
    assert "a text or blob is too long" in found["outcomes"]["holes"]
    assert found["outcomes"]["sound"] == "['team/sentiment']"
    assert found["above"] < MOST_ABOVE


def test_what_is_long_can_be_stored_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_LONGEST_READ", 1_000_000)
    with Database.open(f"sqlite:///{tmp_path / 'r.db'}", create=True) as database:
        store = DatabaseBlobStore(database)
        digest = store.put(bytes(5_000_000))
        assert len(store.get(digest)) == 5_000_000


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
