"""The benchmark of curation: what it plants is found, and a wrong step is no figure."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import bench_datasets

    monkeypatch.setattr(bench_datasets, "PLANTED", 20)
    monkeypatch.setattr(bench_datasets, "CHANGED", 30)
    monkeypatch.setattr(bench_datasets, "COMPARED", 300)
    monkeypatch.setattr(sys, "argv", ["bench_datasets.py", "--json", "--pairs", "600"])
    return bench_datasets


def test_every_step_finds_what_was_planted(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main() == 0
    figures: dict[str, float] = json.loads(capsys.readouterr().out)
    assert figures["pairs"] == 600
    for name in bench.LIMITS:
        assert figures[f"{name}_seconds"] > 0 and figures[f"{name}_megabytes"] > 10
    assert figures["near_ratio"] > 0


def test_a_step_that_says_something_else_prints_no_time(
    bench: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = bench.rows
    monkeypatch.setattr(bench, "rows", lambda count: [*right(count)[:-1], right(count)[0]])
    assert bench.main() == 1
    shown = capsys.readouterr()
    assert shown.out == "" and "lint: " in shown.err
