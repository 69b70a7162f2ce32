"""``caa vector import``, ``export``, ``combine``, ``similar`` and ``compare``."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.command_line import caa


def test_a_vector_goes_out_and_comes_back(full: Path, tmp_path: Path, tiny_folder: Path) -> None:
    file = tmp_path / "s.gguf"
    done = caa("vector", "export", "team/s:v1", "--out", file, "--layers", "1,2", "--multiplier", "2")
    assert done.code == 0 and f"Wrote team/s:v1, times 2 to {file}." in done.err
    assert caa("vector", "export", "team/s:v1", "--out", file).code == 2
    again = caa("vector", "export", "team/s:v1", "--out", file, "--layers", "1", "--force", "--json").json
    assert again == {"vector": "team/s:v1", "digest": again["digest"], "files": [str(file)]}
    claimed = caa("vector", "import", file, "--name", "team/x")
    assert claimed.code == 0 and "Imported team/x:v1: layer 1," in claimed.err
    assert "Its model is only claimed" in claimed.err and "claimed: " in claimed.out
    assert "already holds exactly this" in caa("vector", "import", file, "--name", "team/x").err
    known = caa("vector", "import", file, "--name", "team/x", "--model", tiny_folder, "--json").json
    assert known["version"] == 2 and not known["existing"] and known["recipe"] is None
    assert known["origin"]["format"] == "gguf" and known["origin"]["claims"]["reference"] == "team/s:v1"
    listed = {each["reference"]: each["model"] for each in caa("vector", "ls", "--versions", "--json").json}
    assert listed["team/x:v1"].startswith("claimed: ") and listed["team/x:v2"] == known["model"]
    shown = caa("vector", "show", "team/x:v1")
    assert shown.code == 0 and "layers mean" in shown.out and "gguf file of CAA Registry" in shown.out
    refused = caa("generate", "--vector", "team/x:v1", "--layer", "1", "--model", tiny_folder, "Hello")
    assert refused.code == 1 and "only claimed" in refused.err and "--allow-mismatch" in refused.err
    assert caa("vector", "verify", "team/x:v1").code == 0
    assert caa("vector", "show", "team/x:v2", "--card").code == 0


def test_a_bad_file_leaves_no_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAA_REGISTRY", str(tmp_path / "new.db"))
    (tmp_path / "bad").write_bytes(b"GGUF\3\0\0\0")
    for path, options in (("bad", ()), ("absent", ()), ("bad", ("--format", "nothing"))):
        done = caa("vector", "import", tmp_path / path, "--name", "team/x", *options)
        assert done.code in (1, 2) and done.err.startswith("Error: "), done.err
    assert not (tmp_path / "new.db").exists()


def test_vectors_are_combined_and_compared(full: Path) -> None:
    made = caa("vector", "combine", "team/m", "team/s:v1", "team/s:v1:-0.5")
    assert made.code == 0 and "Made team/m:v1: sum of 2 vectors, layers " in made.err
    assert "already holds exactly this" in caa("vector", "combine", "team/m", "team/s:v1", "team/s:v1:-0.5").err
    assert caa("vector", "combine", "team/m", "team/s", "--operation", "mean").code == 2
    (near,) = caa("vector", "similar", "team/s", "--layer", "1", "--json").json
    assert (near["vector"], near["layer"]) == ("team/m:v1", 1) and near["cosine"] == pytest.approx(1)
    table = caa("vector", "similar", "team/s", "--layer", "1")
    assert "team/m:v1" in table.out and "+1.000" in table.out and "noise:" in table.err
    layers = caa("vector", "compare", "team/s", "team/m", "--json").json
    assert all(each["cosine"] is None or each["cosine"] == pytest.approx(1) for each in layers)
    assert "other: team/m:v1" in caa("vector", "compare", "team/s", "team/m").err
    done = caa("vector", "compare", "team/s", "team/m", "--dataset", "team/s")
    assert done.code == 2 and "--transfer" in done.err
    carried = caa("vector", "compare", "team/m", "team/s", "--transfer", "--layers", "1", "--json").json
    assert [each["layer"] for each in carried["layers"]] == [1] and carried["effects"]["comparisons"]
    text = caa("vector", "compare", "team/m", "team/s", "--transfer", "--layers", "1", "--dataset", "dataset:team/s")
    assert text.code == 0 and "difference" in text.out
