"""The benchmark of large registries: what it writes is what it finds, and a wrong answer is no figure."""

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
    import bench_registry

    monkeypatch.setattr(bench_registry, "QUICK", (80, 160))
    monkeypatch.setattr(bench_registry, "QUICK_STARTS", 1)
    monkeypatch.setattr(sys, "argv", ["bench_registry.py", "--json", "--quick"])
    return bench_registry


def test_every_call_takes_as_many_statements_at_both_sizes(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main() == 0
    shown = capsys.readouterr()
    figures: dict[str, float] = json.loads(shown.out)
    for name in ("vectors", "evaluations", "leaderboard_behavior", "lineage", "lineage_diamonds"):
        assert figures[f"{name}_80_statements"] == figures[f"{name}_160_statements"] > 0
        assert figures[f"{name}_160_seconds"] > 0
    assert figures["vector_ls_ratio"] > 0
    assert "The number of statements is the same at all sizes." in shown.err


def test_a_wrong_answer_prints_no_figure(
    bench: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = bench.calls
    monkeypatch.setattr(
        bench, "calls", lambda registry: calls(registry) | {"aliases": lambda: registry.aliases.ls()[1:]}
    )
    assert bench.main() == 1
    shown = capsys.readouterr()
    assert shown.out == "" and "aliases: 19, not 20" in shown.err


def test_a_call_that_asks_row_by_row_is_named(
    bench: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = bench.calls

    def one_by_one(registry: Any) -> Any:
        return [registry.evaluations.get(evaluation.id) for evaluation in registry.evaluations.ls()]

    monkeypatch.setattr(
        bench, "calls", lambda registry: calls(registry) | {"evaluations": lambda: one_by_one(registry)}
    )
    assert bench.main() == 1
    assert "grows with the registry: evaluations." in capsys.readouterr().err
