"""The benchmark of answers: ways that must give the same are compared before a figure is printed."""

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
    import bench_answers

    monkeypatch.setattr(bench_answers, "QUICK", {"layers": 2, "hidden": 64, "ffn": 96, "heads": 2, "vocabulary": 600})
    small = ["--questions", "6", "--tokens", "8", "--repeats", "2"]
    monkeypatch.setattr(sys, "argv", ["bench_answers.py", "--quick", "--json", *small])
    return bench_answers


def test_what_is_equal_is_found_equal(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main() == 0
    figures: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert figures["questions_batch_generate_ratio"] > 0 and figures["questions_this_package_ratio"] == 1
    assert figures["questions_this_package_tokens"] == figures["questions_batch_generate_tokens"] == 6 * 8
    assert 0 < figures["answers_of_many_lengths_this_package_tokens"] < 6 * 8
    assert figures["three_multipliers_a_batch_each_tokens"] == 2 * 3 * 8
    assert figures["prompt_tokens_least"] < figures["prompt_tokens_most"] < figures["system_tokens"]
    assert figures["turns"] == 2


def test_other_tokens_are_no_figure(
    bench: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = bench.theirs

    def other(*given: Any, **options: Any) -> Any:
        return {place: (*ids, 0) for place, ids in right(*given, **options).items()}

    monkeypatch.setattr(bench, "theirs", other)
    assert bench.main() == 1
    shown = capsys.readouterr()
    assert "questions: two ways or turns gave different answers" in shown.err and shown.out == ""
