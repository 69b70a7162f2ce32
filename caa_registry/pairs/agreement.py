"""Reviews of pairs: the states, and how far two reviewers agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from caa_registry.display.records import Record
from caa_registry.errors import UsageError

State = Literal["proposed", "accepted", "rejected", "needs-work"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True)
class Agreement(Record):
    """Of the ``n`` pairs that both decided they gave ``same`` the same state.

    ``kappa`` is Cohen's (1960): (p_o - p_e) / (1 - p_e), with the share p_o of equal states and the share p_e that the
    states' frequencies explain; ``None`` where both gave one single state to all, which chance explains whole.
    """

    one: str
    other: str
    n: int
    same: int
    kappa: float | None


def agreement(one: str, first: Mapping[str, State], other: str, second: Mapping[str, State]) -> Agreement:
    """How far reviewers ``one`` and ``other`` agree, by what each said of pairs."""
    both = sorted(first.keys() & second.keys())
    states = [[decided[pair] for pair in both] for decided in (first, second)]
    same = sum(a == b for a, b in zip(*states, strict=True))
    kappa = None
    if len({state for decided in states for state in decided}) > 1:
        from sklearn.metrics import cohen_kappa_score

        kappa = float(cohen_kappa_score(*states))
    return Agreement(one, other, len(both), same, kappa)


def check_state(state: str) -> State:
    """``state`` if it is one, else ``UsageError``."""
    for known in STATES:
        if state == known:
            return known
    raise UsageError(f"there is no state {state!r}", f"States: {', '.join(STATES)}.")
