"""Recalls of pairs and dataset versions, and vectors and evaluations quarantined by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from caa_registry.digests import short
from caa_registry.display.records import Record


@dataclass(frozen=True)
class Recall(Record):
    """A recall that stands, or a quarantine. ``what``: the digest of a pair, or the reference of a dataset version,
    vector version or evaluation."""

    what: str
    why: str
    actor: str
    created_at: datetime
    pair: str | None = field(default=None, repr=False)
    version_id: int | None = field(default=None, repr=False)
    vector_id: int | None = field(default=None, repr=False)
    evaluation_id: int | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """What ``provenance.reach`` calls it."""
        if self.vector_id is not None:
            return f"vector {self.vector_id}"
        if self.evaluation_id is not None:
            return f"evaluation {self.evaluation_id}"
        return self.pair or str(self.version_id)

    @property
    def reason(self) -> str:
        """What was recalled or quarantined, and why."""
        if self.vector_id is not None or self.evaluation_id is not None:
            return f"{self.what} was quarantined: {self.why}"
        return f"{f'pair {short(self.pair)}' if self.pair else self.what} was recalled: {self.why}"
