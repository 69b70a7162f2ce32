"""Folders that ``save_to_disk`` of the datasets library wrote: one table, or one for each split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.record import Imported
from caa_registry.pairs.sources.arrow_rows import BATCH, ArrowRows
from caa_registry.pairs.sources.arrow_stream import arrow_table
from caa_registry.pairs.sources.files import MAX_ROWS, SourceData, read_file, readable
from caa_registry.pairs.sources.formats import CONVENTIONS
from caa_registry.pairs.sources.json_rows import parse_json
from caa_registry.pairs.sources.rows import Row, listed, no_rows
from caa_registry.pairs.sources.split_files import joined, left_out, read_shards, split_name

_SPLITS = "dataset_dict.json"
_STATE = "state.json"


def is_saved_folder(path: Path) -> bool:
    """Whether ``path`` is a folder that ``save_to_disk`` wrote."""
    try:
        return any((path / name).is_file() for name in (_SPLITS, _STATE))
    except (OSError, ValueError):
        return False


def load_folder(source: str, *, limit: int | None = None, **options: Any) -> Imported:
    """The items of the folder ``source``; its splits become splits, ``train`` becomes ``generate``. ``limit``: the
    first rows of each.

    Rows that name a split themselves keep it; a split without rows is left out, with a note. Raises ``InputError`` for
    files that do not fit together, ``UsageError`` for options that a folder does not take.
    """
    if options.get("format") not in (None, *CONVENTIONS):
        raise UsageError(f"{source} is a folder of datasets, not {options['format']}", "Leave --format out.")
    path = Path(source)
    if not (path / _SPLITS).is_file():
        table = _read_table(path, source, "", None, limit, options)
        if table is None:
            raise no_rows(SourceData(source, readable(source), b""))
        return table
    names = _field(path / _SPLITS, "splits", source)
    if not isinstance(names, list) or not names or not all(_is_plain(name) for name in names):
        raise _bad(path / _SPLITS, "it lists no splits")
    if options.get("split") is not None and len(names) > 1:
        raise UsageError(
            f"{source} has the splits {', '.join(names)}, and {options['split']!r} would be all of them",
            "Leave --split out, or import the folder of one split.",
        )
    clashing = [name for name in names if [split_name(other) for other in names].count(split_name(name)) > 1]
    if clashing:
        raise UsageError(
            f"{source} has the splits {listed(clashing)}, which would be one: {split_name(clashing[0])}",
            "Import their folders one at a time, or save them under other names.",
        )
    tables = {name: _read_table(path / name, source, f"{name}/", name, limit, options) for name in names}
    return joined({name: part for name, part in tables.items() if part}, source, left_out(tables, source))


def _read_table(
    folder: Path, source: str, prefix: str, split: str | None, limit: int | None, options: Mapping[str, Any]
) -> Imported | None:
    """The items of one table, or ``None`` where it has no rows."""
    entries = _field(folder / _STATE, "_data_files", source)
    if entries == [] and not any(folder.glob("*.arrow")):
        return None
    files_of = entries if isinstance(entries, list) else []
    names = [entry.get("filename") for entry in files_of if isinstance(entry, dict)]
    if not names or not all(_is_plain(name) for name in names):
        raise _bad(folder / _STATE, "it lists no files of rows")
    files = [
        read_file(folder / name, label=readable(str(folder / name)), name=f"{prefix}{name}") for name in map(str, names)
    ]
    tables = [arrow_table(file) for file in files]
    if sum(len(table) for table in tables) > MAX_ROWS:
        raise InputError(f"more than {MAX_ROWS} rows", "Split the set.", source=readable(str(folder)))
    if not any(map(len, tables)):
        return None
    size = sum(len(file.data) for file in files)
    rows = _rows(tables, size, readable(str(folder)))
    whole = SourceData(readable(source), readable(str(folder)), b"")
    return read_shards(
        files,
        islice(rows, limit),
        [len(table) for table in tables],
        whole=whole,
        container="datasets",
        home=split_name(split) if split is not None else None,
        **{**options, "split": options.get("split"), "mapping": options.get("mapping")},
        limit=limit,
    )


def _field(path: Path, name: str, source: str) -> Any:
    file = read_file(path)
    value = parse_json(file.content.decode("utf-8", "replace"), source=file.label)
    return value.get(name) if isinstance(value, dict) else None


def _is_plain(name: Any) -> bool:
    """Whether ``name`` names something in a folder itself, and nothing elsewhere."""
    return isinstance(name, str) and bool(name.strip(".")) and not set(name) & set("/\\\x00")


def _bad(path: Path, message: str) -> InputError:
    return InputError(message, "Save the dataset again with save_to_disk.", source=readable(str(path)))


def _rows(tables: Sequence[Any], size: int, label: str) -> Iterator[Row]:
    rows = ArrowRows(size, label)
    for table in tables:
        for batch in table.to_batches(max_chunksize=BATCH):
            yield from rows.of(batch)
