"""Rows that a program hands in are imported as those of a file are."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caa_registry as caa
from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.record import Pair, dataset_digest
from caa_registry.pairs.sources import read_source
from caa_registry.pairs.sources.given_rows import load_rows, load_texts
from caa_registry.pairs.turns import Turn


def test_pairs_dicts_and_tuples_give_the_version_of_the_same_file(tmp_path: Path) -> None:
    row = {"prompt": "q", "positive": "yes", "negative": "no"}
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with caa.open(str(tmp_path / "r.db")) as registry:
        version = registry.datasets.import_(str(path), name="team/a")
        for rows in ([Pair("q", "yes", "no")], [row], [("q", "yes", "no")], [["q", "yes", "no"]]):
            again = registry.datasets.add("team/a", pairs=rows)
            assert again.existing and again.digest == version.digest


def test_a_pair_is_kept_as_it_is(tmp_path: Path) -> None:
    pairs = [
        Pair("Why?", "Yes.", "No.", "Be kind.", (Turn("user", "Hi"), Turn("assistant", "Hello."))),
        Pair("\n\nHuman: Why?\n\nAssistant:", '[{"role": "user", "content": "x"}]', "No."),
        Pair("", "Yes.", "No."),
    ]
    with caa.open(str(tmp_path / "r.db")) as registry:
        registry.datasets.add("team/a", pairs=pairs)
        assert [item.pair for item in registry.datasets.pairs("team/a")] == pairs
        assert [dict(item.metadata) for item in registry.datasets.pairs("team/a")] == [{"row": i} for i in (1, 2, 3)]


def test_where_rows_came_from_is_recorded(tmp_path: Path) -> None:
    rows = [{"text": "q", "good": "yes", "bad": "no", "Split": "test", "topic": "x"}]
    with caa.open(str(tmp_path / "r.db")) as registry:
        version = registry.datasets.add(
            "team/a", pairs=rows, columns={"prompt": "text", "positive": "good", "negative": "bad"}
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
        version = registry.datasets.add("team/a", positive=["a", "b"], negative=["c", "d"], split="test")
        assert [item.pair for item in registry.datasets.pairs(version)] == [Pair("", "a", "c"), Pair("", "b", "d")]
        assert version.splits == {"test": 2}
        with pytest.raises(UsageError, match="2 positive texts and 1 negative"):
            registry.datasets.add("team/b", positive=["a", "b"], negative=["c"])


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"positive": ["a"]},
        {"negative": ["a"]},
        {"pairs": [("a", "b")], "positive": ["a"], "negative": ["b"]},
        {"pairs": [("a", "b")], "negative": ["b"]},
        {"positive": ["a"], "negative": ["b"], "columns": {"prompt": "q"}},
    ],
)
def test_what_to_add_is_said_in_one_form(tmp_path: Path, given: dict[str, Any]) -> None:
    with caa.open(str(tmp_path / "r.db")) as registry:
        with pytest.raises(UsageError, match="it is not clear what to add to team/a") as caught:
            registry.datasets.add("team/a", **given)
        assert "pairs=[...]" in caught.value.hint and registry.datasets.ls() == []


@pytest.mark.parametrize("rows", [5, "a text", {"positive": "a", "negative": "b"}, Pair("q", "a", "b")])
def test_rows_that_are_no_list_are_named(rows: Any) -> None:
    with pytest.raises(UsageError, match=f"the rows are no list but {type(rows).__name__}"):
        load_rows(rows)


def test_what_is_said_of_a_set_is_kept_and_the_run_recorded(tmp_path: Path) -> None:
    with caa.open(str(tmp_path / "r.db"), actor="ada") as registry:
        version = registry.datasets.add(
            "team/a", pairs=[("a", "b")], behavior="agreeing", licence="CC0-1.0", message="by hand"
        )
        assert (version.behavior, version.licence, version.message) == ("agreeing", "CC0-1.0", "by hand")
        (detail,) = registry.runs.ls()
        assert (detail.run.kind, detail.run.actor) == ("import", "ada")
        assert detail.outputs == [("dataset", "team/a:v1")]
        assert [event.action for event in registry.audit.ls()][-1] == "import"


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8).filter(str.strip)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(_TEXT, _TEXT, _TEXT, st.sampled_from(["generate", "test"])), min_size=1, max_size=4))
def test_given_pairs_have_the_digest_that_they_have_in_a_file(rows: list[tuple[str, str, str, str]]) -> None:
    dicts = [dict(zip(("prompt", "positive", "negative", "split"), row, strict=True)) for row in rows]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        path.write_text(json.dumps(dicts))
        outcomes = []
        for read in (lambda: read_source(str(path)), lambda: load_rows(dicts)):
            try:
                imported = read()
                outcomes.append(("digest", dataset_digest(imported.kind, imported.items)))
            except InputError as error:
                outcomes.append((error.row, error.field, error.message.rsplit(":", 1)[-1]))
        assert outcomes[0] == outcomes[1]


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
            registry.datasets.add("team/a", pairs=rows)
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
