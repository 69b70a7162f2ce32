"""How much a test tried, which the summary of the run repeats (``tests/conftest.py``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Tried = Callable[[str], None]
"""The fixture ``tried``."""


def listed(figures: Mapping[str, int]) -> str:
    """``figures`` in one line."""
    return ", ".join(f"{count} {name}" for name, count in figures.items())
