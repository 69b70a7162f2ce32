"""How dataset versions came about, and where a pair is held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from caa_registry.display.records import Record
from caa_registry.pairs.record import Pair
from caa_registry.registry.records.dataset import DatasetVersion
from caa_registry.registry.records.recall import Recall
from caa_registry.registry.records.review import Decision


@dataclass(frozen=True)
class LogEntry(Record):
    """A version with who made it, how, and how many rows it added and removed since its parent."""

    _columns: ClassVar = "version actor what added removed"

    version: DatasetVersion
    actor: str
    what: str
    added: int
    removed: int


@dataclass(frozen=True)
class Blame(Record):
    """A pair and all that holds it: ``versions`` as (reference, split, row of the source), ``vectors`` as references,
    ``evaluations`` by number, ``reviews`` as (dataset, decision), and the ``recalls`` that stand against it."""

    digest: str
    pair: Pair
    versions: Sequence[tuple[str, str, int | None]]
    vectors: Sequence[str]
    evaluations: Sequence[int]
    reviews: Sequence[tuple[str, Decision]]
    recalls: Sequence[Recall]
