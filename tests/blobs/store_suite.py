"""What every store of blobs is tested for. A store inherits it, with a fixture ``store`` of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from caa_registry.blobs.store import BlobPiece, BlobStore, check_kept
from caa_registry.catalog.database import Database
from caa_registry.digests import digest_bytes
from caa_registry.errors import IntegrityError, NotFoundError, RegistryError, UsageError

ABSENT = digest_bytes(b"absent")


def remove(store: BlobStore, database: Database, digests: Sequence[str]) -> int:
    """Remove blobs as gc does."""
    if not store.in_catalogue:
        return store.delete(digests)
    with database.write() as session:
        return store.delete(digests, session)


class StoreSuite:
    """Every promise of ``BlobStore``."""

    def damage(self, store: BlobStore, database: Database, digest: str, data: bytes) -> None:
        """Put other bytes in the place of a blob."""
        raise NotImplementedError

    def test_it_is_a_blob_store(self, store: BlobStore) -> None:
        assert isinstance(store, BlobStore) and store.shown

    def test_pieces_of_many_come_in_the_order_in_which_they_are_asked_for(self, store: BlobStore) -> None:
        digests = [store.put(bytes([number]) * 10) for number in range(3)]
        wanted = [(digests[2], 0, 4), (digests[0], 9, 1), (digests[2], 4, 6), (digests[1], 3, 0), (digests[2], 0, 4)]
        pieces = [b"\2" * 4, b"\0", b"\2" * 6, b"", b"\2" * 4]
        assert store.read_ranges([BlobPiece(*each) for each in wanted]) == pieces
        known = [BlobPiece(*each, digest_bytes(piece)) for each, piece in zip(wanted, pieces, strict=True)]
        assert store.read_ranges(known) == store.read_ranges(known) == pieces
        assert store.read_ranges([]) == []
        with pytest.raises(NotFoundError):
            store.read_ranges([BlobPiece(digests[0], 0, 1), BlobPiece(ABSENT, 0, 1)])
        with pytest.raises(IntegrityError, match="too short"):
            store.read_ranges([BlobPiece(digests[0], 0, 1), BlobPiece(digests[1], 5, 6)])
        with pytest.raises(UsageError):
            store.read_ranges([BlobPiece(digests[0], -1, 1)])
        with pytest.raises(UsageError):
            store.read_ranges([BlobPiece("nothing", 0, 1)])

    @settings(
        max_examples=30,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(data=st.binary(max_size=20_000), offset=st.integers(0, 20_000), nbytes=st.integers(0, 20_000))
    def test_what_was_put_comes_back(self, store: BlobStore, data: bytes, offset: int, nbytes: int) -> None:
        digest = store.put(data)
        assert digest == digest_bytes(data)
        assert digest in store
        assert store.get(digest) == data
        if offset + nbytes <= len(data):
            assert store.read_range(digest, offset, nbytes) == data[offset : offset + nbytes]
        elif nbytes:
            with pytest.raises(IntegrityError, match=digest):
                store.read_range(digest, offset, nbytes)

    @pytest.mark.parametrize("bad", [b"flipped", b"", b"the byte"])
    def test_damaged_bytes_are_noticed(self, database: Database, store: BlobStore, bad: bytes) -> None:
        digest, other = store.put(b"the bytes"), store.put(b"others")
        self.damage(store, database, digest, bad)
        with pytest.raises(IntegrityError, match=digest):
            store.get(digest)
        with pytest.raises(IntegrityError, match=digest):
            store.read_range(digest, 0, 9)
        first, second = store.read_each([digest, other])
        with pytest.raises(IntegrityError, match=digest):
            first()
        assert second() == b"others"

    def test_many_are_read_in_order(self, store: BlobStore) -> None:
        blobs = [b"%d" % number for number in range(50)]
        digests = [store.put(data) for data in blobs]
        reads = store.read_each([*digests, ABSENT])
        assert [next(reads)() for _ in blobs] == blobs
        with pytest.raises(NotFoundError, match=ABSENT):
            next(reads)()
        assert list(store.read_each([])) == []

    def test_what_is_not_there(self, store: BlobStore) -> None:
        assert ABSENT not in store
        attempts: list[Callable[[], object]] = [
            lambda: store.get(ABSENT),
            lambda: store.read_range(ABSENT, 0, 0),
            lambda: store.stat(ABSENT),
        ]
        for attempt in attempts:
            with pytest.raises(NotFoundError, match=ABSENT):
                attempt()
        with pytest.raises(RegistryError, match="removed bytes"):
            check_kept(store, ABSENT)

    @pytest.mark.parametrize("digest", ["", "sha256:12", ABSENT.upper(), ABSENT + "\n", "' OR 1=1 --", "../../x"])
    def test_only_digests_are_looked_up(self, store: BlobStore, database: Database, digest: str) -> None:
        attempts: list[Callable[[], object]] = [
            lambda: store.get(digest),
            lambda: digest in store,
            lambda: store.read_range(digest, 0, 1),
            lambda: store.stat(digest),
            lambda: next(store.read_each([digest]))(),
            lambda: remove(store, database, [digest]),
        ]
        for attempt in attempts:
            with pytest.raises(UsageError, match="is not a digest"):
                attempt()

    @pytest.mark.parametrize(("offset", "nbytes"), [(-1, 2), (0, -1)])
    def test_negative_ranges_are_refused(self, store: BlobStore, offset: int, nbytes: int) -> None:
        with pytest.raises(UsageError, match="range"):
            store.read_range(store.put(b"abc"), offset, nbytes)

    def test_ranges_far_outside(self, store: BlobStore) -> None:
        digest = store.put(b"abc")
        for offset, nbytes in ((3, 1), (2**31, 1), (0, 2**31), (2**40, 2**40)):
            with pytest.raises(IntegrityError, match="too short"):
                store.read_range(digest, offset, nbytes)
        assert store.read_range(digest, 3, 0) == b""

    def test_an_empty_blob(self, store: BlobStore) -> None:
        digest = store.put(b"")
        assert store.get(digest) == b"" == store.read_range(digest, 0, 0) and store.stat(digest).size == 0

    def test_a_blob_may_be_read_while_writing(self, database: Database, store: BlobStore) -> None:
        digest = store.put(b"abc")
        with database.write() as session:
            session.execute(text("UPDATE meta SET value = 'x' WHERE key = 'written_by'"))
            assert store.get(digest) == b"abc"
            check_kept(store, digest)

    def test_what_is_there_is_listed_and_removed(self, database: Database, store: BlobStore) -> None:
        first, second = store.put(b"one"), store.put(b"three")
        assert sorted(store.ls()) == sorted([first, second])
        assert sorted((stat.digest, stat.size) for stat in store.stats()) == sorted([(first, 3), (second, 5)])
        assert [stat.digest for stat in store.stats([ABSENT, second])] == [second]
        assert list(store.stats([])) == []
        before = store.stat(second)
        assert (before.digest, before.size) == (second, 5) and before.stored_at is not None
        assert store.put(b"three") == second
        again = store.stat(second).stored_at
        assert again is not None and again >= before.stored_at
        assert (remove(store, database, [second, ABSENT]), remove(store, database, [second])) == (5, 0)
        assert list(store.ls()) == [first] and second not in store
        with pytest.raises(NotFoundError):
            store.stat(second)
        with pytest.raises(NotFoundError):
            store.get(second)
        assert store.get(first) == b"one"
        assert remove(store, database, []) == 0

    def test_many_go_at_once(self, database: Database, store: BlobStore) -> None:
        digests = [store.put(b"%d" % number) for number in range(30)]
        assert remove(store, database, digests) == 10 + 2 * 20
        assert list(store.ls()) == []
