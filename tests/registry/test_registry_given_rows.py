"""Rows that a program hands in are imported as those of a file are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas
import pytest

import caa_registry as caa
from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.record import Pair
from caa_registry.pairs.sources.given_rows import load_rows, load_texts
from caa_registry.pairs.turns import Turn


def test_pairs_dicts_and_tuples_give_the_version_of_the_same_file(tmp_path: Path) -> None:
    row = {"prompt": "q", "positive": "yes", "negative": "no"}
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with caa.open(str(tmp_path / "r.db")) as registry:
        version = registry.datasets.import_(str(path), name="team/a")
        for rows in ([Pair("q", "yes", "no")], [row], [("q", "yes", "no")], [["q", "yes", "no"]]):
            again = registry.datasets.import_rows(rows, name="team/a")
            assert again.existing and again.digest == version.digest


def test_a_pair_is_kept_as_it_is(tmp_path: Path) -> None:
    pairs = [
        Pair("Why?", "Yes.", "No.", "Be kind.", (Turn("user", "Hi"), Turn("assistant", "Hello."))),
        Pair("\n\nHuman: Why?\n\nAssistant:", '[{"role": "user", "content": "x"}]', "No."),
        Pair("", "Yes.", "No."),
    ]
    with caa.open(str(tmp_path / "r.db")) as registry:
        registry.datasets.import_rows(pairs, name="team/a")
        assert [item.pair for item in registry.datasets.pairs("team/a")] == pairs
        assert [dict(item.metadata) for item in registry.datasets.pairs("team/a")] == [{"row": i} for i in (1, 2, 3)]


def test_where_rows_came_from_is_recorded(tmp_path: Path) -> None:
    rows = [{"text": "q", "good": "yes", "bad": "no", "Split": "test", "topic": "x"}]
    with caa.open(str(tmp_path / "r.db")) as registry:
        version = registry.datasets.import_rows(
            rows, name="team/a", columns={"prompt": "text", "positive": "good", "negative": "bad"}
        )
        source = registry.datasets.get("team/a").source
        assert (source.uri, source.format) == ("python:rows", "rows")
        (file,) = source.files
        assert (file.split, file.rows) == ("test", 1) and file.digest
        assert registry.datasets.pairs(version)[0].metadata == {"topic": "x", "row": 1}
        (step,) = registry.datasets.replay("team/a")
        assert step.same


def test_two_lists_of_texts_are_set_against_each_other(tmp_path: Path) -> None:
    with caa.open(str(tmp_path / "r.db")) as registry:
        version = registry.datasets.import_texts(["a", "b"], ["c", "d"], name="team/a", split="test")
        assert [item.pair for item in registry.datasets.pairs(version)] == [Pair("", "a", "c"), Pair("", "b", "d")]
        assert version.splits == {"test": 2}
        with pytest.raises(UsageError, match="2 positive texts and 1 negative"):
            registry.datasets.import_texts(["a", "b"], ["c"], name="team/b")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("a", "b"), 3], "the rows given, row 2: not a pair but int"),
        ([("a", "b"), ("a", "b", "c", "d")], "row 2: not a pair but tuple"),
        ([{1: "a"}], "row 1: not a pair but dict"),
        ([("a", "b"), ("q", "a", "b")], "row 2: the row has more columns"),
        ([("a", None)], "field 'negative': not a string but null"),
        ([], "holds no rows"),
    ],
)
def test_a_row_that_is_no_pair_is_named_and_nothing_is_stored(tmp_path: Path, rows: list[Any], said: str) -> None:
    with caa.open(str(tmp_path / "r.db")) as registry:
        with pytest.raises(InputError, match=said):
            registry.datasets.import_rows(rows, name="team/a")
        assert registry.datasets.ls() == []


@pytest.mark.parametrize("texts", [(text for text in "ab"), {"a", "b"}, {"a": 1, "b": 2}])
def test_texts_in_no_order_are_refused(texts: Any) -> None:
    with pytest.raises(UsageError, match=f"the positive texts are in no order: {type(texts).__name__}"):
        load_texts(texts, ["c", "d"])


def test_a_whole_data_frame_is_told_how_to_give_its_rows() -> None:
    frame = pandas.DataFrame([{"prompt": "q", "positive": "yes", "negative": "no"}])
    with pytest.raises(UsageError, match="the rows are a whole DataFrame") as caught:
        load_rows(frame)  # type: ignore[arg-type, unused-ignore]
    assert "to_dict('records')" in caught.value.hint
    assert len(load_rows(frame.to_dict("records")).items) == 1  # type: ignore[arg-type, unused-ignore]


def test_what_a_frame_marks_as_missing_is_called_so() -> None:
    row = {"prompt": "q", "positive": "yes", "negative": "no", "system": float("nan")}
    with pytest.raises(InputError, match=r"row 1, field 'system': not a string but NaN, which marks a missing value"):
        load_rows([row])


def test_rows_have_the_notes_of_a_file() -> None:
    rows = [("?\n(A) red\n(B) blue\nC) green", "(A)", " (B)")]
    assert load_rows(rows).notes == [
        "1 item has a label that looks like that of a further choice and is not read: row 1",
        "the letters are written in several ways: ' (A)' in 1 pair, (A) in 1",
    ]


def test_keys_that_are_the_same_as_text_are_an_error() -> None:
    row = {"prompt": "q", "positive": "yes", "negative": "no", "note": {1: "a", "1": "b"}}
    with pytest.raises(InputError, match=r"row 1, field 'note': an object has two keys that are the same as text"):
        load_rows([row])
