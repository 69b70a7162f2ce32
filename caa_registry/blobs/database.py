"""Blobs inside the registry's own database, so that the registry is one file that can be copied."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import Integer, String, bindparam, column, delete, func, insert, select, update, values
from sqlalchemy.orm import Session

from caa_registry.blobs.store import BlobPiece, BlobStat, check_range, checked_digest
from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.catalog.database import Database
from caa_registry.digests import digest_bytes
from caa_registry.errors import IntegrityError, NotFoundError

# Made once: for a blob of 200 KB, making the statement takes as long as reading it.
_DATA = select(t.Blob.__table__.columns.data).where(t.Blob.__table__.columns.digest == bindparam("wanted"))
_LARGEST = 2**31 - 1  # the widest integer that PostgreSQL's substr takes; no blob is as long


class DatabaseBlobStore:
    """A ``BlobStore`` in the table ``blob``.

    ``put`` is a write transaction of its own and must come before the one that refers to the blob: when that
    fails, a blob without a reference stays behind, never a reference without its blob.
    """

    in_catalogue = True

    # What is read goes by the connection: the session's own way takes half as long again.

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def shown(self) -> str:
        return self._database.shown

    def check(self) -> None:
        """Nothing: where the catalogue is, they are."""

    def put(self, data: bytes) -> str:
        digest, now = digest_bytes(data), datetime.now(UTC)
        with self._database.write() as session:
            again = session.execute(update(t.Blob).where(t.Blob.digest == digest).values(stored_at=now))
            if again.rowcount == 0:  # type: ignore[attr-defined]
                session.execute(insert(t.Blob).values(digest=digest, size=len(data), data=data, stored_at=now))
        return digest

    def get(self, digest: str, session: Session | None = None) -> bytes:
        wanted = {"wanted": checked_digest(digest)}
        with self._read(session) as reading:
            data: bytes | None = reading.connection().scalar(_DATA, wanted)
        if data is None:
            raise self._missing(digest)
        if digest_bytes(data) != digest:
            raise IntegrityError(
                f"blob {digest} is damaged: its bytes do not match its digest", "Restore it from a backup."
            )
        return data

    def read_each(self, digests: Iterable[str], session: Session | None = None) -> Iterator[Callable[[], bytes]]:
        return (partial(self.get, digest, session) for digest in digests)

    def read_range(self, digest: str, offset: int, nbytes: int, sha256: str = "") -> bytes:
        check_range(offset, nbytes)
        blob = t.Blob.__table__.columns
        piece = func.substr(blob.data, min(offset + 1, _LARGEST), min(nbytes, _LARGEST), type_=blob.data.type)
        query = select(blob.digest, piece).where(blob.digest == checked_digest(digest))
        with self._database.read() as session:
            row = session.connection().execute(query).one_or_none()
        return self._piece(row[1] if row else None, digest, offset, nbytes, there=row is not None)

    def read_ranges(self, wanted: Sequence[BlobPiece], session: Session | None = None) -> list[bytes]:
        if not wanted:
            return []
        rows = []
        for place, (digest, offset, nbytes, _) in enumerate(wanted):
            check_range(offset, nbytes)
            rows.append((place, checked_digest(digest), min(offset + 1, _LARGEST), min(nbytes, _LARGEST)))
        asked = values(
            column("place", Integer), column("digest", String), column("first", Integer), column("nbytes", Integer),
        ).data(rows).cte("asked")  # fmt: skip
        blob = t.Blob.__table__.columns
        piece = func.substr(blob.data, asked.c.first, asked.c.nbytes, type_=blob.data.type)
        query = select(asked.c.place, piece).join(t.Blob.__table__, blob.digest == asked.c.digest)
        with self._read(session) as reading:
            found = {row.place: row[1] for row in reading.connection().execute(query)}
        return [
            self._piece(found.get(place), digest, offset, nbytes, there=place in found)
            for place, (digest, offset, nbytes, _) in enumerate(wanted)
        ]

    def _piece(self, data: bytes | None, digest: str, offset: int, nbytes: int, *, there: bool) -> bytes:
        if not there:
            raise self._missing(digest)
        piece = bytes(data or b"")  # SQLite gives NULL for a piece of an empty blob
        if len(piece) != nbytes:
            raise IntegrityError(
                f"blob {digest} is too short for {nbytes} bytes from {offset}", "Restore it from a backup."
            )
        return piece

    def __contains__(self, digest: str) -> bool:
        with self._database.read() as session:
            found = session.scalar(select(t.Blob.digest).where(t.Blob.digest == checked_digest(digest)))
        return found is not None

    def ls(self, session: Session | None = None) -> Iterator[str]:
        with self._read(session) as reading:
            digests = list(reading.scalars(select(t.Blob.digest)))
        yield from digests

    def stats(self, digests: Sequence[str] | None = None, session: Session | None = None) -> Iterator[BlobStat]:
        query = select(t.Blob.digest, t.Blob.size, t.Blob.stored_at)
        with self._read(session) as reading:
            if digests is not None:
                query = query.where(among(reading, t.Blob.digest, digests))
            rows = reading.execute(query).all()
        return (BlobStat(*row) for row in rows)

    def stat(self, digest: str) -> BlobStat:
        query = select(t.Blob.digest, t.Blob.size, t.Blob.stored_at).where(t.Blob.digest == checked_digest(digest))
        with self._database.read() as session:
            row = session.execute(query).one_or_none()
        if row is None:
            raise self._missing(digest)
        return BlobStat(*row)

    def delete(self, digests: Sequence[str], session: Session | None = None) -> int:
        assert session is not None
        these = among(session, t.Blob.digest, [checked_digest(digest) for digest in digests])
        freed = sum(session.scalars(select(t.Blob.size).where(these)))
        session.execute(delete(t.Blob).where(these))
        return freed

    def _read(self, session: Session | None) -> AbstractContextManager[Session]:
        return self._database.read() if session is None else nullcontext(session)

    def _missing(self, digest: str) -> NotFoundError:
        return NotFoundError(
            f"blob {digest} is not in {self._database.shown}", "Restore it from a backup, or compute it again."
        )
