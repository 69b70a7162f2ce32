"""Blobs outside the catalogue: in a folder, or in an object store."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from sqlalchemy.orm import Session

from caa_registry.blobs.cache import BlobCache
from caa_registry.blobs.objects import CLAIM, Objects, Stored, digest_of, name_of
from caa_registry.blobs.removal import being_removed
from caa_registry.blobs.store import BlobPiece, BlobStat, check_range, checked_digest
from caa_registry.catalog.database import Database
from caa_registry.digests import digest_bytes
from caa_registry.errors import BlobStoreError, IntegrityError, NotFoundError

T = TypeVar("T")
R = TypeVar("R")

_AT_ONCE = 16
"""How many requests are under way to a store far away."""
# How often bytes are read that do not have their digest: on their way they may have been damaged or cut off.
_TRIES = 3


class ExternalBlobStore:
    """A ``BlobStore`` in ``objects``. ``owner``: whose blobs these must be, by the claim that lies with them.

    What is read from far away is kept in ``cache`` once it was compared with its digest, a whole blob or the piece of
    which the digest was given.
    """

    in_catalogue = False

    def __init__(self, database: Database, objects: Objects, owner: str, cache: BlobCache) -> None:
        self._database = database
        self._objects = objects
        self._owner = owner
        self.cache = cache if objects.remote else BlobCache(cache.folder, 0)
        self._checked = False

    @property
    def shown(self) -> str:
        return self._objects.shown

    def check(self) -> None:
        if owner_of(self._objects) != self._owner:
            raise BlobStoreError(
                f"{self.shown} does not hold the blobs of this registry: its {CLAIM} is missing or another's",
                "Is the disk mounted, and the bucket the right one? Or restore a backup into a new place.",
            )
        self._checked = True

    def put(self, data: bytes) -> str:
        if not self._checked:
            self.check()
        digest = digest_bytes(data)
        # Again where it is there already: that makes it young, and whole.
        self._objects.write(name_of(digest), data)
        self.cache.add(_key(digest), data)
        return digest

    def get(self, digest: str, session: Session | None = None) -> bytes:
        known = self.cache.get(_key(checked_digest(digest)), digest)
        if known is not None:
            return known
        data = self._read(digest)
        self.cache.add(_key(digest), data)
        return data

    def read_each(self, digests: Iterable[str], session: Session | None = None) -> Iterator[Callable[[], bytes]]:
        if not self._objects.remote:
            yield from (partial(self._read, digest) for digest in digests)
            return
        yield from _ahead(self._read, digests)

    def _read(self, digest: str) -> bytes:
        """The whole of a blob as it is in the store."""
        name = name_of(checked_digest(digest))
        for _ in range(_TRIES):
            data = self._objects.read(name)
            if data is None:
                raise self._missing(digest)
            if digest_bytes(data) == digest:
                return data
            if not self._objects.remote:
                break
        raise IntegrityError(
            f"blob {digest} is damaged: its bytes in {self.shown} do not match its digest", "Restore it from a backup."
        )

    def read_range(self, digest: str, offset: int, nbytes: int, sha256: str = "") -> bytes:
        check_range(offset, nbytes)
        name, kept = name_of(checked_digest(digest)), f"{_key(digest)}-{offset}-{nbytes}"
        if sha256:
            piece = self.cache.get(kept, sha256)
            if piece is not None:
                return piece
        whole = self.cache.get(_key(digest), digest)
        if whole is not None:
            return self._checked_length(whole[offset : offset + nbytes], digest, offset, nbytes)
        data = None
        for _ in range(_TRIES if self._objects.remote else 1):
            data = self._objects.read(name, offset, nbytes)
            if data is None:
                raise self._missing(digest)
            if sha256 and digest_bytes(data) == sha256:
                self.cache.add(kept, data)
                break
            if not sha256 and len(data) == nbytes:
                break
        return self._checked_length(data or b"", digest, offset, nbytes)

    def read_ranges(self, wanted: Sequence[BlobPiece], session: Session | None = None) -> list[bytes]:
        for piece in wanted:
            check_range(piece.offset, piece.nbytes)
            checked_digest(piece.digest)
        return self._each(lambda piece: self.read_range(*piece), wanted)

    def _checked_length(self, data: bytes, digest: str, offset: int, nbytes: int) -> bytes:
        if len(data) != nbytes:
            raise IntegrityError(
                f"blob {digest} is too short for {nbytes} bytes from {offset}", "Restore it from a backup."
            )
        return data

    def __contains__(self, digest: str) -> bool:
        there = self._stat(checked_digest(digest)) is not None
        return there and not being_removed(self._database, digest)

    def ls(self, session: Session | None = None) -> Iterator[str]:
        return (stat.digest for stat in self.stats())

    def stats(self, digests: Sequence[str] | None = None, session: Session | None = None) -> Iterator[BlobStat]:
        self.check()
        found = self._objects.ls() if digests is None else self._each(self._stat, digests)
        for stored in found:
            digest = digest_of(stored.name) if stored is not None else None
            if stored is not None and digest is not None:
                yield BlobStat(digest, stored.size, stored.changed)

    def stat(self, digest: str) -> BlobStat:
        stored = self._stat(checked_digest(digest))
        if stored is None:
            raise self._missing(digest)
        return BlobStat(digest, stored.size, stored.changed)

    def _stat(self, digest: str) -> Stored | None:
        stored = self._objects.stat(name_of(digest))
        if stored is None:
            self.check()  # is it the whole store that is not there?
        return stored

    def delete(self, digests: Sequence[str], session: Session | None = None) -> int:
        sizes = [stat.size for stat in self.stats([checked_digest(digest) for digest in digests])]
        self._objects.remove([name_of(digest) for digest in digests])
        for digest in digests:
            self.cache.drop(_key(digest))
        return sum(sizes)

    def _each(self, function: Callable[[T], R], things: Sequence[T]) -> list[R]:
        if not self._objects.remote or len(things) < 2:
            return [function(thing) for thing in things]
        return [result() for result in _ahead(function, things)]

    def _missing(self, digest: str) -> NotFoundError:
        self.check()
        return NotFoundError(f"blob {digest} is not in {self.shown}", "Restore it from a backup, or compute it again.")


def write_all(objects: Objects, named: Iterable[tuple[str, bytes]]) -> None:
    """Write bytes under their names, several at once where the store is far away."""
    if objects.remote:
        for result in _ahead(lambda each: objects.write(*each), named):
            result()
    else:
        for name, data in named:
            objects.write(name, data)


def owner_of(objects: Objects) -> str | None:
    """Whose blobs these are; ``None`` where no registry keeps any there, empty for a claim that is damaged."""
    data = objects.read(CLAIM)
    if data is None:
        return None
    try:
        owner = json.loads(data)["registry"]
    except (ValueError, KeyError, TypeError):
        return ""
    return owner if isinstance(owner, str) else ""


def _key(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _ahead(function: Callable[[T], R], things: Iterable[T]) -> Iterator[Callable[[], R]]:
    """For each of ``things``, in order, what gives its result, or raises; some of those that follow are under way."""
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        waiting: deque[Callable[[], R]] = deque()
        for thing in things:
            waiting.append(pool.submit(function, thing).result)
            if len(waiting) > _AT_ONCE:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        pool.shutdown(cancel_futures=True)
