"""The controls by name, apart from what computes them, so that the command line can list them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from caa_registry.errors import UsageError

ControlName = Literal["random", "shuffled"]
CONTROLS: tuple[ControlName, ...] = ("random", "shuffled")


def check_controls(names: Sequence[str]) -> None:
    """Raise ``UsageError`` for a control that does not exist."""
    for name in names:
        if name not in CONTROLS:
            raise UsageError(f"there is no control {name!r}", f"Choose of {', '.join(CONTROLS)}.")
