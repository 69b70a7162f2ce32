"""A page of a listing."""

from __future__ import annotations

from caa_registry.display.listing import Listing as Listing
from caa_registry.errors import UsageError


def check_limit(limit: int | None) -> int | None:
    """``limit`` if a listing can have so many rows at most; ``None`` is no limit. Raises ``UsageError``."""
    if limit is not None and limit < 1:
        raise UsageError(f"a limit of {limit} rows shows nothing", "Give 1 or more, or none for all rows.")
    return limit
