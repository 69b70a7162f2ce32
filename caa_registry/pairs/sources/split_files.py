"""Files that are the splits of one set: told by their names, read one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from caa_registry.errors import UsageError
from caa_registry.pairs.record import GENERATE, Imported, Mixture
from caa_registry.pairs.source import Source, SourceFile
from caa_registry.pairs.sources.compression import SUFFIXES
from caa_registry.pairs.sources.files import SourceData, readable
from caa_registry.pairs.sources.items import ItemBuilder
from caa_registry.pairs.sources.mappings import SavedMapping
from caa_registry.pairs.sources.rows import Row, listed, no_rows
from caa_registry.pairs.sources.table import chosen_cleaning, file_records, mapped_rows

_SHARD = re.compile(r"(.*?)-(\d{5})-of-(\d{5})(?:-[0-9a-f]+)?")
# Of no more shards than these is it said which are missing.
MAX_SHARDS = 10_000
# File names that stand for a split; other files of a folder are sets of their own.
_SPLITS = (
    "generate",
    "train",
    "training",
    "test",
    "testing",
    "dev",
    "val",
    "valid",
    "validation",
    "eval",
    "evaluation",
)


def split_name(name: str) -> str:
    """The split that a set's split ``name`` is imported as: vectors are made of ``generate``."""
    return GENERATE if name in ("train", "training") else name


def by_split(names: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """The files of each split, its shards in order: ``data/train-00000-of-00002.parquet``, ``data/test.jsonl``.

    Empty where they are not the splits of one set: in several folders, with other names, of several formats, or where
    a shard is missing.
    """
    files: dict[str, list[str]] = {}
    shards: dict[str, list[tuple[int, int]]] = {}
    paths = [PurePosixPath(name) for name in names]
    if len({(path.parent, path.suffix) for path in paths}) != 1:
        return {}
    for path in sorted(paths):
        stem = path.stem if path.suffix not in SUFFIXES else PurePosixPath(path.stem).stem
        match = _SHARD.fullmatch(stem)
        split = match[1] if match else stem
        if split not in _SPLITS:
            return {}
        files.setdefault(split, []).append(str(path))
        shards.setdefault(split, []).append((int(match[2]), int(match[3])) if match else (0, 1))
    whole = all(numbers == [(i, len(numbers)) for i in range(len(numbers))] for numbers in shards.values())
    return files if whole and len({split_name(split) for split in files}) == len(files) else {}


def missing_shards(names: Sequence[str]) -> list[str]:
    """The shards that ``names``, files of one folder, leave out: ``train-00001-of-00002.parquet``."""
    found: dict[tuple[str, int, str], set[int]] = {}
    for path in map(PurePosixPath, names):
        match = _SHARD.fullmatch(path.stem)
        if match:
            found.setdefault((match[1], int(match[3]), path.suffix), set()).add(int(match[2]))
    return [
        f"{split}-{number:05}-of-{count:05}{suffix}"
        for (split, count, suffix), numbers in found.items()
        for number in sorted(set(range(min(count, MAX_SHARDS))) - numbers)
    ]


def read_shards(
    files: Sequence[SourceData],
    rows: Iterator[Row],
    counts: Sequence[int],
    *,
    whole: SourceData,
    container: str,
    split: str | None,
    columns: Mapping[str, str],
    format: str | None,
    licence: str,
    mapping: SavedMapping | None,
    home: str | None = None,
    limit: int | None = None,
) -> Imported:
    """The items of one split, whose ``rows`` are those of all ``files``, ``counts`` of each. ``whole`` names the set:
    its URI is the name, errors name the label. ``home``: the split of rows that name none; ``limit``: how
    many rows are read, all if ``None``."""
    part = mapping.part(files[0].name) if mapping else None
    home = home or (mapping.split if mapping else None)
    builder = ItemBuilder(whole, chosen_cleaning(container, format, columns), split, columns, home=home, limit=limit)
    items = builder.build(mapped_rows(rows, part, whole))
    records: list[SourceFile] = []
    start = 0
    for file, count in zip(files, counts, strict=True):
        records += file_records(file, items[start : start + count])
        start += count
    source = Source(
        uri=whole.name,
        format=builder.cleaning.name or container,
        files=tuple(records),
        columns=dict(columns),
        mapping=mapping.as_json() if mapping else None,
    )
    licence = licence or (mapping.licence if mapping else "")
    return builder.imported(items, source, licence)


def left_out(parts: Mapping[str, Imported | None], source: str) -> list[str]:
    """Notes about the splits in ``parts`` that have no rows. Raises ``InputError`` where none has any."""
    empty = [name for name, part in parts.items() if part is None]
    if len(empty) == len(parts):
        raise no_rows(SourceData(source, readable(source), b""))
    return [f"the split {name} holds no rows" for name in empty]


def joined(parts: Mapping[str, Imported], source: str, notes: Sequence[str] = ()) -> Imported:
    """The parts of one set, by the names of their splits or files, one after the other, with ``notes`` and theirs.
    Raises ``UsageError`` where some hold pairs and others questions."""
    first = next(iter(parts.values()))
    if len({part.kind for part in parts.values()}) > 1:
        raise UsageError(
            f"{source} holds pairs and questions: {listed(parts)}", "Import its files as two datasets, one at a time."
        )
    items = [item for part in parts.values() for item in part.items]
    record = replace(first.source, files=tuple(file for part in parts.values() for file in part.source.files))
    own = [f"{name}: {note}" for name, part in parts.items() for note in part.notes]
    mixture = Mixture.together(part.mixture for part in parts.values())
    return Imported(first.kind, items, record, first.licence, [*notes, *own], mixture)  # type: ignore[arg-type]
