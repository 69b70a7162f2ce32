"""Which token is read, by name. Apart from the code that reads, which needs MLX."""

from __future__ import annotations

from typing import Literal, get_args

from caa_registry.errors import UsageError

ReadPosition = Literal["answer", "last", "mean"]
READ_POSITIONS: tuple[ReadPosition, ...] = get_args(ReadPosition)


def check_read(read: str) -> ReadPosition:
    """``read`` if it is known, else ``UsageError``."""
    for known in READ_POSITIONS:
        if read == known:
            return known
    raise UsageError(f"there is no read position {read!r}", f"Choose one of {', '.join(READ_POSITIONS)}.")
