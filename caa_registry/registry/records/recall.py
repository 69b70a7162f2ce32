"""Recalls of pairs and dataset versions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class Recall:
    """A recall that stands. ``what``: the digest of a pair, or the reference of a dataset version."""

    what: str
    why: str
    actor: str
    created_at: datetime
    pair: str | None = field(default=None, repr=False)
    version_id: int | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """What ``provenance.reach`` calls it."""
        return self.pair or str(self.version_id)
