"""Entries of the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class AuditEvent:
    """Something that was done: ``action`` by ``actor``, to what ``subject`` says. ``digest`` covers all of it and
    ``previous``, the digest of the event before."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: Mapping[str, Any]
    previous: str
    digest: str


@dataclass(frozen=True)
class AuditCheck:
    """An audit that holds. ``events``: how many; ``head``: the digest of the last one, empty where there is none;
    ``place``: which of them, counted from 1, has the digest that was asked for."""

    events: int
    head: str
    place: int | None = None
