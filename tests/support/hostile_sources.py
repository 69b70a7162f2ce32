"""Files of rows that take far more memory or time to read than they have bytes, and what importing each comes to."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path

from support.limited import measured

from caa_registry.errors import CaaError
from caa_registry.pairs.sources.load import load

_ROW = '{"prompt": "Is it?", "positive": "yes", "negative": "no"'


def _packed(path: Path, *parts: str) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for part in parts:
            file.write(part)


def _lists(path: Path) -> None:
    """A row of ten million empty lists."""
    _packed(path, f'[{_ROW}, "x": [[]', *[",[]" * 100_000] * 100, "]}]")


def _lists_in_lines(path: Path) -> None:
    _packed(path, *[f'{_ROW}, "x": [[]{",[]" * 80_000}]}}\n'] * 100)


def _keys(path: Path) -> None:
    columns = "".join(f', "k{i}": 1' for i in range(50_000))
    _packed(path, *[f"{_ROW}{columns}}}\n"] * 40)


def _repeated_key(path: Path) -> None:
    columns = "".join(f', "k{i}": 1' for i in range(100_000))
    path.write_text(f'{_ROW}{columns}, "k99999": 1}}\n')


def _lists_as_text(path: Path) -> None:
    row = _ROW.replace('"Is it?"', '"[{}')
    _packed(path, row.partition('", ')[0], *[",[]" * 100_000] * 90, ']", "', row.partition('", ')[2], "}\n")


def _open_comments(path: Path) -> None:
    path.write_bytes(b"<!---->" * 500 + b"<!--" * 100)


def _marks(path: Path) -> None:
    path.write_text('{"prompt": "a' + "\u0301\u0316" * 300_000 + '", "positive": "yes", "negative": "no"}\n')


def _double_marks(path: Path) -> None:
    """Each is a character that stands for two."""
    path.write_text(f'{_ROW}, "x": "a' + "\u0f73" * 300_000 + '"}\n')


def _message_marks(path: Path) -> None:
    said = '{"role": "user", "content": "a' + "\u0301\u0316" * 300_000 + '"}'
    path.write_text(f'{{"messages": [{said}], "positive": "yes", "negative": "no"}}\n')


def _commas(path: Path) -> None:
    _packed(path, "prompt", *["," * 1_000_000] * 30)


def _wide_header(path: Path) -> None:
    path.write_text(",".join(f"c{i}" for i in range(60_000)) + "\n")


def _columns(rows: int) -> dict[str, object]:
    import pyarrow as pa

    texts = {"prompt": "Is it?", "positive": "yes", "negative": "no"}
    return {name: pa.array([text] * rows) for name, text in texts.items()}


def _parquet(path: Path, **columns: object) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = len(next(iter(columns.values())))  # type: ignore[arg-type]
    pq.write_table(pa.table({**_columns(rows), **columns}), path, compression="zstd")


def _one_long_text(path: Path) -> None:
    import pyarrow as pa

    _parquet(path, prompt=pa.DictionaryArray.from_arrays(pa.array([0] * 300, pa.int32()), ["x" * 10_000_000]))


def _long_text_in_list(path: Path) -> None:
    import pyarrow as pa

    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), ["x" * 4_000_000])
    _parquet(path, x=pa.ListArray.from_arrays([0, 1000], texts))


def _nulls(path: Path) -> None:
    import pyarrow as pa

    _parquet(path, x=pa.ListArray.from_arrays([0, 20_000_000], pa.nulls(20_000_000, pa.string())))


def _wide_table(path: Path) -> None:
    _parquet(path, **{f"c{i}": [1] for i in range(30_000)})


def _saved(folder: Path, codec: str | None, **columns: object) -> None:
    import pyarrow as pa

    folder.mkdir()
    (folder / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    rows = len(next(iter(columns.values())))  # type: ignore[arg-type]
    table = pa.table({**_columns(rows), **columns})
    with pa.ipc.new_stream(
        folder / "data.arrow", table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)
    ) as to:
        to.write_table(table)


def _saved_nulls(path: Path) -> None:
    import pyarrow as pa

    _saved(path, None, x=pa.ListArray.from_arrays([0, 500_000_000], pa.nulls(500_000_000)))


def _saved_dictionary(path: Path) -> None:
    import pyarrow as pa

    _saved(path, None, x=pa.DictionaryArray.from_arrays(pa.array([0] * 300, pa.int32()), ["x" * 10_000_000]))


def _saved_compressed(path: Path) -> None:
    import pyarrow as pa

    _saved(path, "zstd", x=pa.array(["x" * 400_000_000]))


FILES: Mapping[str, tuple[str, Callable[[Path], None]]] = {
    "lists": ("lists.json.gz", _lists),
    "lists in lines": ("lists.jsonl.gz", _lists_in_lines),
    "lists as text": ("text.jsonl.gz", _lists_as_text),
    "keys": ("keys.jsonl.gz", _keys),
    "repeated key": ("repeated.jsonl", _repeated_key),
    "comments": ("page.json", _open_comments),
    "marks": ("marks.jsonl", _marks),
    "double marks": ("double.jsonl", _double_marks),
    "marks in a message": ("messages.jsonl", _message_marks),
    "commas": ("commas.csv.gz", _commas),
    "wide header": ("wide.csv", _wide_header),
    "one long text": ("text.parquet", _one_long_text),
    "long text in list": ("list.parquet", _long_text_in_list),
    "nulls": ("nulls.parquet", _nulls),
    "wide table": ("wide.parquet", _wide_table),
    "saved nulls": ("nulls", _saved_nulls),
    "saved dictionary": ("dictionary", _saved_dictionary),
    "saved compressed": ("compressed", _saved_compressed),
}


def write(folder: Path) -> None:
    """All files, and one that does no harm."""
    for file, make in FILES.values():
        make(folder / file)
    rows = (f'{_ROW}, "tags": ["new", "{i}"]}}\n' for i in range(20_000))
    (folder / "harmless.jsonl").write_text("".join(rows))


def _imported(path: Path) -> str:
    try:
        return f"read {len(load(str(path)).items)}"
    except CaaError as error:
        assert error.hint and len(error.message) < 1000
        return f"refused: {error.message}"


def report(folder: str) -> None:
    """In a child: what importing each of the files came to."""
    hostile: dict[str, Callable[[], object]] = {
        name: lambda file=file: _imported(Path(folder) / file)  # type: ignore[misc]
        for name, (file, _) in FILES.items()
    }
    measured(lambda: _imported(Path(folder) / "harmless.jsonl"), hostile)
