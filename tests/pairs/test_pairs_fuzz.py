"""Damaged files end in rows or in an error for people. ``scripts/check_fuzz.py --count 5000`` does it at length."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))

from fuzz_imports import TARGETS, Target, check


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_damage_gives_rows_or_an_error_for_people(target: Target) -> None:
    outcomes, failures = check(target, 300)
    assert failures == [] and outcomes["refused"] > 0


def test_another_error_is_found() -> None:
    (name, make) = (TARGETS[0].name, TARGETS[0].make)
    outcomes, failures = check(Target(name, make, lambda data, folder: data.index(b"no such bytes")), 3)
    assert outcomes["failed"] == len(failures) == 3
