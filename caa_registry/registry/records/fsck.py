"""What checking a whole registry found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from caa_registry.display.records import Record, Table


@dataclass(frozen=True)
class Fault(Record):
    """Something that is not as it should be. ``check``: what looked; ``thing``: what it is about, as people call it.

    ``harmless``: it takes space, and nothing is lost or wrong.
    """

    check: str
    thing: str
    problem: str
    harmless: bool = False


@dataclass(frozen=True)
class Repaired(Record):
    """What was done about damage. ``indexes``: they were made anew; ``quarantined``: what is damaged, as people call
    it; ``search``: the index of words was made anew."""

    indexes: bool
    quarantined: tuple[str, ...]
    search: bool = False


@dataclass(frozen=True)
class FsckReport(Table):
    """What was looked at, by check, and what was found."""

    _facts: ClassVar = "checked"

    checked: Mapping[str, int]
    faults: tuple[Fault, ...]

    def _rows(self) -> Sequence[Fault]:
        return self.faults

    @property
    def damage(self) -> tuple[Fault, ...]:
        """The faults that are not harmless."""
        return tuple(fault for fault in self.faults if not fault.harmless)
