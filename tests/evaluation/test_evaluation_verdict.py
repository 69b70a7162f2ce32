"""What may be recommended: each condition alone decides, and what is accepted is marked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from caa_registry.errors import UsageError
from caa_registry.evaluation.calibration import Choice
from caa_registry.evaluation.conditions import CONDITIONS, check_conditions
from caa_registry.evaluation.inference.intervals import Interval
from caa_registry.evaluation.inference.p_values import NullTest
from caa_registry.evaluation.inference.power import Power
from caa_registry.evaluation.verdict import Answering, Verdict, verdict

CHOICE = Choice(
    3,
    1.5,
    kl=Interval(0.1, 0.05, 0.15, 40),
    score_a=Interval(0.8, 0.7, 0.9, 20),
    score_b=Interval(0.8, 0.7, 0.9, 20),
    effect_a=Interval(0.3, 0.2, 0.4, 20),
    effect_b=Interval(0.3, 0.2, 0.4, 20),
    tied=(),
    power_b=Power(20, 20, 0.1, 6),
)
NULL = NullTest(0.005, 0, 199)
GOOD: dict[str, Any] = {"leaked": 0, "target_kl": 0.2, "at_the_end": False}


def judged(choice: Choice = CHOICE, null: NullTest = NULL, mass: float | None = 0.9, **change: Any) -> Verdict:
    saturated = change.pop("saturated", 0.0)
    return verdict(choice, null, Answering(mass, saturated), **{**GOOD, **change})


def test_all_conditions_hold() -> None:
    found = judged()
    assert found.passed and not found.failed
    assert tuple(condition.name for condition in found.conditions) == CONDITIONS


@pytest.mark.parametrize(
    ("name", "change", "figure"),
    [
        ("interval", {"choice": replace(CHOICE, effect_b=Interval(0.1, 0.0, 0.2, 20))}, "0.000 .. 0.200"),
        ("interval", {"choice": replace(CHOICE, effect_b=Interval(0.1, None, None, 4))}, "too few questions"),
        ("null", {"null": NullTest(0.055, 10, 199)}, "p = 0.055 (10 of 199"),
        ("answers", {"mass": 0.49}, "0.490 of the mass"),
        ("answers", {"mass": None, "saturated": 0.6}, "0.600 of the texts"),
        ("leaks", {"leaked": 2}, "2 questions"),
        ("kl", {"choice": replace(CHOICE, kl=Interval(0.1, 0.05, 0.21, 40))}, "at most 0.210"),
        ("kl", {"choice": replace(CHOICE, kl=Interval(0.1, None, None, 3))}, "too few passages"),
        ("grid", {"at_the_end": True}, "larger multiplier"),
    ],
)
def test_each_condition_alone_decides(name: str, change: dict[str, Any], figure: str) -> None:
    found = judged(**change)
    assert not found.passed
    (failed,) = found.failed
    assert failed.name == name and figure in failed.figure
    accepted = judged(**change, accepted=(name,))
    assert accepted.passed and [c.name for c in accepted.conditions if c.accepted] == [name]


def test_what_holds_is_not_marked_as_accepted() -> None:
    assert not any(condition.accepted for condition in judged(accepted=CONDITIONS).conditions)


def test_unknown_conditions_are_refused() -> None:
    assert check_conditions(["kl", "interval"]) == ("interval", "kl")
    with pytest.raises(UsageError, match="there is no condition 'luck'"):
        check_conditions(["luck"])
