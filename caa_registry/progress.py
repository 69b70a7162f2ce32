"""How long work reports: ``progress(done, total)``, called from the thread that asked for the work."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """Report nothing."""


def part_of(progress: Progress, place: int, parts: int) -> Progress:
    """The progress of one of several equal parts, the one at ``place``, as progress of the whole."""
    return lambda done, total: progress(place * total + done, parts * total)
