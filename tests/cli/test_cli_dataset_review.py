"""Review, history and recall as a user types them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli.command_line import caa
from registry.registry_support import jsonl, letters


@pytest.fixture
def rows(empty: Path, tmp_path: Path) -> Path:
    """``team/a``: six A/B rows."""
    caa("dataset", "import", jsonl(tmp_path / "a.jsonl", letters(6)), "--name", "team/a")
    return empty


def walk(monkeypatch: pytest.MonkeyPatch, keys: str, *arguments: str):  # type: ignore[no-untyped-def]  # noqa: ANN201
    monkeypatch.setattr(sys, "stdin", io.StringIO(keys))
    return caa("dataset", "review", "team/a", *arguments)


def test_a_walk_stops_and_goes_on(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = walk(monkeypatch, "a\nr too easy\nx\nq\n", "--reviewer", "ada")
    assert first.code == 0 and "Stored 2 decisions of ada." in first.err
    assert "1 of 6" in first.out and "3 of 6" in first.out and "4 of 6" not in first.out
    # The end of the input, as of a closed terminal, loses nothing.
    second = walk(monkeypatch, "w unclear\ns\nb\na\n", "--reviewer", "ada")
    assert "3 of 6" in second.out and "1 of 6" not in second.out and "2 decisions" in second.err
    third = walk(monkeypatch, "a\na\na\n", "--reviewer", "ada")
    assert "2 decisions" in third.err
    assert "ada has reviewed every pair" in walk(monkeypatch, "", "--reviewer", "ada").err
    walk(monkeypatch, "a\na\na\nr\n", "--reviewer", "bob")
    shown = caa("dataset", "reviews", "team/a")
    assert "ada and bob: 1 of 4 the same, Cohen's kappa -0.33" in shown.out
    assert "ada: rejected (too easy); bob: accepted" in shown.out
    document = json.loads(caa("--json", "dataset", "reviews", "team/a").out)
    assert document["reviewers"]["ada"] == {"accepted": 4, "rejected": 1, "needs-work": 1, "proposed": 0}
    # ada says a r w a, bob a a a r: p_o = 1/4, p_e = 2/4 * 3/4 + 1/4 * 1/4 = 7/16.
    (both,) = document["agreement"]
    assert both["kappa"] == pytest.approx(-1 / 3)


def test_lint_speaks_while_reviewing(rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = [*letters(3), {**letters(1)[0], "positive": "(D)", "negative": "(A)"}]
    caa("dataset", "import", jsonl(tmp_path / "b.jsonl", bad), "--name", "team/a")
    caa("dataset", "lint", "team/a")
    assert "letter-without-choice: answers D" in walk(monkeypatch, "s\ns\ns\ns\n").out


def test_a_sheet_and_a_cut(rows: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.csv"
    assert caa("dataset", "review", "team/a", "--to-csv", sheet, "--reviewer", "ada").code == 0
    sheet.write_text(sheet.read_text().replace("(A),(B),,", "(A),(B),accepted,"), encoding="utf-8")
    done = caa("dataset", "review", "team/a", "--from-csv", sheet, "--reviewer", "ada")
    assert done.code == 0 and "Stored 3 new decisions of ada." in done.err
    assert "Dry run: 3 rows removed" in caa("dataset", "cut", "team/a", "--dry-run").err
    cut = caa("dataset", "cut", "team/a")
    assert cut.code == 0 and "Made team/a:v2: 3 rows removed, 0 added." in cut.err
    assert "accepted in review by all of ada" in caa("dataset", "log", "team/a").out
    assert caa("dataset", "review", "team/a", "--from-csv", sheet, "--to-csv", sheet).code == 2


def test_a_diff_is_readable_without_color(rows: Path, tmp_path: Path) -> None:
    edited = [dict(row) for row in letters(6)]
    edited[0]["prompt"] = edited[0]["prompt"].replace("good", "very \x1bbad")
    caa("dataset", "import", jsonl(tmp_path / "b.jsonl", [*edited, *letters(2, about="that")]), "--name", "team/a")
    done = caa("dataset", "diff", "team/a:v1", "team/a:v2", "--limit", "1")
    assert "~ generate row 1  Is it 0 good?" in done.out
    assert "[-good-]{+very \\x1bbad+}" in done.out and "\x1b" not in done.out
    assert "+ generate row 7" in done.out and "... and 1 more added" in done.out
    assert done.out.endswith("2 added, 0 removed, 0 moved, 1 changed, 5 unchanged\n")
    assert "row 7" not in caa("dataset", "diff", "team/a:v1", "team/a:v2", "--only", "changed").out
    document = json.loads(caa("--json", "dataset", "diff", "team/a:v1", "team/a:v2").out)
    assert document["counts"]["added"] == 2
    assert ["old", "good"] in document["changes"][0]["words"]["prompt"]


def test_blame_and_recall(rows: Path) -> None:
    digest = json.loads(caa("--json", "dataset", "show", "team/a").out)["items"][0]["digest"]
    short = digest[7:19]
    assert "team/a:v1 (generate row 1)" in caa("dataset", "blame", short).out
    assert caa("dataset", "recall", short).code == 2
    dry = caa("dataset", "recall", short, "--dry-run")
    assert "Nothing was recalled." in dry.err and "team/a:v1" in dry.out
    done = caa("dataset", "recall", short, "--why", "wrong label")
    assert done.code == 0 and "They are quarantined." in done.err
    assert "recalled" in caa("dataset", "ls").out
    assert "wrong label" in caa("dataset", "show", "team/a").out and "wrong label" in caa("dataset", "blame", short).out
    assert json.loads(caa("--json", "dataset", "ls").out)[0]["recalled"]
    assert caa("dataset", "recall", short, "--lift", "--why", "no").code == 0
    assert "recalled" not in caa("dataset", "ls").out
    assert "there is no pair" in caa("dataset", "blame", "ffffffffffff").err


def test_a_killed_walk_keeps_what_was_decided(rows: Path) -> None:
    walking = subprocess.Popen(
        [sys.executable, "-m", "caa_registry", "dataset", "review", "team/a", "--reviewer", "ada"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
    )
    assert walking.stdin is not None and walking.stdout is not None
    walking.stdin.write("a\nr bad\n")
    walking.stdin.flush()
    for line in walking.stdout:
        if line.startswith("3 of 6"):  # the second decision is stored before the third pair is shown
            break
    walking.kill()
    walking.wait()
    document = json.loads(caa("--json", "dataset", "reviews", "team/a").out)
    assert document["reviewers"]["ada"] == {"accepted": 1, "rejected": 1, "proposed": 4}
