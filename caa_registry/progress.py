"""How long work reports: ``progress(done, total)``, called from the thread that works."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """Report nothing."""
