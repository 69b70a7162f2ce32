"""How long work reports: ``progress(done, total)``, called from the thread that asked for the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

Progress = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """Report nothing."""


def part_of(progress: Progress, place: int, weights: Sequence[int]) -> Progress:
    """The progress of one of several parts, the one at ``place``, as progress of the whole. ``weights``: how much work
    each is beside the others."""
    before, own, all = sum(weights[:place]), weights[place], sum(weights)
    return lambda done, total: progress(before * total + own * done, all * total)


def phase(label: str) -> Progress:
    """The progress of what comes before the work that was asked for, such as ``loading``. It is shown where somebody
    ``shows_phases``, and may be called from any thread."""
    return _phases.get()(label)


@contextmanager
def shows_phases(show: Callable[[str], Progress]) -> Iterator[None]:
    """Have ``phase`` ask ``show`` while the context lasts, in this thread and in work that it asks for."""
    token = _phases.set(show)
    try:
        yield
    finally:
        _phases.reset(token)


_phases: ContextVar[Callable[[str], Progress]] = ContextVar("_phases", default=lambda label: silent)
