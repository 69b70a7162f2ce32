"""Dataset versions and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from caa_registry.pairs.lint.findings import Finding
from caa_registry.pairs.record import DatasetKind


def behavior_of(name: str, source: Mapping[str, Any]) -> str:
    """The behavior of a dataset of that name and source: as the import said, else the last part of the name."""
    return str(source.get("behavior") or name.rsplit("/", 1)[-1])


@dataclass(frozen=True)
class DatasetVersion:
    """One immutable version of a dataset.

    ``splits``: split -> number of rows. ``existing``: the call found this version rather than made it. ``recalled``:
    why it, or a pair of it, was recalled; empty where nothing was.
    """

    id: int = field(repr=False)
    name: str
    number: int
    digest: str
    kind: DatasetKind
    n_items: int
    splits: Mapping[str, int]
    source: Mapping[str, Any] = field(repr=False)
    licence: str
    message: str
    parent: str | None
    created_at: datetime
    aliases: Sequence[str] = ()
    existing: bool = False
    recalled: str = ""

    @property
    def reference(self) -> str:
        return f"{self.name}:v{self.number}"

    @property
    def behavior(self) -> str:
        """What its pairs contrast: as the import said, else the last part of its name."""
        return behavior_of(self.name, self.source)

    @property
    def notes(self) -> Sequence[str]:
        """What the import noticed about the rows."""
        return tuple(self.source.get("notes", ()))


@dataclass(frozen=True)
class LintReport:
    """What lint found in a dataset version. ``parameters``: thresholds, and beside which sets and model; ``summary``:
    ``score`` of 100, ``errors``, ``warnings``, ``infos``, ``counts`` by rule and ``figures`` of the whole set."""

    id: int
    dataset: str
    parameters: Mapping[str, Any]
    summary: Mapping[str, Any]
    findings: Sequence[Finding]
    actor: str
    created_at: datetime
