"""Targets of ``check_fuzz.py``: files of every format that is imported.

Bytes are flipped, cut out, doubled and spliced, and values of JSON change their types. A failure names the target and
the seed that gives it again.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caa_registry.errors import CaaError
from caa_registry.pairs.sources import load
from caa_registry.pairs.sources.mappings import read_mapping

ROWS: Sequence[dict[str, Any]] = [
    {"prompt": f"Is it {i}?\n\nChoices:\n (A) Yes\n (B) No", "positive": "(A)", "negative": "(B)", "system": "s",
     "split": "test" if i % 3 == 0 else "generate", "score": i / 7, "tags": ["é", None, {"k": i}]}
    for i in range(12)
]  # fmt: skip
ODD: Sequence[Any] = (None, True, 0, -1, 1e308, float("nan"), "", "\x00", "\ud800", [], [[]], {}, {"": 1}, "x" * 300)


@dataclass(frozen=True)
class Target:
    """A reader and what it reads. ``make`` gives sound bytes; ``read`` takes them damaged, in a folder of its own."""

    name: str
    make: Callable[[random.Random], bytes]
    read: Callable[[bytes, Path], object]


def check(target: Target, count: int, seed: int = 0) -> tuple[dict[str, int], list[str]]:
    """How many of ``count`` damaged files were read and refused, and where another error was raised: target, seed and
    traceback."""
    outcomes = {"read": 0, "refused": 0, "failed": 0}
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(seed, seed + count):
            chance = random.Random(f"{target.name} {number}")
            try:
                target.read(damaged(target.make(chance), chance), Path(folder))
                outcomes["read"] += 1
            except CaaError:
                outcomes["refused"] += 1
            except Exception:  # noqa: BLE001 - whatever it is, it is a failure
                outcomes["failed"] += 1
                failures.append(f"{target.name}, seed {number}:\n{traceback.format_exc(limit=-4)}")
    return outcomes, failures


def damaged(data: bytes, chance: random.Random) -> bytes:
    """``data`` with one to four damages."""
    content = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at, other = (chance.randrange(len(content) + 1) for _ in range(2))
        kind = chance.randrange(6)
        if kind == 0 and at < len(content):
            content[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del content[at:]
        elif kind == 2:
            del content[min(at, other) : max(at, other)]
        elif kind == 3:
            content[at:at] = content[min(at, other) : max(at, other)]
        elif kind == 4:
            content[at:at] = chance.randbytes(chance.randint(1, 8))
        else:
            content[at:at] = chance.choice(
                (b"{", b"}", b"[", b'"', b",", b"\n", b"\x00", b"1e999", b"NaN", b"9" * 5000)
            )
    return bytes(content)


def rows(chance: random.Random) -> list[dict[str, Any]]:
    """Sound rows, a third of the time with a value of another type or another name."""
    changed = [dict(row) for row in ROWS]
    if chance.random() < 0.33:
        row = chance.choice(changed)
        name = chance.choice([*row, "Split", "metadata", "question", "correct"])
        row[name] = chance.choice(ODD)
    return changed


def json_list(chance: random.Random) -> bytes:
    return json.dumps(rows(chance)).encode()


def json_lines(chance: random.Random) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows(chance)).encode()


def table(chance: random.Random) -> bytes:
    import csv

    text = io.StringIO()
    writer = csv.DictWriter(text, list(ROWS[0]), delimiter=chance.choice(",;\t|"))
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue().encode()


def arrow_table() -> Any:
    import pyarrow as pa

    return pa.Table.from_pylist([{**row, "tags": str(row["tags"])} for row in ROWS])


def parquet(chance: random.Random) -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(arrow_table(), buffer)
    return buffer.getvalue()


def arrow(chance: random.Random) -> bytes:
    import pyarrow as pa

    buffer = io.BytesIO()
    held = arrow_table()
    with pa.ipc.new_stream(buffer, held.schema) as writer:
        writer.write_table(held)
    return buffer.getvalue()


def zstandard(chance: random.Random) -> bytes:
    import pyarrow as pa

    buffer = pa.BufferOutputStream()
    with pa.output_stream(buffer, compression="zstd") as stream:
        stream.write(json_lines(chance))
    return bytes(buffer.getvalue().to_pybytes())


def mapping(chance: random.Random) -> bytes:
    part = b'  - match: "*"\n    rows: columns\n    positive: p\n    negative: n\n'
    return b"name: m\nrepos: [a/b]\nsplit: test\nfiles:\n" + part


def as_file(name: str) -> Callable[[bytes, Path], object]:
    def read(data: bytes, folder: Path) -> object:
        path = folder / name
        path.write_bytes(data)
        return load(str(path))

    return read


def as_lines(data: bytes, folder: Path) -> object:
    (folder / "other.txt").write_bytes(b"a\nb\nc\n")
    (folder / "lines.txt").write_bytes(data)
    return load(f"lines:{folder / 'lines.txt'},{folder / 'other.txt'}")


def as_folder(data: bytes, folder: Path) -> object:
    (folder / "set").mkdir(exist_ok=True)
    (folder / "set" / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    (folder / "set" / "data.arrow").write_bytes(data)
    return load(str(folder / "set"))


def as_state(data: bytes, folder: Path) -> object:
    (folder / "state").mkdir(exist_ok=True)
    (folder / "state" / "state.json").write_bytes(data)
    return load(str(folder / "state"))


TARGETS: Sequence[Target] = (
    Target("json", json_list, as_file("d.json")),
    Target("jsonl", json_lines, as_file("d.jsonl")),
    Target("csv", table, as_file("d.csv")),
    Target("parquet", parquet, as_file("d.parquet")),
    Target("gz", lambda chance: gzip.compress(json_lines(chance)), as_file("d.jsonl.gz")),
    Target("zst", zstandard, as_file("d.jsonl.zst")),
    Target("lines", lambda chance: b"one\ntwo\nthree\n", as_lines),
    Target("folder", arrow, as_folder),
    Target("state", lambda chance: b'{"_data_files": [{"filename": "data.arrow"}]}', as_state),
    Target("unnamed", json_list, as_file("d")),
    Target("mapping", mapping, lambda data, folder: read_mapping(data.decode("utf-8", "replace"), "m.yaml")),
)
