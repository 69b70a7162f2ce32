"""Which tokens are steered, by name. Separate from the code that steers, which needs MLX."""

from __future__ import annotations

from typing import Literal, get_args

from caa_registry.errors import UsageError

SteeredPositions = Literal["after_prompt", "all", "generated", "last"]
STEERED_POSITIONS: tuple[SteeredPositions, ...] = get_args(SteeredPositions)


def check_positions(positions: str) -> SteeredPositions:
    """``positions`` if they are known, else ``UsageError``."""
    for known in STEERED_POSITIONS:
        if positions == known:
            return known
    raise UsageError(f"there are no positions {positions!r}", f"Choose one of {', '.join(STEERED_POSITIONS)}.")
