"""Whether what a calibration found may be recommended: conditions that must hold, each with its figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from caa_registry.display.records import Record, Table
from caa_registry.evaluation.calibration import Choice
from caa_registry.evaluation.conditions import ConditionName
from caa_registry.evaluation.inference.p_values import NullTest
from caa_registry.wording import subject

LEVEL = 0.05
LEAST_MASS = 0.5
MOST_SATURATED = 0.5
"""Of free text, the share of items that are so sure of one side, with and without steering, that nothing could move."""


@dataclass(frozen=True)
class Condition(Record):
    """``name``: which; ``met``: whether it holds; ``figure``: the number that decides, in words. ``accepted``: it does
    not hold, and somebody wants the recommendation all the same."""

    name: ConditionName
    met: bool
    figure: str
    accepted: bool = False

    @property
    def holds(self) -> bool:
        return self.met or self.accepted


@dataclass(frozen=True)
class Verdict(Table):
    """What holds of the cell that was chosen, on the half that had no part in the choice."""

    _facts: ClassVar = ""

    conditions: tuple[Condition, ...]

    def _rows(self) -> Sequence[Condition]:
        return self.conditions

    @property
    def passed(self) -> bool:
        """Whether every condition holds or is accepted."""
        return all(condition.holds for condition in self.conditions)

    @property
    def failed(self) -> tuple[Condition, ...]:
        """Those that neither hold nor are accepted."""
        return tuple(condition for condition in self.conditions if not condition.holds)


@dataclass(frozen=True)
class Answering:
    """Whether there is anything to measure. ``mass``: of letters, the mean probability of all of them together at the
    chosen cell; ``None`` of free text. ``saturated``: the share of items beyond reach, as ``propensity.saturated``
    counts them at the chosen cell and without steering."""

    mass: float | None
    saturated: float


def verdict(
    choice: Choice,
    null: NullTest,
    answering: Answering,
    *,
    leaked: int,
    target_kl: float,
    at_the_end: bool,
    leaks_unknown: bool = False,
    accepted: Sequence[ConditionName] = (),
) -> Verdict:
    """The verdict about ``choice``. ``null``: of its effect; ``leaked``: how many questions are among the vector's own
    pairs; ``leaks_unknown``: whether there may be more, since not all of these are known; ``at_the_end``: whether a
    multiplier further out might do more."""
    effect, kl = choice.effect_b, choice.kl
    conditions = (
        Condition(
            "interval",
            effect.low is not None and effect.low > 0,
            "too few questions for an interval"
            if effect.low is None
            else f"the effect's interval is {effect.low:z.3f} .. {effect.high:z.3f}",
        ),
        Condition(
            "null",
            null.p_value <= LEVEL,
            f"p = {null.p_value:.3f} ({null.exceeding} of {null.draws} vectors that mean nothing do as much)",
        ),
        _answers(answering),
        _leaks(leaked, leaks_unknown),
        Condition(
            "kl",
            kl.high is not None and kl.high <= target_kl,
            "too few passages for an interval of KL"
            if kl.high is None
            else f"KL is {kl.value:.3f}, at most {kl.high:.3f} nats per token",
        ),
        Condition(
            "grid",
            not at_the_end,
            "a larger multiplier may do more" if at_the_end else "multipliers further out do less or cost too much",
        ),
    )
    return Verdict(tuple(replace(each, accepted=not each.met and each.name in accepted) for each in conditions))


def _leaks(leaked: int, unknown: bool) -> Condition:
    if unknown and not leaked:
        return Condition("leaks", False, "not all of the vector's own pairs are known: questions may be among them")
    return Condition("leaks", leaked == 0, f"{subject(leaked, 'question')} among the vector's own pairs")


def _answers(answering: Answering) -> Condition:
    if answering.mass is not None:
        return Condition("answers", answering.mass >= LEAST_MASS, f"the answers have {answering.mass:.3f} of the mass")
    share = answering.saturated
    return Condition(
        "answers", share <= MOST_SATURATED, f"{share:.3f} of the texts are so sure that nothing moves them"
    )
