"""``caa eval verify``."""

from __future__ import annotations

import shutil
from pathlib import Path

from cli.command_line import caa
from registry.test_registry_verification import changed_weight


def test_an_evaluation_is_checked_and_measured_again(full: Path) -> None:
    checked = caa("eval", "verify", "1")
    assert checked.code == 0 and "are those that were stored" in checked.err and checked.out == ""
    again = caa("eval", "verify", "team/s:best", "--recompute")
    assert again.code == 0 and "the same bits" in again.out
    assert "Evaluation 1 holds: it was measured again, to the same bits (run" in again.err
    found = caa("eval", "verify", "1", "--recompute", "--json").json
    assert found["holds"] and found["same_bits"] and found["differences"] == []
    assert all(score["same_bits"] and score["holds"] for score in found["scores"]) and len(found["scores"]) > 10
    assert [each["what"] for each in found["items"]] == ["items of vector", "draws of covariance"]
    stored = caa("eval", "verify", "1", "--json").json
    assert stored["scores"] == [] and stored["same_bits"] is None and stored["run"] is None
    assert len(caa("eval", "ls", "--json").json) == 1


def test_what_cannot_be_checked_is_said(full: Path) -> None:
    for options in (["--model", "demo"], ["--without-ratings"]):
        refused = caa("eval", "verify", "1", *options)
        assert refused.code == 2 and "Give --recompute too" in refused.err
    assert caa("eval", "verify", "7").code == 1
    assert caa("eval", "verify", "team/none").code == 1


def test_a_changed_weight_is_named_with_the_scores_that_come_out_otherwise(
    full: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    changed_weight(folder)
    found = caa("eval", "verify", "1", "--recompute", "--model", folder)
    assert found.code == 1 and "DIFFERS: the weights (model.safetensors)" in found.err
    assert "DIFFERS" in found.out and "at layer 1" in found.out and "does not hold (run" in found.err
    another = caa("eval", "verify", "1", "--recompute", "--model", "demo")
    assert another.code == 1 and "is another model" in another.err and "nothing was measured again" in another.err
