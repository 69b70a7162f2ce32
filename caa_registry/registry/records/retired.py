"""What was freed of what was deleted."""

from __future__ import annotations

from dataclasses import dataclass

from caa_registry.display.records import Record


@dataclass(frozen=True)
class Collected(Record):
    """What ``gc`` removed, or would remove: the contents of ``versions`` and ``evaluations`` (by number); how many
    ``pairs`` that nothing else holds; how many ``blobs``, and their ``bytes``."""

    versions: tuple[str, ...]
    evaluations: tuple[int, ...]
    pairs: int
    blobs: int
    bytes: int
