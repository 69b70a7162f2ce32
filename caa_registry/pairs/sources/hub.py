"""Datasets of the Hugging Face hub: ``hf:ORG/NAME[@REVISION][/FILE]``, always at one commit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from caa_registry.errors import HubError, UsageError
from caa_registry.hub import HubSource, parse_hub
from caa_registry.pairs.record import Imported
from caa_registry.pairs.source import Source, SourceFile
from caa_registry.pairs.sources.files import SourceData, read_file
from caa_registry.pairs.sources.hub_snapshot import STREAMED, Snapshot, beginning, downloaded, resolved
from caa_registry.pairs.sources.items import ItemBuilder
from caa_registry.pairs.sources.json_rows import jsonl_rows
from caa_registry.pairs.sources.mappings import SavedMapping, for_repo
from caa_registry.pairs.sources.parquet_rows import shard_row_count, shard_rows
from caa_registry.pairs.sources.rows import listed
from caa_registry.pairs.sources.table import chosen_cleaning, file_records, mapped_rows, read_table

# One file a split, as this package pushes them.
SPLIT_FILE = re.compile(r"data/[\w.-]+\.jsonl")

_SHARD = re.compile(r"(.*?)-(\d{5})-of-(\d{5})(?:-[0-9a-f]+)?\.parquet")


def load_hub(
    source: str,
    *,
    split: str | None,
    columns: Mapping[str, str],
    format: str | None,
    licence: str,
    mapping: SavedMapping | None = None,
    limit: int | None = None,
) -> Imported:
    """The items of a hub dataset; the source record carries the repository and the 40-hex commit.

    Without a file, the repository's only data file is taken, or all Parquet shards of its only split. Where neither a
    mapping nor columns nor a format are given, the shipped mapping of the repository is used, if there is one. With
    ``limit`` only the beginning of a JSONL or Parquet file is downloaded. With the hub switched off, what was
    downloaded before is read. Raises ``HubError`` where the hub refuses or cannot be reached, or the file has to be
    chosen.
    """
    place = parse_hub(source)
    if format == "lines":
        raise UsageError("lines are read from local files only", "Download both files first.")
    notes = []
    if mapping is None and not columns and format is None:
        mapping = for_repo(place.repo)
        notes = [f"read with the saved mapping {mapping.name}"] if mapping else []
    snapshot = resolved(place.repo, place.revision, str(place))
    names = _chosen(place, snapshot)
    options: dict[str, Any] = {
        "split": split,
        "columns": columns,
        "format": format,
        "licence": licence or snapshot.licence,
        "mapping": mapping,
    }
    if limit is not None and len(names) == 1 and PurePosixPath(names[0]).suffix.lower() in STREAMED:
        imported = read_table(beginning(snapshot, names[0], limit), str(place), **options)
    else:
        paths = [downloaded(snapshot, name) for name in names]
        files = [
            read_file(path, label=f"hf:{snapshot.repo}/{name}", name=name)
            for path, name in zip(paths, names, strict=True)
        ]
        if len(files) == 1:
            imported = read_table(files[0], str(place), **options)
        elif all(map(SPLIT_FILE.fullmatch, names)):
            imported = _read_splits(files, place, options)
        else:
            imported = _read_shards(files, paths, place, **options)
        imported = replace(imported, items=imported.items[:limit])
    record = replace(imported.source, repo=snapshot.repo, revision=snapshot.commit)
    return replace(imported, source=record, notes=[*notes, *imported.notes])


def _chosen(place: HubSource, snapshot: Snapshot) -> list[str]:
    known = snapshot.data_files
    if place.file:
        if place.file not in snapshot.sizes:
            raise HubError(f"{place}: there is no file {place.file!r} at {snapshot.commit[:12]}", _choice(place, known))
        return [place.file]
    if not known:
        raise HubError(
            f"{place} holds no JSONL, JSON, CSV or Parquet file",
            f"Its files: {listed(sorted(snapshot.sizes))}." if snapshot.sizes else "It is empty.",
        )
    if len(known) == 1 or _is_one_split(known) or all(map(SPLIT_FILE.fullmatch, known)):
        return known
    raise HubError(f"{place} holds {len(known)} data files", _choice(place, known))


def _choice(place: HubSource, known: Sequence[str]) -> str:
    if not known:
        return "The repository holds no data files."
    example = HubSource(place.repo, place.revision, known[0])
    return f"Choose one, such as {example}. Data files: {listed(known)}."


def _is_one_split(names: Sequence[str]) -> bool:
    matches = [match for name in names if (match := _SHARD.fullmatch(name))]
    same = {(match[1], match[3]) for match in matches}
    return len(matches) == len(names) == int(matches[0][3]) and len(same) == 1 if matches else False


def _read_splits(files: Sequence[SourceData], place: HubSource, options: Mapping[str, Any]) -> Imported:
    """Files named after their splits, one after the other; rows that name a split themselves keep it."""
    parts = []
    for file in files:
        named = "split" in next(jsonl_rows(file)).values
        split = options["split"] or (None if named else PurePosixPath(file.name).stem)
        parts.append(read_table(file, str(place), **{**options, "split": split}))
    if len({part.kind for part in parts}) > 1:
        raise HubError(f"{place} holds pairs and questions", f"Choose one: {listed(file.name for file in files)}.")
    first = parts[0]
    items = [item for part in parts for item in part.items]
    source = replace(first.source, files=tuple(record for part in parts for record in part.source.files))
    notes = [f"{file.name}: {note}" for file, part in zip(files, parts, strict=True) for note in part.notes]
    return Imported(first.kind, items, source, first.licence, notes)  # type: ignore[arg-type]


def _read_shards(
    files: Sequence[SourceData],
    paths: Sequence[Path],
    place: HubSource,
    split: str | None,
    columns: Mapping[str, str],
    format: str | None,
    licence: str,
    mapping: SavedMapping | None,
) -> Imported:
    if format not in (None, "parquet"):
        raise UsageError(f"{place} is Parquet, not {format}", "Leave --format out.")
    whole = SourceData(place.repo, str(place), b"")
    part = mapping.part(files[0].name) if mapping else None
    own_split = split or (mapping.split if mapping else None)
    builder = ItemBuilder(whole, chosen_cleaning("parquet", format, columns), own_split, columns)
    items = builder.build(mapped_rows(shard_rows(files, paths), part, whole))
    records: list[SourceFile] = []
    start = 0
    for file in files:
        end = start + shard_row_count(file)
        records += file_records(file, items[start:end])
        start = end
    record = Source(
        uri=str(place),
        format="parquet",
        files=tuple(records),
        columns=dict(columns),
        mapping=mapping.as_json() if mapping else None,
    )
    licence = licence or (mapping.licence if mapping else "")
    return Imported(builder.kind, items, record, licence, builder.notes.sentences())
