"""What cannot be imported ends in one error that names file and row, and nothing is imported."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from caa_registry.errors import InputError, NotFoundError, UsageError
from caa_registry.pairs.sources import files as source_files
from caa_registry.pairs.sources import load

Write = Callable[[str, str | bytes], str]

PLAIN = {"prompt": "q", "positive": "yes", "negative": "no"}
GOOD = json.dumps(PLAIN) + "\n"


def line(**changes: Any) -> str:
    return json.dumps({**PLAIN, **changes}) + "\n"


def without(name: str) -> str:
    return json.dumps({key: value for key, value in PLAIN.items() if key != name}) + "\n"


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("{\n", "not JSON at column 2"),
        ("{'a': 1}\n", "not JSON at column 2"),
        ("[1, 2]\n", "a row is not an object but a list"),
        ('"text"\n', "a row is not an object but a string"),
        ("null\n", "a row is not an object but null"),
        (without("positive"), "field 'positive': the field is missing; columns: prompt, negative"),
        (without("prompt"), "field 'prompt': the field is missing"),
        (line(positive=None), "field 'positive': not a string but null"),
        (line(negative=3), "field 'negative': not a string but int"),
        (line(prompt=["q"]), "field 'prompt': not a string but list"),
        (line(positive=""), "the positive completion is empty"),
        (line(negative=" \t"), "the negative completion is empty"),
        (line(negative=" yes "), "both sides say 'yes'"),
        (line(prompt="a\x00b"), "NUL"),
        (line(extra="a\x00b"), "field 'extra': a text holds a NUL"),
        (line(**{"a\x00": 1}), "NUL"),
        (line(prompt="\ud800"), "surrogate"),
        (line(extra={"deep": ["\udfff"]}), "field 'extra': .*surrogate"),
        ('{"prompt": "q", "positive": "a", "negative": "b", "x": ' + "9" * 5000 + "}\n", "too many digits"),
        ('{"prompt": "q", "positive": "a", "negative": "b", "x": NaN}\n', "NaN is not JSON"),
        ('{"x": ' + "[" * 100_000 + "\n", "nested too deeply"),
        ('{"prompt": "q", "positive": "a", "negative": "b", "x": ' + "[" * 50 + "]" * 50 + "}\n", "too deep"),
        (line(system=1), "field 'system'|not a string"),
    ],
)
def test_a_bad_row_is_named_with_what_came_before(write: Write, bad: str, said: str) -> None:
    head = GOOD if "system" not in bad else line(system="s")
    source = write("d.jsonl", head + "\n" + head + bad + GOOD)
    with pytest.raises(InputError, match=said) as caught:
        load(source)
    error = caught.value
    assert error.row == 4 and error.source == source
    assert f"{source}, row 4" in error.message
    assert "(2 rows read before it; nothing was imported)" in error.message
    assert error.hint


@pytest.mark.parametrize("name", ["d.json", "d.jsonl", "d.csv", "d.parquet", "d.txt", "d"])
@pytest.mark.parametrize("content", [b"", b" \n\t\r\n"])
def test_an_empty_file_is_said(write: Write, name: str, content: bytes) -> None:
    with pytest.raises(InputError, match="the file is empty"):
        load(write(name, content))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("d.json", "[]", "holds no rows"),
        ("d.csv", "prompt,positive,negative\n", "holds no rows"),
        ("d.csv", "\n\n \n", "the file is empty"),
        ("d.json", '{"a": 1}', "the JSON is an object, not a list"),
        ("d.json", "3", "the JSON is a number"),
        ("d.json", "null", "the JSON is null"),
        ("d.json", "[3]", "row 1: a row is not an object"),
        ("d.json", "[{}]", "row 1: no column for the positive"),
        ("d.json", '[{"question": "q"},\n {"question" "q"}]', "not JSON at line 2, column 14"),
        ("d.json", "[" * 200_000, "nested too deeply"),
        ("d.json", "[" + "9" * 5000 + "]", "too many digits"),
        ("d.csv", "a,a\n1,2\n", "the header repeats a"),
        ("d.csv", "prompt,positive,negative\na,b,c\na,b\n", "row 2: 2 fields under a header of 3"),
        ("d.csv", 'prompt,positive,negative\na,b,"c\n', "row 1: not CSV near line 2"),
        ("d.csv", 'prompt,positive,negative\na,"b"x,c\n', "row 1: not CSV near line 2"),
        ("d.csv", "prompt,positive,negative\na,,c\n", "row 1: the positive completion is empty"),
        ("d.csv", "prompt,positive,negative\na\x00,b,c\n", "NUL"),
        ("d.parquet", "PAR1 and no more", "not a Parquet table"),
        ("d.parquet", "hello", "not a Parquet table"),
    ],
)
def test_a_file_that_is_not_what_it_says(write: Write, name: str, content: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load(write(name, content))


@pytest.mark.parametrize("name", ["d.json", "d.jsonl", "d.csv"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_bytes_that_are_not_utf8_are_placed(write: Write, name: str, mark: bytes) -> None:
    data = mark + b'{"prompt": "q", "positive": "a", "negative": "b"}\n{"x": "\xff"}'
    with pytest.raises(InputError, match=f"byte 0xff at offset {data.index(0xFF)}, line 2"):
        load(write(name, data))


def test_what_is_not_a_file_is_said(write: Write, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no file"):
        load(str(tmp_path / "nowhere.json"))
    with pytest.raises(NotFoundError):
        load(write("d.json", "[]") + "/inner.json")
    with pytest.raises(UsageError, match="is a folder") as caught:
        load(str(tmp_path))
    assert "d.json" in caught.value.hint
    for name in ("a\x00b", "x" * 5000):
        with pytest.raises(InputError, match="cannot be read"):
            load(str(tmp_path / name))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="not a regular file"):
        load(str(tmp_path / "pipe"))
    with pytest.raises(UsageError, match="tells its format"):
        load(write("notes.txt", "hello"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_said(write: Write) -> None:
    source = write("d.json", "[]")
    Path(source).chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        load(source)


def test_files_and_rows_are_capped(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    from caa_registry.pairs.sources import rows

    source = write("d.jsonl", GOOD * 3)
    monkeypatch.setattr(rows, "MAX_ROWS", 2)
    with pytest.raises(InputError, match="more than 2 rows"):
        load(source)
    monkeypatch.setattr(source_files, "MAX_FILE_BYTES", len(GOOD))
    with pytest.raises(InputError, match="larger than"):
        load(source)


def test_a_long_csv_field_is_read(write: Write) -> None:
    source = write("d.csv", f'prompt,positive,negative\n"{"x, " * 200_000}",b,c\n')
    assert len(load(source).items) == 1
