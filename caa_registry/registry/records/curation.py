"""What curation and replay did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from caa_registry.display.records import Record
from caa_registry.pairs.record import PairItem
from caa_registry.registry.records.dataset import DatasetVersion


@dataclass(frozen=True)
class Curated(Record):
    """What an operation did, or would do. ``version``: what was made or found, none in a dry run and where nothing
    changed. ``before`` and ``after``: rows by split. ``removed`` and ``added``: how many rows, as pairs in their
    splits, only one of the two has; ``examples`` of each. ``notes``: what the operation did, in sentences."""

    _facts: ClassVar = "version changed before after removed added notes"

    name: str
    version: DatasetVersion | None
    before: Mapping[str, int]
    after: Mapping[str, int]
    removed: int
    added: int
    examples: Mapping[str, Sequence[PairItem]]
    notes: Sequence[str]

    @property
    def changed(self) -> bool:
        return bool(self.removed or self.added)


@dataclass(frozen=True)
class Step(Record):
    """One step of a recipe that was done again. ``expected`` and ``found``: digests of what it gave then and now."""

    _facts: ClassVar = "dataset what same expected found"
    _columns: ClassVar = "dataset what same expected found"

    dataset: str
    what: str
    expected: str
    found: str

    @property
    def same(self) -> bool:
        return self.expected == self.found
