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


def _commas(path: Path) -> None:
    _packed(path, "prompt", *["," * 1_000_000] * 30)


def _wide_header(path: Path) -> None:
    path.write_text(",".join(f"c{i}" for i in range(60_000)) + "\n")


FILES: Mapping[str, tuple[str, Callable[[Path], None]]] = {
    "lists": ("lists.json.gz", _lists),
    "lists in lines": ("lists.jsonl.gz", _lists_in_lines),
    "lists as text": ("text.jsonl.gz", _lists_as_text),
    "keys": ("keys.jsonl.gz", _keys),
    "repeated key": ("repeated.jsonl", _repeated_key),
    "comments": ("page.json", _open_comments),
    "commas": ("commas.csv.gz", _commas),
    "wide header": ("wide.csv", _wide_header),
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
