"""Ways of doing one thing, timed in turn and equally often, with the result of every run kept for comparison."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Timed:
    """What one way took, and what it gave, in each turn."""

    seconds: list[float] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def in_turn(ways: Mapping[str, Callable[[], Any]], turns: int) -> dict[str, Timed]:
    """Run every way once in each turn. Who goes first moves on by one a turn, so that no way has a place of its own."""
    timed = {name: Timed() for name in ways}
    names = list(ways)
    for turn in range(turns):
        for place in range(len(names)):
            name = names[(place + turn) % len(names)]
            start = time.perf_counter()
            result = ways[name]()
            timed[name].seconds.append(time.perf_counter() - start)
            timed[name].results.append(result)
    return timed
