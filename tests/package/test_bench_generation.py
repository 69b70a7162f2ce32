"""The benchmark of generation: texts that must be equal are compared, and every way runs equally often."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import bench_generation

    monkeypatch.setattr(
        bench_generation, "QUICK", {"layers": 2, "hidden": 64, "ffn": 96, "heads": 2, "vocabulary": 600}
    )
    monkeypatch.setattr(sys, "argv", ["bench_generation.py", "--quick", "--json", "--tokens", "14", "--repeats", "2"])
    return bench_generation


def test_what_is_equal_is_found_equal(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main() == 0
    figures: dict[str, Any] = json.loads(capsys.readouterr().out)
    ways = ("plain", "unsteered", "one_layer", "all_layers")
    assert {f"{way}_ms_per_token" for way in ways} <= set(figures)
    assert figures["plain_overhead"] == 0 and figures["turns"] == 2


def test_another_text_is_no_figure(
    bench: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = bench.plain

    def other(*arguments: Any) -> Iterator[str]:
        yield from right(*arguments)
        yield "!"

    monkeypatch.setattr(bench, "plain", other)
    assert bench.main() == 1
    shown = capsys.readouterr()
    assert "not mlx-lm's" in shown.err and shown.out == ""


def test_ways_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from bench_turns import in_turn

    order: list[str] = []
    timed = in_turn({name: lambda name=name: order.append(name) for name in "abc"}, 4)  # type: ignore[misc]
    assert "".join(order) == "abcbcacababc"
    assert {name: (len(way.seconds), len(way.results)) for name, way in timed.items()} == dict.fromkeys("abc", (4, 4))
