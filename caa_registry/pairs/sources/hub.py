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
from caa_registry.pairs.sources.files import SourceData, read_file
from caa_registry.pairs.sources.formats import container_of, rows_of
from caa_registry.pairs.sources.hub_snapshot import STREAMED, Snapshot, beginning, downloaded, resolved
from caa_registry.pairs.sources.json_rows import jsonl_rows
from caa_registry.pairs.sources.mappings import SavedMapping, for_repo
from caa_registry.pairs.sources.parquet_rows import shard_row_count, shard_rows
from caa_registry.pairs.sources.rows import listed
from caa_registry.pairs.sources.split_files import by_split, joined, names_split, read_shards, split_name
from caa_registry.pairs.sources.table import read_table

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

    Without a file, the repository's only data file is taken, or all Parquet shards of its only split, or a file or
    shards for each split (``train`` becomes ``generate``). Where neither a
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
            imported = _read_named(files, place, options)
        elif splits := by_split(names):
            by_name = dict(zip(names, zip(files, paths, strict=True), strict=True))
            imported = _read_splits(splits, by_name, place, limit, options)
            limit = None
        else:
            imported = _read_shards(files, paths, place, options)
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
    if len(known) == 1 or by_split(known) or _is_one_split(known) or all(map(SPLIT_FILE.fullmatch, known)):
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


def _read_named(files: Sequence[SourceData], place: HubSource, options: Mapping[str, Any]) -> Imported:
    """Files named after their splits, one after the other; rows that name a split themselves keep it."""
    parts = {}
    for file in files:
        named = names_split(next(jsonl_rows(file)))
        split = options["split"] or (None if named else split_name(PurePosixPath(file.name).stem))
        parts[file.name] = read_table(file, str(place), **{**options, "split": split})
    return joined(parts, str(place))


def _read_splits(
    splits: Mapping[str, Sequence[str]],
    files: Mapping[str, tuple[SourceData, Path]],
    place: HubSource,
    limit: int | None,
    options: Mapping[str, Any],
) -> Imported:
    """The splits of a repository, each of one file or of shards; rows that name a split themselves keep it."""
    if options["split"] and len(splits) > 1:
        raise UsageError(
            f"{place} has the splits {listed(splits)}, and {options['split']!r} would be all of them",
            "Leave --split out, or name one file.",
        )
    parts = {}
    for name, names in splits.items():
        shards = [files[shard][0] for shard in names]
        paths = [files[shard][1] for shard in names]
        rows = rows_of(shards[0], container_of(shards[0], options["format"]))
        split = options["split"]
        if len(splits) > 1 and not names_split(next(rows)):
            split = split_name(name)
        if len(shards) == 1:
            part = read_table(shards[0], str(place), **{**options, "split": split})
        else:
            part = _read_shards(shards, paths, place, {**options, "split": split})
        parts[name] = replace(part, items=part.items[:limit])
    return joined(parts, str(place)) if len(parts) > 1 else next(iter(parts.values()))


def _read_shards(
    files: Sequence[SourceData], paths: Sequence[Path], place: HubSource, options: Mapping[str, Any]
) -> Imported:
    if options["format"] not in (None, "parquet"):
        raise UsageError(f"{place} is Parquet, not {options['format']}", "Leave --format out.")
    whole = SourceData(str(place), str(place), b"")
    counts = [shard_row_count(file) for file in files]
    return read_shards(files, shard_rows(files, paths), counts, whole=whole, container="parquet", **options)
