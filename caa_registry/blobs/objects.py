"""What a place outside the catalogue has to do for a blob store: keep named bytes. A place is one file and one line in
``location.PLACES``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

CLAIM = "caa-blobs.json"
"""The object that says whose blobs a place holds."""
FOLDER = "sha256"
"""What the names of all blobs begin with."""


@dataclass(frozen=True)
class Stored:
    """An object that is there. ``size``: in bytes; ``changed``: when it was last written."""

    name: str
    size: int
    changed: datetime


class Objects(Protocol):
    """Named bytes in one place, which ``shown`` may be printed as. Names are ``name_of`` a digest, or ``CLAIM``.

    Every method raises ``BlobStoreError`` where the place is not there, cannot be reached or refuses a request, and
    ``WriteError`` where a disk takes no more; each in one sentence that holds no secret.
    """

    @property
    def shown(self) -> str: ...

    @property
    def remote(self) -> bool:
        """Whether a request takes so long that several are sent at once, and that what was read is kept."""

    def prepare(self, *, shared: bool) -> None:
        """Make the place ready for its first object, where it can be made. ``shared``: the umask decides who may use
        it. Raises ``UsageError`` where it is taken by something else."""

    def remove_place(self) -> None:
        """Take back what ``prepare`` made."""

    def write(self, name: str, data: bytes, *, replace: bool = True) -> bool:
        """Keep ``data`` durably under ``name``, whole or not at all; whether it was written: without ``replace`` it is
        not where the name is taken."""

    def read(self, name: str, offset: int = 0, nbytes: int | None = None) -> bytes | None:
        """The bytes of an object, or ``nbytes`` of them from ``offset``, fewer where it ends before; ``None`` where it
        is not there."""

    def stat(self, name: str) -> Stored | None:
        """The object of that name."""

    def ls(self) -> Iterator[Stored]:
        """All objects whose names begin with ``FOLDER``."""

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects; those that are not there are passed over. It returns once they are gone."""


def name_of(digest: str) -> str:
    """The name of a blob: ``sha256/ab/ab12...``. A folder of them stays of a size that can be listed."""
    figures = digest.removeprefix("sha256:")
    return f"{FOLDER}/{figures[:2]}/{figures}"


def digest_of(name: str) -> str | None:
    """The digest of the blob of that name; ``None`` for the name of something else."""
    figures = name.rpartition("/")[2]
    digest = f"sha256:{figures}"
    return (
        digest
        if len(figures) == 64 and name == name_of(digest) and not set(figures) - set("0123456789abcdef")
        else None
    )
