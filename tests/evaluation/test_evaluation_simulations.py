"""A few of the simulations of ``scripts/check_statistics.py``, of every kind; the script runs thousands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))
from check_statistics import RUNS, bound_of, planned
from simulation import Task

COUNT = 120


def some(what: str) -> list[Task]:
    """The first two tasks of a kind, of which the long form has many more."""
    return [task for task in planned(COUNT) if task.what == what][:2]


@pytest.mark.parametrize("what", RUNS)
def test_p_values_are_as_rare_and_intervals_as_sure_as_they_say(what: str) -> None:
    for task in some(what):
        for figure, hits in RUNS[what](task).items():
            assert not bound_of(figure).broken(hits / COUNT, COUNT), figure


def test_what_is_planted_is_recommended() -> None:
    planted = next(task for task in planned(COUNT) if task.what == "recommended" and task.options[1])
    (hits,) = RUNS["recommended"](planted).values()
    assert hits > COUNT / 2
