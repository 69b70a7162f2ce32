"""The curating verbs as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.command_line import caa
from registry.registry_support import jsonl, letters


@pytest.fixture
def rows(empty: Path, tmp_path: Path) -> Path:
    """``team/a``: six A/B rows, one of them twice."""
    source = letters(6)
    caa("dataset", "import", jsonl(tmp_path / "a.jsonl", [*source, source[0]]), "--name", "team/a")
    return empty


def test_a_dry_run_says_what_would_change(rows: Path) -> None:
    done = caa("dataset", "dedupe", "team/a", "--dry-run")
    assert done.code == 0 and "Dry run: 1 row removed, 0 added. Nothing was stored." in done.err
    assert "removed, for example:" in done.out
    assert "v2" not in caa("dataset", "ls").out


@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        (("split", "team/a", "--test", "0.5"), "team/a:v2"),
        (("dedupe", "team/a", "--exact"), "team/a:v2: 1 row removed, 0 added"),
        (("balance", "team/a", "--name", "team/b"), "team/b:v1"),
        (("filter", "team/a", "letter == 'A'"), "team/a:v2"),
        (("sample", "team/a", "-n", "3"), "team/a:v2"),
        (("relabel", "team/a", "--why", "wrong way", "--where", "letter == 'A'"), "team/a:v2"),
        (("drop", "team/a", "2,4-5", "--why", "bad"), "team/a:v2: 3 rows removed"),
        (("to-free-form", "team/a", "--name", "team/f"), "team/f:v1"),
    ],
)
def test_each_makes_a_version_that_replays(rows: Path, arguments: tuple[str, ...], made: str) -> None:
    done = caa("dataset", *arguments)
    assert done.code == 0 and made in done.err
    reference = made.split(": ")[0]
    again = caa("dataset", "replay", reference)
    assert again.code == 0 and "differs" not in again.out
    assert arguments[0] in again.out


def test_nothing_to_do_makes_no_version(rows: Path) -> None:
    done = caa("dataset", "filter", "team/a", "True")
    assert done.code == 0 and "Nothing changes" in done.err


def test_an_edit_from_a_file_and_with_an_editor(rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = json.loads(caa("--json", "dataset", "show", "team/a", "--limit", "1").out)["items"][0]
    line = {key: shown[key] for key in ("digest", "split", "positive", "negative")} | {
        "prompt": "Is it?\n (A) 1\n (B) 2"
    }
    path = tmp_path / "edited.jsonl"
    path.write_text(json.dumps(line) + "\n" + json.dumps({**line, "digest": None}) + "\n")
    bad = caa("dataset", "edit", "team/a", "--file", path, "--why", "x")
    assert bad.code == 1 and "edited.jsonl, row 2, field 'digest': is not a text" in bad.err
    path.write_text(json.dumps(line) + "\n")
    done = caa("dataset", "edit", "team/a", "--file", path, "--why", "shorter")
    assert "changed 1 row" in done.err and "dropped 6 rows" in done.err and "team/a:v2" in done.err
    assert "shorter" in caa("dataset", "show", "team/a").out

    monkeypatch.setenv("EDITOR", "sed -i s/negative/negativ/")
    broken = caa("dataset", "edit", "team/a:v1", "--why", "x")
    assert broken.code == 1 and "there is no such field" in broken.err
    kept = Path(broken.err.split("Your text is in ")[1].split(": ")[0])
    assert kept.read_text().count("\n") == 7
    kept.unlink()
    monkeypatch.setenv("EDITOR", "true")
    assert "the editor saved nothing" in caa("dataset", "edit", "team/a:v1", "--why", "x").err


def test_a_template_and_a_merge_need_names(rows: Path, tmp_path: Path) -> None:
    template = tmp_path / "t.yaml"
    template.write_text("positive: 'I like {x}'\nnegative: 'I hate {x}'\nslots: {x: [tea, rain]}\n")
    assert caa("dataset", "expand", template).code == 2
    assert "team/t:v1" in caa("dataset", "expand", template, "--name", "team/t").err
    assert "team/t-ab leaves" not in caa("dataset", "to-ab", "team/t", "--name", "team/t-ab").err
    assert caa("dataset", "merge", "team/a", "team/t").code == 2
    assert caa("dataset", "merge", "team/a", "--name", "x").code == 2
    refused = caa("dataset", "merge", "team/a", "team/t", "--name", "team/m")
    assert refused.code == 2 and "different behaviors: a, t" in refused.err
    assert caa("dataset", "merge", "team/a", "team/t", "--name", "team/m", "--behavior", "b").code == 0


def test_a_recipe_is_followed_elsewhere(rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caa("dataset", "dedupe", "team/a")
    recipe = tmp_path / "a.recipe.json"
    assert caa("dataset", "recipe", "team/a", "--out", recipe).code == 0
    assert caa("dataset", "recipe", "team/a", "--out", recipe).code == 2
    other = tmp_path / "other.db"
    monkeypatch.setenv("CAA_REGISTRY", str(other))
    moved = tmp_path / "moved.jsonl"
    (tmp_path / "a.jsonl").rename(moved)
    missing = caa("dataset", "replay", recipe, "--name", "new/a")
    assert missing.code == 1 and "there is no file" in missing.err and not other.exists()
    old = json.loads(recipe.read_text())["steps"][0]["import"]["uri"]
    done = caa("dataset", "replay", recipe, "--name", "new/a", "--source", f"{old}={moved}")
    assert done.code == 0 and "new/a:v2 holds 6 pairs." in done.err
    jsonl(moved, letters(3))
    differs = caa("dataset", "replay", "new/a", "--source", f"{moved}={moved}")
    assert differs.code == 1 and "differs" in differs.out
