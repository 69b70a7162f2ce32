"""What is known of a file of vectors beside its numbers: which file it is, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from caa_registry.display.records import Record

Scale = Literal["raw", "unit", "layer-shares", "shared-norm", "unknown"]
"""Of which length the vectors are: as the method gave them; 1; with shares of layers in it; the mean norm of several
vectors; or nothing tells."""


@dataclass(frozen=True)
class FileDigest(Record):
    """A file that was read."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Claims(Record):
    """What a file says of itself and nothing here has checked; empty where it does not say.

    ``layers``: how many blocks the model has. ``reference``, ``digests``: the version of a registry that it was written
    from. ``statements``: the rest of what it says, as text.
    """

    model: str = ""
    revision: str = ""
    model_type: str = ""
    layers: int | None = None
    data: str = ""
    method: str = ""
    reference: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    statements: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**vars(self), "digests": dict(self.digests), "statements": dict(self.statements)}
