"""``caa dataset lint``: what it prints and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

from cli.command_line import caa
from registry.registry_support import jsonl, letters

from caa_registry.pairs.lint.rules import RULES

DOCS = Path(__file__).resolve().parents[2] / "docs" / "lint.md"


def test_a_set_without_findings(empty: Path, tmp_path: Path) -> None:
    caa("dataset", "import", "seed:sycophancy", "--name", "team/r")
    done = caa("dataset", "lint", "team/r")
    assert done.code == 0 and "No findings." in done.err
    assert (
        done.out == "Score 100 of 100: 0 errors, 0 warnings, 0 notes in 64 pairs, not compared with other datasets.\n"
    )


def test_findings_name_rows_and_an_error_ends_with_1(empty: Path, tmp_path: Path) -> None:
    rows = letters(4)
    bad = [*rows, {**rows[0], "positive": "(D)"}, rows[1]]
    caa("dataset", "import", jsonl(tmp_path / "a.jsonl", bad), "--name", "team/a")
    done = caa("dataset", "lint", "team/a")
    assert done.code == 1
    assert "generate (1): row 5" in done.out and "generate (1): row 6" in done.out
    assert "1 error, 2 warnings, 2 notes in 6 pairs" in done.out
    one = caa("dataset", "lint", "team/a", "--rule", "letter-without-choice")
    assert "answers D; the choices are A, B" in one.out and one.code == 1
    none = caa("dataset", "lint", "team/a", "--rule", "equal-sides")
    assert "equal-sides finds nothing." in none.err
    document = json.loads(caa("--json", "dataset", "lint", "team/a", "--against", "none").out)
    first = document["findings"][0]
    assert (first["rule"], first["severity"], first["row"]) == (
        "letter-without-choice",
        "error",
        5,
    )
    assert document["summary"]["errors"] == 1 and document["parameters"]["against"] == []


def test_every_rule_is_explained() -> None:
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    rows = [line.split("|") for line in lines if line.startswith("| `")]
    assert {row[1].strip(" `"): row[2].strip() for row in rows} == {r.name: r.severity for r in RULES.values()}
