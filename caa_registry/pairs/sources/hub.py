"""Datasets of the Hugging Face hub: ``hf:ORG/NAME[@REVISION][/FILE]``, always at one commit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from caa_registry.errors import HubError, UsageError
from caa_registry.hub.names import HubSource, parse_hub
from caa_registry.pairs.record import GENERATE, Imported
from caa_registry.pairs.sources.files import SourceData, read_file
from caa_registry.pairs.sources.formats import CONVENTIONS
from caa_registry.pairs.sources.hub_snapshot import STREAMED, Snapshot, beginning, downloaded, resolved
from caa_registry.pairs.sources.mappings import SavedMapping, for_repo
from caa_registry.pairs.sources.parquet_rows import shard_row_count, shard_rows
from caa_registry.pairs.sources.rows import listed
from caa_registry.pairs.sources.split_files import by_split, joined, left_out, missing_shards, read_shards, split_name
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
    shards for each split (``train`` becomes ``generate``). Where neither a mapping nor columns nor a format are given,
    the shipped mapping of the repository is used, if there is one. With ``limit`` only the beginning of a JSONL or
    Parquet file is downloaded. With the hub switched off, what was downloaded before is read. Raises ``HubError`` where
    the hub refuses or cannot be reached, or the file has to be chosen.
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
    if snapshot.cached and not place.file:
        notes.append(f"HF_HUB_OFFLINE is set: only files that were downloaded before are known, here {listed(names)}")
    options: dict[str, Any] = {
        "split": split,
        "columns": columns,
        "format": format,
        "licence": licence or snapshot.licence,
        "mapping": mapping,
        "limit": limit,
        "home": None if place.file or (mapping and mapping.split) else _only_split(names),
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
            imported = _read_splits(splits, by_name, place, options)
        else:
            imported = _read_shards(files, paths, place, options)
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
    _check_complete(place, snapshot)
    if len(known) == 1 or by_split(known) or _is_one_split(known) or all(map(SPLIT_FILE.fullmatch, known)):
        return known
    raise HubError(f"{place} holds {len(known)} data files", _choice(place, known))


def _check_complete(place: HubSource, snapshot: Snapshot) -> None:
    """``HubError`` where the data files, all in one folder, are shards and not all of them."""
    known = snapshot.data_files
    missing = missing_shards(known) if len({PurePosixPath(name).parent for name in known}) == 1 else []
    if missing and snapshot.cached:
        raise HubError(f"{place}: {listed(missing)} was not downloaded before", "Unset HF_HUB_OFFLINE to download it.")
    if missing:
        example = HubSource(place.repo, place.revision, known[0])
        raise HubError(
            f"{place} is not complete: it holds no {listed(missing)}",
            f"Upload what is missing, or name one file to read it alone, such as {example}.",
        )


def _only_split(names: Sequence[str]) -> str | None:
    """The split that a repository's only files are named after. ``train`` says nothing: any set may be called that."""
    splits = list(by_split(names))
    return split_name(splits[0]) if len(splits) == 1 and split_name(splits[0]) != GENERATE else None


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
    parts: dict[str, Imported] = {}
    left = options["limit"]
    for file in files:
        if left == 0:
            break
        own = {"home": split_name(PurePosixPath(file.name).stem), "limit": left}
        parts[file.name] = read_table(file, str(place), **{**options, **own})
        left = None if left is None else left - len(parts[file.name].items)
    return joined(parts, str(place))


def _read_splits(
    splits: Mapping[str, Sequence[str]],
    files: Mapping[str, tuple[SourceData, Path]],
    place: HubSource,
    options: Mapping[str, Any],
) -> Imported:
    """The splits of a repository, each of one file or of shards; rows that name a split themselves keep it."""
    if options["split"] and len(splits) > 1:
        raise UsageError(
            f"{place} has the splits {listed(splits)}, and {options['split']!r} would be all of them",
            "Leave --split out, or name one file.",
        )
    parts: dict[str, Imported | None] = {}
    for name, names in splits.items():
        shards = [files[shard][0] for shard in names]
        paths = [files[shard][1] for shard in names]
        if all(file.name.endswith(".parquet") and not shard_row_count(file) for file in shards):
            parts[name] = None
            continue
        own = {**options, "home": split_name(name)} if len(splits) > 1 else options
        one = len(shards) == 1
        parts[name] = read_table(shards[0], str(place), **own) if one else _read_shards(shards, paths, place, own)
    notes = left_out(parts, str(place))
    full = {name: part for name, part in parts.items() if part}
    return joined(full, str(place), notes) if len(parts) > 1 else next(iter(full.values()))


def _read_shards(
    files: Sequence[SourceData], paths: Sequence[Path], place: HubSource, options: Mapping[str, Any]
) -> Imported:
    if options["format"] not in (None, "parquet", *CONVENTIONS):
        raise UsageError(f"{place} is Parquet, not {options['format']}", "Leave --format out.")
    whole = SourceData(str(place), str(place), b"")
    counts = [shard_row_count(file) for file in files]
    return read_shards(files, shard_rows(files, paths), counts, whole=whole, container="parquet", **options)
