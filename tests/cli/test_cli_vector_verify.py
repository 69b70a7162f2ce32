"""``caa vector verify``."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cli.command_line import caa
from registry.registry_support import jsonl, letters


def test_a_vector_is_checked_and_computed_again(full: Path) -> None:
    checked = caa("vector", "verify", "team/s")
    assert checked.code == 0 and "are those that were stored" in checked.err
    again = caa("vector", "verify", "team/s", "--recompute")
    assert again.code == 0 and "the same bits" in again.out and "team/s:v1 holds (run" in again.err
    found = caa("vector", "verify", "team/s", "--recompute", "--json").json
    assert found["holds"] and found["differences"] == [] and all(layer["same_bits"] for layer in found["layers"])
    assert caa("vector", "verify", "team/s", "--json").json["layers"] == []


def test_what_cannot_be_checked_is_said(full: Path) -> None:
    assert caa("vector", "verify", "team/s", "--model", "demo").code == 2
    assert "Give --recompute too" in caa("vector", "verify", "team/s", "--model", "demo").err
    assert caa("vector", "verify", "team/none").code == 1


def test_another_model_does_not_hold(full: Path) -> None:
    found = caa("vector", "verify", "team/s", "--recompute", "--model", "demo")
    assert found.code == 1 and "is another model" in found.err and "nothing was computed again" in found.err


def test_last_digits_that_the_cache_explains_are_explained(
    empty: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAA_HOME", str(tmp_path / "home"))
    for name, pairs in (("many", 8), ("few", 4)):
        path = jsonl(tmp_path / f"{name}.jsonl", letters(pairs))
        assert caa("dataset", "import", "--name", f"team/{name}", "--split", f"generate={path}").code == 0
        assert caa("vector", "compute", f"team/{name}", "--dataset", f"team/{name}", "--model", tiny_folder).code == 0
    again = caa("vector", "verify", "team/few", "--recompute")
    said = " ".join(again.err.split())
    assert again.code == 0 and "the same but for rounding" in again.out and "read with other pairs" in said
    # Where something else is named, the cache is not what explains them.
    changed = Path(shutil.copytree(tiny_folder, tmp_path / "changed")) / "model.safetensors"
    weights = bytearray(changed.read_bytes())
    weights[-4] ^= 1
    changed.write_bytes(weights)
    other = caa("vector", "verify", "team/few", "--recompute", "--model", changed.parent)
    assert other.code == 1 and "for rounding" in other.out and "DIFFERS: the weights" in other.err
    assert "read with other pairs" not in " ".join(other.err.split())
    anew = ("vector", "compute", "team/anew", "--dataset", "team/few", "--model", tiny_folder, "--force")
    assert "compute --force" in said and caa(*anew).code == 0
    again = caa("vector", "verify", "team/anew", "--recompute")
    assert again.code == 0 and "for rounding" not in again.out and "read with other pairs" not in again.err
