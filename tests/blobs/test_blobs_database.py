from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from catalog.registry_fixtures import DIALECTS, new_postgres, new_sqlite, together
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text

from caa_registry.blobs.database import DatabaseBlobStore
from caa_registry.blobs.store import BlobStore
from caa_registry.catalog.database import Database
from caa_registry.catalog.models import Blob
from caa_registry.digests import digest_bytes
from caa_registry.errors import IntegrityError, NotFoundError, UsageError

ABSENT = digest_bytes(b"absent")


@pytest.fixture
def store(database: Database) -> DatabaseBlobStore:
    return DatabaseBlobStore(database)


@pytest.fixture(scope="module", params=DIALECTS)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlobStore]:
    """One store for all examples of a property."""
    sqlite = request.param == "sqlite"
    url = new_sqlite(tmp_path_factory.mktemp("blobs")) if sqlite else new_postgres()
    with Database.open(url, create=False) as database:
        yield DatabaseBlobStore(database)


def test_pieces_of_many_come_in_the_order_in_which_they_are_asked_for(shared: BlobStore) -> None:
    digests = [shared.put(bytes([number]) * 10) for number in range(3)]
    wanted = [(digests[2], 0, 4), (digests[0], 9, 1), (digests[2], 4, 6), (digests[1], 3, 0), (digests[2], 0, 4)]
    assert shared.read_ranges(wanted) == [b"\2" * 4, b"\0", b"\2" * 6, b"", b"\2" * 4]
    assert shared.read_ranges([]) == []
    with pytest.raises(NotFoundError):
        shared.read_ranges([(digests[0], 0, 1), (ABSENT, 0, 1)])
    with pytest.raises(IntegrityError, match="too short"):
        shared.read_ranges([(digests[0], 0, 1), (digests[1], 5, 6)])
    with pytest.raises(UsageError):
        shared.read_ranges([(digests[0], -1, 1)])
    with pytest.raises(UsageError):
        shared.read_ranges([("nothing", 0, 1)])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=20_000), offset=st.integers(0, 20_000), nbytes=st.integers(0, 20_000))
def test_what_was_put_comes_back(shared: BlobStore, data: bytes, offset: int, nbytes: int) -> None:
    digest = shared.put(data)
    assert digest == digest_bytes(data)
    assert digest in shared
    assert shared.get(digest) == data
    if offset + nbytes <= len(data):
        assert shared.read_range(digest, offset, nbytes) == data[offset : offset + nbytes]
    elif nbytes:
        with pytest.raises(IntegrityError, match=digest):
            shared.read_range(digest, offset, nbytes)


def test_it_is_a_blob_store(store: DatabaseBlobStore) -> None:
    assert isinstance(store, BlobStore)


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


@pytest.mark.parametrize("bad", [b"flipped", b"", b"the byte"])
def test_damaged_bytes_are_noticed(database: Database, store: DatabaseBlobStore, bad: bytes) -> None:
    digest = store.put(b"the bytes")
    on_table = " ON blob" if database.dialect == "postgresql" else ""
    with database.write() as session:
        session.execute(text(f"DROP TRIGGER keep_blob_update{on_table}"))
        session.execute(text("UPDATE blob SET data = :bad"), {"bad": bad})
    with pytest.raises(IntegrityError, match=digest):
        store.get(digest)
    with pytest.raises(IntegrityError, match=digest):
        store.read_range(digest, 0, 9)


def test_what_is_not_there(store: DatabaseBlobStore) -> None:
    assert ABSENT not in store
    with pytest.raises(NotFoundError, match=ABSENT):
        store.get(ABSENT)
    with pytest.raises(NotFoundError, match=ABSENT):
        store.read_range(ABSENT, 0, 0)


@pytest.mark.parametrize("digest", ["", "sha256:12", ABSENT.upper(), ABSENT + "\n", "' OR 1=1 --", "../../x"])
def test_only_digests_are_looked_up(store: DatabaseBlobStore, digest: str) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: store.get(digest),
        lambda: digest in store,
        lambda: store.read_range(digest, 0, 1),
    ]
    for attempt in attempts:
        with pytest.raises(UsageError, match="is not a digest"):
            attempt()


@pytest.mark.parametrize(("offset", "nbytes"), [(-1, 2), (0, -1)])
def test_negative_ranges_are_refused(store: DatabaseBlobStore, offset: int, nbytes: int) -> None:
    with pytest.raises(UsageError, match="range"):
        store.read_range(store.put(b"abc"), offset, nbytes)


def test_ranges_far_outside(store: DatabaseBlobStore) -> None:
    digest = store.put(b"abc")
    for offset, nbytes in ((3, 1), (2**31, 1), (0, 2**31), (2**40, 2**40)):
        with pytest.raises(IntegrityError, match="too short"):
            store.read_range(digest, offset, nbytes)
    assert store.read_range(digest, 3, 0) == b""


def test_a_blob_may_be_read_while_writing(database: Database, store: DatabaseBlobStore) -> None:
    digest = store.put(b"abc")
    with database.write() as session:
        session.execute(text("UPDATE meta SET value = 'x'"))
        assert store.get(digest) == b"abc"
        with pytest.raises(RuntimeError, match="inside"):
            store.put(b"a blob comes before its row")


def test_a_file_of_blobs_can_be_copied(tmp_path: Path) -> None:
    with Database.open(new_sqlite(tmp_path), create=False) as database:
        digest = DatabaseBlobStore(database).put(b"x" * 300_000)
    (tmp_path / "copy.db").write_bytes((tmp_path / "registry.db").read_bytes())
    with Database.open(f"sqlite:///{tmp_path}/copy.db", create=False) as copied:
        assert DatabaseBlobStore(copied).get(digest) == b"x" * 300_000


def test_what_is_there_is_listed_and_removed(database: Database, store: DatabaseBlobStore) -> None:
    first, second = store.put(b"one"), store.put(b"three")
    assert sorted(store.ls()) == sorted([first, second])
    before = store.stat(second)
    assert (before.digest, before.size) == (second, 5) and before.stored_at is not None
    assert store.put(b"three") == second
    again = store.stat(second).stored_at
    assert again is not None and again > before.stored_at
    with database.write() as session:
        assert (store.delete(second, session), store.delete(second, session)) == (5, 0)
    assert list(store.ls()) == [first] and second not in store
    with pytest.raises(NotFoundError):
        store.stat(second)
    # Removed with the transaction, or not at all.
    with pytest.raises(ZeroDivisionError), database.write() as session:
        store.delete(first, session)
        raise ZeroDivisionError
    assert store.get(first) == b"one"
