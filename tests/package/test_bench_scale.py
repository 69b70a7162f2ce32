"""The benchmark of two commits runs every kind of work, and sees where results differ."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import bench_scale

    size = {"hidden": 64, "layers": 2, "ffn": 128, "heads": 2, "key_heads": 1, "vocabulary": 5000}
    monkeypatch.setattr(bench_scale, "SHAPE", size)
    return bench_scale


@pytest.mark.parametrize("bits", [None, 4])
def test_every_work_is_done(bench: Any, bits: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAA_BENCH_FOLDER", str(tmp_path))
    monkeypatch.setenv("CAA_HOME", "")
    bench.write_model(tmp_path / "model", bits, 2)
    work = bench.Work()
    assert work.load(str(tmp_path / "model"), asdict(bench.QUICK))["gb"] > 0
    for name in bench.WORK:
        answer = work.run(name)
        assert answer["result"] and answer["gb"] > 0
        assert all(isinstance(value, str) or math.isfinite(value) for value in answer["result"])


def test_a_difference_is_seen(bench: Any) -> None:
    assert not bench.different([1.0, 2.0], [1.0, 2.000001])
    assert bench.different([1.0, 2.0], [1.0, 2.001]) and bench.different([1.0], [1.0, 2.0])
    assert bench.different(["a"], ["b"]) and not bench.different(["a"], ["a"])
