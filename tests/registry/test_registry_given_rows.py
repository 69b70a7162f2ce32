"""Rows that a program hands in are imported as those of a file are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import caa_registry as caa
from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.record import Pair
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
