"""The demo: its figures are the registry's, and the commands it prints do what it did."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from cli.command_line import caa


def test_the_demo_and_the_commands_it_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "demo.db"
    shown = caa("demo", "--registry", kept)
    assert shown.code == 0, shown.err
    monkeypatch.setenv("CAA_REGISTRY", str(kept))

    reported = [e for e in caa("eval", "ls", "--json").json if e["parameters"]["rows"] == "odd"]
    assert {e["vector"] for e in reported} == {"demo/sentiment:v1", "demo/sycophancy:v1"}
    for evaluation in reported:
        scores = [score for score in evaluation["scores"] if score["metric"] == evaluation["metric"]]
        values = [score["value"] for score in scores]
        assert [score["multiplier"] for score in scores] == [-2, -1, 0, 1, 2]
        assert values == sorted(values), "the propensity rises with the multiplier"
        assert values[-1] - values[0] >= 0.5
        assert all(f"{value:.2f}" in shown.out for value in values)

    commands = [shlex.split(line.strip().removeprefix("$ ")) for line in shown.out.splitlines() if "  $ " in line]
    assert len(commands) > 12
    for program, *arguments in commands:
        assert program == "caa"
        if arguments[:2] == ["eval", "propensity"]:
            continue  # the slow ones; their scores were compared above
        result = caa(*arguments)
        assert result.code == 0, (arguments, result.err)
        if arguments[0] == "generate":
            assert all(line.strip() in shown.out for line in result.out.splitlines())


def test_the_demo_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("caa_registry.cli.demo._run", lambda registry, say: [])
    assert caa("demo").code == 0
    assert not list(tmp_path.iterdir())
