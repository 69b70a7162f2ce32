"""Progress of work that resumes where it was interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from caa_registry.cli import output
from caa_registry.progress import Progress


@contextmanager
def kept(label: str) -> Iterator[Progress]:
    """A bar for work that keeps what it has done when it is interrupted, and a message that says so then."""
    measured = 0

    def counted(done: int, total: int) -> None:
        nonlocal measured
        measured = done
        progress(done, total)

    with output.progress(label) as progress:
        try:
            yield counted
        except KeyboardInterrupt:
            if measured:
                output.message("What was measured is kept: run the same command again to resume.")
            raise
