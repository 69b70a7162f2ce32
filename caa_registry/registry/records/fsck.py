"""What checking a whole registry found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be. ``check``: what looked; ``thing``: what it is about, as people call it.

    ``harmless``: it takes space, and nothing is lost or wrong.
    """

    check: str
    thing: str
    problem: str
    harmless: bool = False


@dataclass(frozen=True)
class FsckReport:
    """What was looked at, by check, and what was found."""

    checked: Mapping[str, int]
    findings: tuple[Finding, ...]

    @property
    def damage(self) -> tuple[Finding, ...]:
        """The findings that are not harmless."""
        return tuple(finding for finding in self.findings if not finding.harmless)
