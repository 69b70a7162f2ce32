"""Answers and choices that do not fit together are said when a set is imported, and found by lint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from cli.command_line import Result, caa
from registry.registry_support import jsonl

Row = tuple[str, str, str]


def would(i: int) -> str:
    return f"Would you do {i}?\n(A) I would do {i}\n(B) I would not do {i}"


MIXED = [
    (would(1), "(A)", "(B)"), (would(2), "(B)", "(A)"), (would(3), "A", "B"), (would(4), "a)", "b)"),
    (would(5), "I would rather wait", "Ask me later"),
]  # fmt: skip
OTHERWISE = [(would(i).replace("(A)", "A)").replace("(B)", "B)"), "(A)", "(B)") for i in range(4)]
NO_LIST = [(f"Would you do {i}?", "(A) Yes", "(B) No") for i in range(3)]
TEXTS = [(would(i), f"I would do {i}", f"I would not do {i}.") for i in range(3)]
WRONG = [(would(1), "A. I would not do 1", "B. I would do 1"), (would(2), "(C)", "(A)"), (would(3), "(A)", "A")]

SETS: dict[str, tuple[Sequence[Row], list[str], dict[str, int]]] = {
    "mixed": (
        MIXED,
        [
            "1 item lists choices as (A) and answers as a): row 4",
            "1 item lists choices and answers with neither their letters nor their texts: it is read as free text: "
            "row 5",
            "the letters are written in several ways: (A) in 2 pairs, A in 1, a) in 1",
            "the answers of generate are of several kinds: letters in 4 pairs, free text in 1",
        ],
        {"mixed-answers": 2, "choices-without-answer": 1, "answer-form-differs": 1},
    ),
    "otherwise": (
        OTHERWISE,
        ["4 items list choices as A) and answer as (A): rows 1, 2, 3, 4"],
        {"answer-form-differs": 4},
    ),
    "no list": (
        NO_LIST,
        [
            "3 items answer with what looks like letters, and their prompts list no such choices: they are read as "
            "free text: rows 1, 2, 3"
        ],
        {"letters-as-text": 3},
    ),
    "texts": (
        TEXTS,
        [
            "3 items answer with the texts of their choices, not with their letters: they are read as free text: "
            "rows 1, 2, 3"
        ],
        {"choice-text-answer": 3},
    ),
    "wrong": (
        WRONG,
        [
            "1 item matches a letter beyond A and B: row 2",
            "1 item answers with a letter and the text of another choice: row 1",
            "1 item lists choices as (A) and answers as A. ...: row 1",
            "1 item answers with a letter that its prompt lists no choice for: row 2",
            "1 item answers with the same letter on both sides: row 3",
            "the letters are written in several ways: (A) in 1 pair, A. ... in 1",
            "the answers of generate are of several kinds: letters in 2 pairs, free text in 1",
        ],
        {"letter-of-other-choice": 1, "letter-without-choice": 1, "equal-sides": 1, "mixed-answers": 2},
    ),
}


def imported(rows: Sequence[Row], folder: Path) -> Result:
    named = [{"prompt": p, "positive": a, "negative": b} for p, a, b in rows]
    return caa("--json", "dataset", "import", jsonl(folder / "a.jsonl", named), "--name", "team/a", "--licence", "MIT")


@pytest.mark.parametrize("name", SETS)
def test_what_does_not_fit_is_noted_and_found(name: str, empty: Path, tmp_path: Path) -> None:
    rows, notes, counts = SETS[name]
    assert imported(rows, tmp_path).json["source"]["notes"] == notes
    found = caa("--json", "dataset", "lint", "team/a", "--against", "none").json["summary"]["counts"]
    assert {rule: found.get(rule) for rule in counts} == counts
    # Nothing else about answers is found.
    assert not set(found) - set(counts) & set(SETS["wrong"][2])


@pytest.mark.parametrize(
    "rows",
    [
        [(would(i), "(A)", "(B)") for i in range(4)],
        [(would(i).replace("(A)", "A.").replace("(B)", "B."), "A", "B") for i in range(4)],
        [(would(i).replace("(A)", "a)").replace("(B)", "b)"), "a)", "b)") for i in range(4)],
        [(f"{would(i)}\n\nAnswer: (", "A)", "B)") for i in range(4)],
        [(f"Do {i}:\n1. buy milk\n2. buy eggs", "I do it at once", "I do nothing") for i in range(4)],
        [(f"A: Hello {i}\nB: Hi", "They greet", "They part") for i in range(4)],
        [(f"Is it {i}?", "Yes", "No") for i in range(4)],
        [(f"What is {i} + 1?", str(i + 1), str(i + 2)) for i in range(4)],
    ],
)
def test_what_fits_is_not_noted(rows: Sequence[Row], empty: Path, tmp_path: Path) -> None:
    assert imported(rows, tmp_path).json["source"]["notes"] == []
    found = caa("--json", "dataset", "lint", "team/a", "--against", "none").json["summary"]["counts"]
    assert not {rule for rule in found if "letter-w" in rule or "choice" in rule or "answer" in rule or "text" in rule}


def test_splits_that_write_letters_differently_are_noted(empty: Path, tmp_path: Path) -> None:
    files = []
    for split, answers in (("generate", ("(A)", "(B)")), ("test", ("A", "B"))):
        rows = [{"prompt": would(i), "positive": answers[0], "negative": answers[1]} for i in range(2)]
        files += ["--split", f"{split}={jsonl(tmp_path / f'{split}.jsonl', rows)}"]
    done = caa("--json", "dataset", "import", *files, "--name", "team/a")
    assert done.json["source"]["notes"] == ["the letters are written in several ways: (A) in 2 pairs, A in 2"]


def test_another_layout_comes_into_the_papers_and_no_other_is_exported_as_it(empty: Path, tmp_path: Path) -> None:
    refused = caa("dataset", "import", jsonl(tmp_path / "b.jsonl", _small()), "--name", "team/small")
    assert refused.code == 0
    out = caa("dataset", "export", "team/small", tmp_path / "small", "--format", "caa")
    assert out.code != 0 and "its scripts read (A) and (B)" in out.err and not (tmp_path / "small").exists()
    assert caa("dataset", "to-free-form", "team/small", "--name", "team/free").code == 0
    assert caa("dataset", "to-ab", "team/free", "--name", "team/ab").code == 0
    assert caa("dataset", "export", "team/ab", tmp_path / "ab", "--format", "caa").code == 0


def _small() -> list[dict[str, str]]:
    return [
        {"prompt": would(i).replace("(A)", "a)").replace("(B)", "b)"), "positive": "a)", "negative": "b)"}
        for i in range(4)
    ]
