"""Processes that collide: first opening, and read-then-insert."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalog.catalog_rows import NOW, dataset_version
from catalog.registry_fixtures import empty_postgres, together
from sqlalchemy import select, text

from caa_registry.catalog.database import Database
from caa_registry.catalog.models import Dataset, DatasetVersion
from caa_registry.catalog.numbering import next_number
from caa_registry.digests import digest_bytes


def register(url: str, times: int) -> list[int]:
    numbers = []
    with Database.open(url, create=False) as database:
        for _ in range(times):
            with database.write() as session:
                number = next_number(session, DatasetVersion, 1)
                session.add(dataset_version(1, number, digest_bytes(str(number).encode())))
            numbers.append(number)
    return numbers


def test_numbers_have_no_gaps(url: str) -> None:
    with Database.open(url, create=False) as database:
        with database.write() as session:
            session.add(Dataset(name="a", kind="pairs", created_at=NOW))
        numbers = [number for own in together(register, url, 25) for number in own]
        assert sorted(numbers) == list(range(1, 201))
        with database.read() as session:
            stored = session.scalars(select(DatasetVersion.number).order_by(DatasetVersion.id)).all()
        assert stored == list(range(1, 201))


def create(url: str) -> int:
    with Database.open(url, create=True) as database:
        with database.write() as session:
            session.execute(text("UPDATE meta SET value = value WHERE key = 'written_by'"))
        with database.read() as session:
            return len(session.execute(text("SELECT * FROM caa_alembic_version")).all())


@pytest.mark.parametrize("start", ["missing", "missing folder", "empty file"])
def test_several_processes_create_one_file(tmp_path: Path, start: str) -> None:
    path = tmp_path / "deep" / "er" / "registry.db" if start == "missing folder" else tmp_path / "registry.db"
    if start == "empty file":
        path.touch()
    assert together(create, f"sqlite:///{path}") == [1] * 8
    assert [found.name for found in path.parent.iterdir()] == ["registry.db"]


def test_without_hard_links_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", unsupported)
    assert together(create, f"sqlite:///{tmp_path}/registry.db") == [1] * 8
    assert [found.name for found in tmp_path.iterdir()] == ["registry.db"]


def test_several_processes_create_on_one_server() -> None:
    assert together(create, empty_postgres()) == [1] * 8
