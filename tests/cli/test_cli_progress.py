"""Bars count work, and long work says how long it will take."""

from __future__ import annotations

import pytest

from caa_registry.cli import output
from caa_registry.progress import part_of


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("caa_registry.cli.output.time.monotonic", lambda: now[0])
    return now


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_long_work_says_once_how_long_it_will_take(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress("scores") as progress:
        progress(0, 1000)
        clock[0] += 1
        progress(5, 1000)
        assert said(capsys) == ""  # too early to say
        clock[0] += 4
        progress(10, 1000)
        assert said(capsys) == "This step takes about 8 min more on this machine.\n"
        clock[0] += 500
        progress(20, 1000)
        assert said(capsys) == ""


def test_what_was_kept_is_not_taken_for_speed(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress("scores") as progress:
        progress(500, 1000)
        clock[0] += 200
        progress(510, 1000)
    assert said(capsys) == "This step takes about 2 h 43 min more on this machine.\n"


def test_every_step_shows_its_own_speed(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress("scores") as progress:
        for done in range(11):
            progress(done, 10)
            clock[0] += 1
        progress(0, 1000)
        progress(10, 1000)
        assert said(capsys) == ""  # the time of the step before is none of this one
        clock[0] += 10
        progress(20, 1000)
        assert said(capsys) == "This step takes about 8 min more on this machine.\n"


def test_short_work_says_nothing(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress("scores") as progress:
        for done in range(11):
            progress(done, 10)
            clock[0] += 3
        progress(0, 0)
    assert said(capsys) == ""


def test_parts_weigh_what_they_cost() -> None:
    told: list[tuple[int, int]] = []
    for place, total in enumerate((7, 3)):
        part = part_of(lambda *at: told.append(at), place, [9, 1])
        part(0, total)
        part(total, total)
    assert [done / total for done, total in told] == [0, 0.9, 0.9, 1]
