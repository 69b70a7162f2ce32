"""The benchmark of looking after a registry: it prints its figures, and none where something is wrong."""

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
    import bench_maintenance

    monkeypatch.setattr(bench_maintenance, "TURNS", 3)
    monkeypatch.setattr(bench_maintenance, "READS", 5)
    monkeypatch.setattr(sys, "argv", ["bench_maintenance.py", "--json", "--versions", "8"])
    return bench_maintenance


def test_it_prints_every_figure(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.main()
    figures = json.loads(capsys.readouterr().out)
    assert {"layer_ms", "fsck_speed", "backup_speed", "gc_s", "reader_waited_s"} <= figures.keys()
    assert all(value >= 0 for value in figures.values())


def test_a_registry_that_is_damaged_gives_no_figure(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill = bench.fill

    def damage(registry: Any, versions: int) -> None:
        fill(registry, versions)
        with registry.database.write() as session:
            connection = session.connection()
            (trigger,) = connection.exec_driver_sql(
                "SELECT sql FROM sqlite_master WHERE name = 'keep_blob_update'"
            ).fetchone()
            connection.exec_driver_sql("DROP TRIGGER keep_blob_update")
            connection.exec_driver_sql("UPDATE blob SET size = 1")
            connection.exec_driver_sql(trigger)

    monkeypatch.setattr(bench, "fill", damage)
    with pytest.raises(SystemExit) as stopped:
        bench.main()
    shown = capsys.readouterr()
    assert stopped.value.code == 1 and "WRONG: fsck found" in shown.err and "fsck_speed" not in shown.out
