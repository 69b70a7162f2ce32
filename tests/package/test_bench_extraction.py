"""The benchmark of extraction: what it prints is figures, and it refuses to print them where the ways disagree."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.long

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import bench_extraction

    return bench_extraction


def test_a_quick_run_prints_one_flat_object_of_figures(tmp_path: Path) -> None:
    # No time is checked, so a few pairs once are enough.
    small = ["--pairs", "8", "--repeats", "1", "--memory-pairs", "16", "--peers-env", str(tmp_path / "none")]
    command = [sys.executable, str(SCRIPTS / "bench_extraction.py"), "--quick", "--json", *small]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert all(isinstance(value, str | int | float) for value in figures.values())
    assert [key for key, value in figures.items() if not isinstance(value, str) and not math.isfinite(value)] == []
    differences = {key: value for key, value in figures.items() if key.endswith("_difference")}
    assert "random_ours_difference" in differences
    assert all(0 <= value <= 1e-4 for value in differences.values())
    assert figures["random_needed_tokens_per_pair"] < figures["random_tokens_per_pair"]
    assert figures["random_plain_over_ours"] > 0
    assert figures["random_attainable_share"] > 0
    assert "steering-vectors and repeng: left out" in done.stderr
    assert not (tmp_path / "none").exists()


def test_a_wrong_vector_is_a_disagreement(bench: Any) -> None:
    right = np.random.default_rng(0).normal(size=(3, 8))
    wrong = right.copy()
    wrong[1, 2] += 1e-3
    assert bench.difference(right.tolist(), right.tolist()) == 0
    found = bench.difference(wrong.tolist(), right.tolist())
    assert found == pytest.approx(1e-3 / np.abs(right[1]).max())
    bench.check_agreement({"ours": 1e-5})
    with pytest.raises(bench.DisagreementError, match="repeng by"):
        bench.check_agreement({"ours": 1e-5, "repeng": found})


def test_a_vector_that_is_not_finite_is_a_disagreement(bench: Any) -> None:
    right = np.ones((2, 4))
    wrong = right.copy()
    wrong[0, 0] = np.nan
    with pytest.raises(bench.DisagreementError):
        bench.check_agreement({"ours": bench.difference(wrong.tolist(), right.tolist())})


def test_a_run_that_disagrees_prints_no_figures(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # No difference is below zero, so every way disagrees.
    monkeypatch.setattr(bench, "TOLERANCE", -1.0)
    monkeypatch.setattr(bench, "TINYTALK", tmp_path / "none")
    small = ["--pairs", "2", "--repeats", "1", "--memory-pairs", "1", "--peers-env", str(tmp_path / "none")]
    monkeypatch.setattr(sys, "argv", ["bench_extraction.py", "--quick", "--json", *small])
    assert bench.main() == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "the vectors differ from the plain loop's" in err and "faster" not in err


def test_texts_with_other_tokens_are_refused(bench: Any) -> None:
    from bench_peers import check_ids

    plan = {"texts": [["a", "b"]], "ids": [[[1], [2]]]}
    check_ids(lambda text: {"input_ids": {"a": [1], "b": [2]}[text]}, plan)
    with pytest.raises(ValueError, match="other token ids"):
        check_ids(lambda text: {"input_ids": [0, 1]}, plan)
