"""What a store of content-addressed bytes promises, wherever it keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol, runtime_checkable

from sqlalchemy.orm import Session

from caa_registry.digests import DIGEST
from caa_registry.errors import RegistryError, UsageError


@dataclass(frozen=True)
class BlobStat:
    """A blob. ``size``: in bytes; ``stored_at``: when it was last stored, ``None`` where that was not noted."""

    digest: str
    size: int
    stored_at: datetime | None


class BlobPiece(NamedTuple):
    """``nbytes`` of a blob from ``offset``. ``sha256``: the digest of these bytes, where it is known."""

    digest: str
    offset: int
    nbytes: int
    sha256: str = ""


@runtime_checkable
class BlobStore(Protocol):
    """Bytes by their digest. What was put is never changed.

    Digests are checked before use, so that text from outside never becomes part of a query or a path. A store outside
    the catalogue raises ``BlobStoreError`` where it is not there, cannot be reached or refuses a request.
    """

    @property
    def in_catalogue(self) -> bool:
        """Whether bytes come and go with transactions of the catalogue."""

    @property
    def shown(self) -> str:
        """Where the bytes are, to be printed."""

    def check(self) -> None:
        """Raise ``BlobStoreError`` unless the store is there and is that of this registry."""

    def put(self, data: bytes) -> str:
        """Store ``data`` durably and return its digest. Storing the same bytes again moves ``stored_at`` and changes
        nothing else."""

    def get(self, digest: str, session: Session | None = None) -> bytes:
        """The bytes of ``digest``, verified; where they are in the catalogue, as ``session`` sees it.

        Raises ``NotFoundError`` when they are not there and ``IntegrityError`` when they do not match.
        """

    def read_each(self, digests: Iterable[str], session: Session | None = None) -> Iterator[Callable[[], bytes]]:
        """For each of ``digests``, in order, what gives its bytes, or raises, as ``get`` does: from the store itself,
        never from a cache. Where a request takes long, those that follow are asked for meanwhile."""

    def read_range(self, digest: str, offset: int, nbytes: int, sha256: str = "") -> bytes:
        """``nbytes`` from ``offset`` without reading the rest. Not verified: the caller knows their digest.

        ``sha256``: that digest. A store elsewhere reads once more what does not match it, and keeps what does.
        Raises ``NotFoundError`` when the blob is not there and ``IntegrityError`` when it is too short.
        """

    def read_ranges(self, wanted: Sequence[BlobPiece], session: Session | None = None) -> list[bytes]:
        """As ``read_range`` of each of ``wanted``, some hundred at once; where they are in the catalogue, as
        ``session`` sees it."""

    def __contains__(self, digest: str) -> bool:
        """Whether bytes are stored under ``digest``, and ``gc`` is not about to remove them."""

    def ls(self, session: Session | None = None) -> Iterator[str]:
        """The digests of all that is stored, in any order; of what is in the catalogue, as ``session`` sees it."""

    def stats(self, digests: Sequence[str] | None = None, session: Session | None = None) -> Iterator[BlobStat]:
        """All that is stored, in any order, or those of ``digests`` that are; of what is in the catalogue, as
        ``session`` sees it."""

    def stat(self, digest: str) -> BlobStat:
        """The size of a blob and when it was stored. Raises ``NotFoundError``."""

    def delete(self, digests: Sequence[str], session: Session | None = None) -> int:
        """Remove blobs; how many bytes that frees, 0 for those that are not there.

        A store in the catalogue does so in the write transaction ``session``, which keeps writers from referring to
        them meanwhile. Elsewhere it is done at once, and ``removal.marked`` keeps writers away.
        """


def from_store(blobs: BlobStore, digest: str, session: Session | None = None) -> bytes:
    """The bytes of one blob as ``get`` gives them, from the store itself and never from a cache."""
    (read,) = blobs.read_each([digest], session)
    return read()


def checked_digest(digest: str) -> str:
    """``digest`` if it is written ``sha256:`` and 64 hex digits, else ``UsageError``."""
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise UsageError(f"{digest!r} is not a digest", "A digest is sha256: and 64 hex digits.")
    return digest


def check_range(offset: int, nbytes: int) -> None:
    """``UsageError`` unless both are 0 or more."""
    if offset < 0 or nbytes < 0:
        raise UsageError(f"{nbytes} bytes from {offset} is not a range", "Both must be 0 or more.")


def check_kept(blobs: BlobStore, digest: str) -> None:
    """Raise ``RegistryError`` unless a blob that was just stored is still there. Called in the write transaction that
    refers to it: while that lasts, nothing can remove the blob."""
    if digest not in blobs:
        raise RegistryError(
            "caa gc removed bytes that were just stored",
            "Nothing was written. Try again; with a grace period of hours this does not happen.",
        )
