"""What a verdict is asked by name, its direction and its conditions, apart from what looks at them, so that the command
line can list them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from caa_registry.errors import UsageError

ConditionName = Literal["interval", "null", "answers", "leaks", "kl", "grid"]
CONDITIONS: tuple[ConditionName, ...] = get_args(ConditionName)

Direction = Literal["more", "less"]
"""Whether a behavior is to be raised or lowered."""


def check_conditions(names: Sequence[str]) -> tuple[ConditionName, ...]:
    """``names`` if all of them are conditions, else ``UsageError``."""
    for name in names:
        if name not in CONDITIONS:
            raise UsageError(f"there is no condition {name!r}", f"Conditions: {', '.join(CONDITIONS)}.")
    return tuple(condition for condition in CONDITIONS if condition in names)


def check_direction(direction: str) -> Direction:
    """``direction`` if it is one, else ``UsageError``."""
    for known in get_args(Direction):
        if direction == known:
            return known  # type: ignore[no-any-return]
    raise UsageError(f"there is no direction {direction!r}", f"Choose one of {', '.join(get_args(Direction))}.")
