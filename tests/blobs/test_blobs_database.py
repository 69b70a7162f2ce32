from __future__ import annotations

from pathlib import Path

import pytest
from blobs.store_suite import StoreSuite
from catalog.registry_fixtures import new_sqlite, together
from sqlalchemy import func, select, text

from caa_registry.blobs.database import DatabaseBlobStore
from caa_registry.blobs.store import BlobStore
from caa_registry.catalog.database import Database
from caa_registry.catalog.models import Blob


@pytest.fixture
def store(database: Database) -> DatabaseBlobStore:
    return DatabaseBlobStore(database)


class TestDatabaseStore(StoreSuite):
    def damage(self, store: BlobStore, database: Database, digest: str, data: bytes) -> None:
        on_table = " ON blob" if database.dialect == "postgresql" else ""
        with database.write() as session:
            session.execute(text(f"DROP TRIGGER keep_blob_update{on_table}"))
            session.execute(
                text("UPDATE blob SET data = :data WHERE digest = :digest"), {"data": data, "digest": digest}
            )


def test_putting_twice_makes_one_row(database: Database, store: DatabaseBlobStore) -> None:
    assert store.put(b"\x00bytes\xff") == store.put(b"\x00bytes\xff")
    with database.read() as session:
        assert session.scalars(select(Blob.size)).all() == [7]


def _put(url: str) -> str:
    with Database.open(url, create=False) as database:
        return DatabaseBlobStore(database).put(b"the same" * 1000)


def test_processes_put_the_same(url: str) -> None:
    assert len(set(together(_put, url))) == 1
    with Database.open(url, create=False) as database, database.read() as session:
        assert session.scalar(select(func.count()).select_from(Blob)) == 1


def test_a_blob_comes_before_its_row(database: Database, store: DatabaseBlobStore) -> None:
    with database.write(), pytest.raises(RuntimeError, match="inside"):
        store.put(b"abc")


def test_a_file_of_blobs_can_be_copied(tmp_path: Path) -> None:
    with Database.open(new_sqlite(tmp_path), create=False) as database:
        digest = DatabaseBlobStore(database).put(b"x" * 300_000)
    (tmp_path / "copy.db").write_bytes((tmp_path / "registry.db").read_bytes())
    with Database.open(f"sqlite:///{tmp_path}/copy.db", create=False) as copied:
        assert DatabaseBlobStore(copied).get(digest) == b"x" * 300_000


def test_they_go_with_the_transaction_or_not_at_all(database: Database, store: DatabaseBlobStore) -> None:
    digest = store.put(b"one")
    with pytest.raises(ZeroDivisionError), database.write() as session:
        store.delete([digest], session)
        raise ZeroDivisionError
    assert store.get(digest) == b"one"
