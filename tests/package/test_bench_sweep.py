"""The benchmark of sweeps: what it compares, and that a difference is no figure."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import bench_sweep

    monkeypatch.setattr(bench_sweep, "SIZE", {"layers": 2, "hidden": 64, "ffn": 96, "heads": 2, "vocabulary": 600})
    monkeypatch.setattr(sys, "argv", ["bench_sweep.py", "--quick", "--json", "--questions", "2", "--repeats", "1"])
    return bench_sweep


def test_the_naive_loop_and_ours_agree(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main() == 0
    figures: dict[str, Any] = json.loads(capsys.readouterr().out)
    for name in ("random", "demo"):
        for positions in ("after_prompt", "all"):
            assert figures[f"{name}_{positions}_difference"] <= 1e-4
            # Steering moves the answers, else agreement would say nothing.
            assert figures[f"{name}_{positions}_moved"] > 1e-3
            assert figures[f"{name}_{positions}_ratio"] > 0


def test_where_they_differ_no_ratio_is_printed(
    bench: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = bench.ours
    monkeypatch.setattr(bench, "ours", lambda *arguments: right(*arguments) + 2e-4)
    assert bench.main() == 1
    shown = capsys.readouterr()
    assert "more than 0.0001" in shown.err and shown.out == ""
