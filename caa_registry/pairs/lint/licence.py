"""The rule about the licence of a set."""

from __future__ import annotations

from collections.abc import Iterator

from caa_registry.pairs.lint.findings import Finding
from caa_registry.pairs.lint.rows import Subject


def unknown_licence(subject: Subject) -> Iterator[Finding]:
    """A set without a licence."""
    if not subject.licence:
        yield Finding("unknown-licence", "no licence is recorded")
