"""Datasets of the Hugging Face hub: ``hf:ORG/NAME[@REVISION][/FILE]``, always at one commit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from caa_registry.errors import HubError, InputError, UsageError
from caa_registry.pairs.record import Imported
from caa_registry.pairs.sources.files import MAX_FILE_BYTES, SourceData, read_file
from caa_registry.pairs.sources.formats import DATA_SUFFIXES
from caa_registry.pairs.sources.hub_errors import client_errors, translated
from caa_registry.pairs.sources.items import ItemBuilder
from caa_registry.pairs.sources.parquet_rows import shard_row_count, shard_rows
from caa_registry.pairs.sources.rows import listed
from caa_registry.pairs.sources.table import chosen_cleaning, file_records, read_table

TIMEOUT = 30.0

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_SOURCE = re.compile(rf"hf:({_PART}/{_PART})(?:@(refs/[^/@]+/[^/@]+|[^/@]+))?(?:/(.+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHARD = re.compile(r"(.*?)-(\d{5})-of-(\d{5})(?:-[0-9a-f]+)?\.parquet")


@dataclass(frozen=True)
class HubSource:
    """A parsed ``hf:`` source. ``revision`` is a branch, tag or commit, ``None`` the default branch."""

    repo: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf:{self.repo}{revision}{'/' + self.file if self.file else ''}"


@dataclass(frozen=True)
class Snapshot:
    """A dataset repository at one commit."""

    repo: str
    commit: str
    licence: str
    sizes: Mapping[str, int | None]

    @property
    def data_files(self) -> list[str]:
        return sorted(name for name in self.sizes if PurePosixPath(name).suffix.lower() in DATA_SUFFIXES)


def parse_hub(source: str) -> HubSource:
    """The parts of ``source``.

    A revision ends at the next slash, except in ``refs/KIND/NAME``; write ``%2F`` for a slash in a branch name.
    Raises ``UsageError``.
    """
    match = _SOURCE.fullmatch(source)
    file = match[3] if match else None
    if not match or (file and not all(part.strip(".") for part in file.split("/"))):
        raise UsageError(f"{source!r} is not a hub source", "Write hf:ORG/NAME[@REVISION][/FILE].")
    return HubSource(match[1], unquote(match[2]) if match[2] else None, file)


def load_hub(
    source: str, *, split: str | None, columns: Mapping[str, str], format: str | None, licence: str
) -> Imported:
    """The items of a hub dataset; the source record carries the repository and the 40-hex commit.

    Without a file, the repository's only data file is taken, or all Parquet shards of its only split.
    Raises ``HubError`` where the hub refuses or cannot be reached, or the file has to be chosen.
    """
    wanted = parse_hub(source)
    if format == "lines":
        raise UsageError("lines are read from local files only", "Download both files first.")
    snapshot = _resolved(wanted)
    names = _chosen(wanted, snapshot)
    paths = [_downloaded(snapshot, name) for name in names]
    files = [
        read_file(path, label=f"hf:{snapshot.repo}/{name}", name=name) for path, name in zip(paths, names, strict=True)
    ]
    licence = licence or snapshot.licence
    if len(files) == 1:
        imported = read_table(files[0], str(wanted), split=split, columns=columns, format=format, licence=licence)
    else:
        imported = _read_shards(files, paths, wanted, split, columns, format, licence)
    record = {**imported.source, "repo": snapshot.repo, "revision": snapshot.commit}
    return Imported(imported.kind, imported.items, record, imported.licence, imported.notes)


def _resolved(wanted: HubSource) -> Snapshot:
    from huggingface_hub import HfApi

    try:
        info = HfApi().dataset_info(wanted.repo, revision=wanted.revision, timeout=TIMEOUT, files_metadata=True)
        sizes = {sibling.rfilename: sibling.size for sibling in info.siblings or []}
        named = getattr(info.card_data, "license", None) or ""
    except client_errors() as error:
        raise translated(error, str(wanted)) from error
    commit = str(info.sha)
    if not _COMMIT.fullmatch(commit):
        raise HubError(f"{wanted}: the hub gave no commit for it", "Try again, or name another revision.")
    licence = ", ".join(map(str, named)) if isinstance(named, list) else str(named)
    return Snapshot(wanted.repo, commit, licence, sizes)


def _chosen(wanted: HubSource, snapshot: Snapshot) -> list[str]:
    known = snapshot.data_files
    if wanted.file:
        if wanted.file not in snapshot.sizes:
            raise HubError(
                f"{wanted}: there is no file {wanted.file!r} at {snapshot.commit[:12]}", _choice(wanted, known)
            )
        return [wanted.file]
    if not known:
        raise HubError(
            f"{wanted} holds no JSONL, JSON, CSV or Parquet file",
            f"Its files: {listed(sorted(snapshot.sizes))}." if snapshot.sizes else "It is empty.",
        )
    if len(known) == 1 or _is_one_split(known):
        return known
    raise HubError(f"{wanted} holds {len(known)} data files", _choice(wanted, known))


def _choice(wanted: HubSource, known: Sequence[str]) -> str:
    if not known:
        return "The repository holds no data files."
    example = HubSource(wanted.repo, wanted.revision, known[0])
    return f"Choose one, such as {example}. Data files: {listed(known)}."


def _is_one_split(names: Sequence[str]) -> bool:
    matches = [match for name in names if (match := _SHARD.fullmatch(name))]
    same = {(match[1], match[3]) for match in matches}
    return len(matches) == len(names) == int(matches[0][3]) and len(same) == 1 if matches else False


def _downloaded(snapshot: Snapshot, name: str) -> Path:
    from huggingface_hub import hf_hub_download

    label = f"hf:{snapshot.repo}/{name}"
    if (snapshot.sizes[name] or 0) > MAX_FILE_BYTES:
        raise InputError(f"larger than {MAX_FILE_BYTES // 2**20} MiB", "Choose a smaller file.", source=label)
    try:
        return Path(hf_hub_download(snapshot.repo, name, repo_type="dataset", revision=snapshot.commit))
    except client_errors() as error:
        raise translated(error, label) from error


def _read_shards(
    files: Sequence[SourceData],
    paths: Sequence[Path],
    wanted: HubSource,
    split: str | None,
    columns: Mapping[str, str],
    format: str | None,
    licence: str,
) -> Imported:
    if format not in (None, "parquet"):
        raise UsageError(f"{wanted} is Parquet, not {format}", "Leave --format out.")
    whole = SourceData(wanted.repo, str(wanted), b"")
    builder = ItemBuilder(whole, chosen_cleaning("parquet", format, columns), split, columns)
    items = builder.build(shard_rows(files, paths))
    records = []
    start = 0
    for file in files:
        end = start + shard_row_count(file)
        records += file_records(file, items[start:end])
        start = end
    record: dict[str, Any] = {"uri": str(wanted), "format": "parquet", "files": records}
    if columns:
        record["columns"] = dict(columns)
    return Imported(builder.kind, items, record, licence, builder.notes.sentences())
