"""Runs, and what was made from what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class RunRecord:
    """One recorded activity: what was asked, where and by whom."""

    id: int
    kind: str
    actor: str
    parameters: Mapping[str, Any]
    environment: Mapping[str, Any]
    started_at: datetime
    finished_at: datetime


@dataclass(frozen=True)
class LineageNode:
    """A thing, the run that made it with its inputs (upwards), and what was made from it (downwards)."""

    kind: str
    reference: str
    digest: str
    run: RunRecord | None = None
    inputs: Sequence[LineageNode] = ()
    outputs: Sequence[LineageNode] = ()
    aliases: Sequence[str] = ()
