"""What a store of content-addressed bytes promises, wherever it keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from sqlalchemy.orm import Session

from caa_registry.digests import DIGEST
from caa_registry.errors import RegistryError, UsageError


@dataclass(frozen=True)
class BlobStat:
    """A blob. ``size``: in bytes; ``stored_at``: when it was last stored, ``None`` where that was not noted."""

    digest: str
    size: int
    stored_at: datetime | None


@runtime_checkable
class BlobStore(Protocol):
    """Bytes by their digest. What was put is never changed.

    Digests are checked before use, so that text from outside never becomes part of a query or a path.
    """

    def put(self, data: bytes) -> str:
        """Store ``data`` durably and return its digest. Storing the same bytes again moves ``stored_at`` and changes
        nothing else."""

    def get(self, digest: str, session: Session | None = None) -> bytes:
        """The bytes of ``digest``, verified; where they are in the catalogue, as ``session`` sees it.

        Raises ``NotFoundError`` when they are not there and ``IntegrityError`` when they do not match.
        """

    def read_range(self, digest: str, offset: int, nbytes: int) -> bytes:
        """``nbytes`` from ``offset`` without reading the rest. Not verified: the caller knows their digest.

        Raises ``NotFoundError`` when the blob is not there and ``IntegrityError`` when it is too short.
        """

    def read_ranges(self, wanted: Sequence[tuple[str, int, int]], session: Session | None = None) -> list[bytes]:
        """As ``read_range`` of each ``(digest, offset, nbytes)`` of ``wanted``, some hundred at once; where they are in
        the catalogue, as ``session`` sees it."""

    def __contains__(self, digest: str) -> bool:
        """Whether bytes are stored under ``digest``."""

    def ls(self, session: Session | None = None) -> Iterator[str]:
        """The digests of all that is stored, in any order; of what is in the catalogue, as ``session`` sees it."""

    def stat(self, digest: str) -> BlobStat:
        """The size of a blob and when it was stored. Raises ``NotFoundError``."""

    def delete(self, digest: str, session: Session) -> int:
        """Remove a blob, in the write transaction ``session`` of the catalogue, which keeps writers from referring to
        it meanwhile; how many bytes that frees, 0 where it was not there."""


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
