"""The conditions of a verdict by name, apart from what looks at them, so that the command line can list them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from caa_registry.errors import UsageError

ConditionName = Literal["interval", "null", "answers", "leaks", "kl", "grid"]
CONDITIONS: tuple[ConditionName, ...] = get_args(ConditionName)


def check_conditions(names: Sequence[str]) -> tuple[ConditionName, ...]:
    """``names`` if all of them are conditions, else ``UsageError``."""
    for name in names:
        if name not in CONDITIONS:
            raise UsageError(f"there is no condition {name!r}", f"Conditions: {', '.join(CONDITIONS)}.")
    return tuple(condition for condition in CONDITIONS if condition in names)
