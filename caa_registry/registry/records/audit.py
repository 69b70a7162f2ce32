"""Entries of the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from caa_registry.catalog.events import AuditCheck as AuditCheck
from caa_registry.display.records import Record


@dataclass(frozen=True)
class AuditEvent(Record):
    """Something that was done: ``action`` by ``actor``, to what ``subject`` says. ``digest`` covers all of it and
    ``previous``, the digest of the event before."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: Mapping[str, Any]
    previous: str
    digest: str
