"""Compressed files, folders of datasets, and files that hold no rows, each of which says what it is."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.record import PairItem, dataset_digest
from caa_registry.pairs.sources import load

Write = Callable[[str, str | bytes], str]

PLAIN = {"prompt": "q", "positive": "yes", "negative": "no"}
TEXTS = {
    "d.jsonl": json.dumps(PLAIN) + "\n",
    "d.ndjson": json.dumps(PLAIN) + "\n",
    "d.json": json.dumps([PLAIN]),
    "d.csv": "prompt,positive,negative\nq,yes,no\n",
    "d.tsv": "prompt\tpositive\tnegative\nq\tyes\tno\n",
}


def zstd(data: bytes) -> bytes:
    import pyarrow as pa

    buffer = pa.BufferOutputStream()
    with pa.output_stream(buffer, compression="zstd") as stream:
        stream.write(data)
    return bytes(buffer.getvalue().to_pybytes())


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".zst", zstd)])
def test_text_formats_are_read_compressed(
    write: Write, name: str, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    source = write(name + suffix, compress(TEXTS[name].encode()))
    imported = load(source)
    assert dataset_digest("pairs", imported.items) == dataset_digest("pairs", load(write(name, TEXTS[name])).items)
    (file,) = imported.source.files
    assert (file.name, file.rows) == (name + suffix, 1)
    assert file.digest != load(write(name, TEXTS[name])).source.files[0].digest


def test_lines_are_read_compressed(write: Write) -> None:
    positive, negative = write("p.txt.gz", gzip.compress(b"a\nb\n")), write("n.txt.zst", zstd(b"c\nd\n"))
    items = load(f"lines:{positive},{negative}").items
    assert [item.pair.positive for item in items if isinstance(item, PairItem)] == ["a", "b"]


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_a_compressed_file_that_is_cut_or_empty_is_said(write: Write, compress: Callable[[bytes], bytes]) -> None:
    data = compress(TEXTS["d.jsonl"].encode() * 100)
    with pytest.raises(InputError, match="cannot be unpacked") as caught:
        load(write("d.jsonl.gz", data[:-5]))
    assert "not loaded to its end" in caught.value.hint
    with pytest.raises(InputError, match="the file is empty"):
        load(write("d.jsonl.gz", compress(b" \n")))
    with pytest.raises(InputError, match="in a compressed file"):
        load(write("d.jsonl.gz", compress(data)))


MEASURED = """
import resource, sys
from caa_registry.errors import InputError
from caa_registry.pairs.sources import load
try:
    load(sys.argv[1])
    print("read")
except InputError as error:
    print(error.message)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_file_that_unpacks_without_end_takes_no_memory(write: Write, suffix: str, tmp_path: Path) -> None:
    compress = zstd if suffix == "zst" else gzip.compress
    piece = compress(b" " * 2**26)
    bomb = write(f"bomb.jsonl.{suffix}", piece * 20)
    harmless = write(f"d.jsonl.{suffix}", compress(TEXTS["d.jsonl"].encode()))
    said, peaks = [], []
    for source in (harmless, bomb):
        # From a small process: what getrusage says includes the one that it was started from.
        start = ["/bin/sh", "-c", 'exec "$0" "$@"', sys.executable, "-c", MEASURED, source]
        output = subprocess.run(start, capture_output=True, text=True, check=True).stdout.splitlines()
        said.append(output[0])
        peaks.append(int(output[1]))
    assert said[0] == "read" and "unpacks to more than" in said[1]
    assert peaks[1] - peaks[0] < 300


def saved(rows: dict[str, list[dict[str, Any]]], path: Path, shards: int = 1) -> str:
    import datasets

    parts = datasets.DatasetDict({split: datasets.Dataset.from_list(part) for split, part in rows.items()})
    parts.save_to_disk(str(path), num_shards=dict.fromkeys(rows, shards))
    return str(path)


def row(prompt: str, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "positive": "yes", "negative": "no", **more}


def test_a_folder_of_splits_is_read_with_its_splits(tmp_path: Path) -> None:
    rows = {"train": [row("1"), row("2"), row("3")], "test": [row("4")]}
    source = saved(rows, tmp_path / "both")
    imported = load(source)
    found = [(item.split, item.pair.prompt) for item in imported.items if isinstance(item, PairItem)]
    assert found == [("generate", "1"), ("generate", "2"), ("generate", "3"), ("test", "4")]
    assert imported.source.format == "datasets"
    assert [(file.name, file.split, file.rows) for file in imported.source.files] == [
        ("train/data-00000-of-00001.arrow", "generate", 3),
        ("test/data-00000-of-00001.arrow", "test", 1),
    ]
    assert [item.split for item in load(f"{source}/train").items] == ["generate"] * 3
    assert len(load(source, limit=1).items) == 2
    with pytest.raises(UsageError, match="has the splits train, test"):
        load(source, split="test")
    with pytest.raises(UsageError, match="is a folder of datasets, not csv"):
        load(source, format="csv")


def test_shards_of_a_folder_are_read_in_order_and_rows_keep_their_splits(tmp_path: Path) -> None:
    rows = {"train": [row("1", split="a"), row("2", split="b"), row("3", split="a")]}
    imported = load(saved(rows, tmp_path / "shards", shards=2))
    assert [item.split for item in imported.items] == ["a", "b", "a"]
    assert [item.metadata["row"] for item in imported.items] == [1, 2, 3]
    assert sum(file.rows for file in imported.source.files) == 3


def test_a_folder_that_contradicts_itself_is_said(tmp_path: Path) -> None:
    folder = Path(saved({"train": [row("1")]}, tmp_path / "set"))
    (table,) = (folder / "train").glob("*.arrow")
    table.write_bytes(table.read_bytes()[:100])
    with pytest.raises(InputError, match="not an Arrow stream"):
        load(str(folder))
    for state in ('{"_data_files": [{"filename": "../../secret"}]}', "{}", "[]", '{"_data_files": []}'):
        (folder / "train" / "state.json").write_text(state)
        with pytest.raises(InputError, match="lists no files of rows"):
            load(str(folder))
    (folder / "dataset_dict.json").write_text('{"splits": ["../.."]}')
    with pytest.raises(InputError, match="lists no splits"):
        load(str(folder))


def test_a_folder_of_other_files_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("1")
    with pytest.raises(UsageError, match="is a folder, and not one that save_to_disk of datasets wrote") as caught:
        load(str(tmp_path))
    assert "--split generate=FILE" in caught.value.hint and "x.py" in caught.value.hint


def workbook(folder: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("[Content_Types].xml", "<x/>")
        file.writestr(f"{folder}/a.xml", "<x/>")
    return buffer.getvalue()


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("pairs.jsonl", "{}")
    return buffer.getvalue()


def database(path: Path) -> bytes:
    with sqlite3.connect(path) as connection:
        connection.execute("create table pairs (prompt text)")
    connection.close()
    return path.read_bytes()


TEXT = TEXTS["d.csv"]


@pytest.mark.parametrize("name", ["d.jsonl", "d.json", "d.csv", "d.parquet", "d.xyz"])
@pytest.mark.parametrize(
    ("content", "what", "hint"),
    [
        (workbook("xl"), "it is an Excel workbook", "Save the sheet as CSV UTF-8"),
        (workbook("word"), "it is a Word document", "Write its rows"),
        (archive(), "it is a ZIP archive", "Unpack it"),
        (pickle.dumps([PLAIN]), "it is a Python pickle", "runs code"),
        (b"%PDF-1.7\n...", "it is a PDF document", "Write its rows"),
        (b"BZh91AY", "it is a bzip2 archive", "Unpack it"),
        (b"\n<!DOCTYPE html><html><body>Log in", "it is a web page, not the data", "login page"),
        (b"<HTML>", "it is a web page", "hf:ORG/NAME/FILE"),
        (b"<?xml version='1.0'?><a/>", "it is an XML document", "Write its rows"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "it is a Git LFS pointer", "git lfs pull"),
        (TEXT.encode("utf-16"), "it is text in UTF-16", "iconv -f UTF-16 "),
        (TEXT.encode("utf-16-le"), "it is text in UTF-16LE", "iconv -f UTF-16LE "),
        (TEXT.encode("utf-16-be"), "it is text in UTF-16BE", "iconv -f UTF-16BE "),
        (TEXT.encode("utf-32"), "it is text in UTF-32", "iconv -f UTF-32 "),
    ],
)
def test_a_file_of_another_kind_says_what_it_is(write: Write, name: str, content: bytes, what: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        load(write(name, content))
    assert what in caught.value.message and hint in caught.value.hint


def test_a_database_says_what_it_is(write: Write, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is a SQLite database"):
        load(write("d.csv", database(tmp_path / "x.db")))


def test_latin_1_is_said(write: Write) -> None:
    with pytest.raises(InputError, match="not UTF-8: byte 0xe9") as caught:
        load(write("d.csv", "prompt,positive,negative\nété,yes,no\n".encode("latin-1")))
    assert "iconv -f WINDOWS-1252" in caught.value.hint


@pytest.mark.parametrize(
    ("value", "said", "hint"),
    [
        ({"version": 1, "data": [PLAIN]}, "its rows are under the key 'data'", "jq '.[\"data\"]'"),
        ({"rows": [PLAIN], "features": [{"a": 1}, {"b": 2}]}, "under the key 'features'", "jq"),
        (
            {"prompt": ["q"], "positive": ["a"], "negative": ["b"]},
            "it holds its columns one by one",
            "orient='records'",
        ),
        ({"0": PLAIN, "1": PLAIN}, "under keys of their own (0, 1)", "orient='records'"),
        (PLAIN, "it is one row", "Write a list of rows"),
    ],
)
def test_json_that_is_no_list_says_where_its_rows_are(write: Write, value: Any, said: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        load(write("d.json", json.dumps(value)))
    assert "not a list of objects" in caught.value.message
    assert said in caught.value.message and hint in caught.value.hint


def test_json_of_many_lines_under_the_name_of_json_lines_is_said(write: Write) -> None:
    with pytest.raises(InputError, match="row 1: not JSON") as caught:
        load(write("d.jsonl", json.dumps(PLAIN, indent=2)))
    assert "every line is a whole object" in caught.value.hint


def test_splits_that_would_be_one_are_refused(tmp_path: Path) -> None:
    folder = saved({"train": [row("1")], "generate": [row("2")]}, tmp_path / "set")
    with pytest.raises(UsageError, match="has the splits train, generate, which would be one: generate"):
        load(folder)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_line_that_tells_excel_the_separator_is_no_header(write: Write, separator: str) -> None:
    table = "\n".join(separator.join(fields) for fields in (("prompt", "positive", "negative"), ("q", "yes", "no")))
    (item,) = load(write("d.csv", f"sep={separator}\r\n{table}\n")).items
    assert (item.pair.prompt, item.pair.positive) == ("q", "yes")  # type: ignore[union-attr]
