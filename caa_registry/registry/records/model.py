"""Models."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from caa_registry.display.records import Record
from caa_registry.models.folder.fingerprint import ModelInfo


@dataclass(frozen=True)
class ModelRecord(Record):
    """A model the registry knows. ``vectors``: how many vector versions were computed on it."""

    id: int = field(repr=False)
    info: ModelInfo
    created_at: datetime
    vectors: int = 0
