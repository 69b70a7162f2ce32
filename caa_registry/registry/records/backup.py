"""A copy of a registry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from caa_registry.display.records import Record


@dataclass(frozen=True)
class Backup(Record):
    """A copy that was written and read again. ``size``: in bytes; ``events``: how many its log has, and ``head``: the
    digest of the last; ``removed``: older copies that made room for it; ``lost``: the digests of blobs that the
    registry refers to, and that its store outside the database has lost."""

    path: Path
    size: int
    events: int
    head: str
    removed: tuple[Path, ...] = ()
    lost: tuple[str, ...] = ()
