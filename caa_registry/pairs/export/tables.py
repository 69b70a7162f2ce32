"""JSON lines, CSV, Parquet, and a Hugging Face ``DatasetDict``."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from caa_registry.pairs.export.rows import Items, row, splits_of


def write_jsonl(items: Items, path: Path) -> None:
    """One object a line; ``metadata`` is an object."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for item in items:
            file.write(json.dumps(row(item), ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(items: Items, path: Path) -> None:
    """A header and a line a row; ``metadata`` and ``turns`` are JSON. Texts are written as they are, formulas too."""
    rows = _flat(items)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(items: Items, path: Path) -> None:
    """Columns of text; ``metadata`` is JSON, since its types may differ from row to row, and so are ``turns``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = _flat(items)
    pq.write_table(pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in rows[0]])), path)


def to_datasets(items: Items) -> Any:
    """A ``datasets.DatasetDict`` with a ``Dataset`` for each split, columns as in Parquet."""
    import datasets

    rows = _flat(items)
    by_split = {split: [row for row in rows if row["split"] == split] for split in splits_of(items)}
    return datasets.DatasetDict({split: datasets.Dataset.from_list(rows) for split, rows in by_split.items()})


def write_datasets(items: Items, path: Path) -> None:
    """The folder that ``datasets.load_from_disk`` reads."""
    to_datasets(items).save_to_disk(str(path))


def _flat(items: Items) -> list[dict[str, str]]:
    """Rows of texts only, all with the same columns."""
    rows = [row(item) for item in items]
    json_columns = ["metadata"]
    if any("turns" in values for values in rows):
        rows = [{**values, "turns": values.get("turns", [])} for values in rows]
        json_columns.append("turns")
    return [{**values, **{name: _json(values[name]) for name in json_columns}} for values in rows]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)


FILES: Mapping[str, Callable[[Items, Path], None]] = {
    "jsonl": write_jsonl,
    "csv": write_csv,
    "parquet": write_parquet,
}
"""The formats that are one file, by suffix."""
