"""A hub dataset at one commit: its files, downloaded, from the client's cache, or only the beginning of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from caa_registry.errors import HubError, InputError
from caa_registry.hub.client import check_endpoint, client_errors, is_offline, translated
from caa_registry.hub.names import is_commit
from caa_registry.pairs.sources.files import MAX_FILE_BYTES, SourceData
from caa_registry.pairs.sources.formats import by_suffix
from caa_registry.pairs.sources.parquet_rows import MAX_ROW_GROUP_BYTES

TIMEOUT = 30.0

# Of these the first rows can be read without the rest.
STREAMED = (".jsonl", ".ndjson", ".parquet")

# What the datasets library writes beside the rows.
_DESCRIPTIONS = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json", "config.json")

_BLOCK = 1024 * 1024


@dataclass(frozen=True)
class Snapshot:
    """A dataset repository at one commit. ``revision``: what was asked for, a branch, tag or commit. ``cached``: it is
    what the client's cache holds of it, which may be a part of its files."""

    repo: str
    revision: str
    commit: str
    licence: str
    sizes: Mapping[str, int | None]
    cached: bool = False

    @property
    def data_files(self) -> list[str]:
        """The files of rows; what describes them, and hidden files, are none."""
        return sorted(name for name in self.sizes if by_suffix(name) and not _beside(PurePosixPath(name)))


def _beside(path: PurePosixPath) -> bool:
    return path.name in _DESCRIPTIONS or any(part.startswith(".") for part in path.parts)


def resolved(repo: str, revision: str | None, source: str) -> Snapshot:
    """The repository at the commit that ``revision`` names now; with the hub switched off, that it named when it was
    downloaded. ``source`` names the source in errors. Raises ``HubError``."""
    from huggingface_hub import HfApi

    check_endpoint(source)
    try:
        info = HfApi().dataset_info(repo, revision=revision, timeout=TIMEOUT, files_metadata=True)
        sizes = {sibling.rfilename: sibling.size for sibling in info.siblings or []}
        named = getattr(info.card_data, "license", None) or ""
    except client_errors() as error:
        cached = _cached(repo, revision) if is_offline(error) else None
        if cached is not None:
            return cached
        raise translated(error, source) from error
    commit = str(info.sha)
    if not is_commit(commit):
        raise HubError(f"{source}: the hub gave no commit for it", "Try again, or name another revision.")
    licence = ", ".join(map(str, named)) if isinstance(named, list) else str(named)
    return Snapshot(repo, revision or "main", commit, licence, sizes)


def _cached(repo: str, revision: str | None) -> Snapshot | None:
    """What the client's cache holds of a revision. The licence of a card is not in it."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        cache = scan_cache_dir(constants.HF_HUB_CACHE)
    except CacheNotFound:
        return None
    name = revision or "main"
    for cached in cache.repos:
        if cached.repo_type == "dataset" and cached.repo_id == repo:
            for snapshot in cached.revisions:
                if name == snapshot.commit_hash or name in snapshot.refs:
                    sizes: dict[str, int | None] = {
                        file.file_path.relative_to(snapshot.snapshot_path).as_posix(): file.size_on_disk
                        for file in snapshot.files
                    }
                    return Snapshot(repo, name, snapshot.commit_hash, "", sizes, cached=True)
    return None


def downloaded(snapshot: Snapshot, name: str) -> Path:
    """The file ``name`` in the client's cache. Raises ``InputError`` for one that is too large, ``HubError``."""
    from huggingface_hub import hf_hub_download

    label = f"hf:{snapshot.repo}/{name}"
    if (snapshot.sizes[name] or 0) > MAX_FILE_BYTES:
        more = ", or the first rows of it (--limit)" if PurePosixPath(name).suffix.lower() in STREAMED else ""
        raise InputError(f"larger than {MAX_FILE_BYTES // 2**20} MiB", f"Choose a smaller file{more}.", source=label)
    try:
        # By the name that was asked for, so that the cache remembers which commit it was.
        path = Path(hf_hub_download(snapshot.repo, name, repo_type="dataset", revision=snapshot.revision))
        if snapshot.commit not in path.parts:
            # The branch moved since it was looked up: all files are of the commit that was found first.
            path = Path(hf_hub_download(snapshot.repo, name, repo_type="dataset", revision=snapshot.commit))
    except client_errors() as error:
        raise translated(error, label) from error
    return path


def beginning(snapshot: Snapshot, name: str, rows: int) -> SourceData:
    """The first ``rows`` rows of a JSONL or Parquet file; no more of it than they need is downloaded.

    Its digest is that of these rows as a file of their own. Raises ``HubError``, ``InputError``.
    """
    from huggingface_hub import HfFileSystem

    label = f"hf:{snapshot.repo}/{name}"
    try:
        # Nothing of another process or an earlier commit is taken from a cache.
        system = HfFileSystem(skip_instance_cache=True)
        with system.open(f"datasets/{snapshot.repo}@{snapshot.commit}/{name}", block_size=_BLOCK) as file:
            data = _first_rows(file, rows, label) if name.endswith(".parquet") else _first_lines(file, rows, label)
    except client_errors() as error:
        raise translated(error, label) from error
    return SourceData(name, label, data)


def _first_lines(file: Any, rows: int, label: str) -> bytes:
    data = b""
    lines = 0
    for line in file:
        lines += bool(line.strip())
        data += line
        if len(data) > MAX_FILE_BYTES:
            raise InputError("its first rows are too large", "Ask for fewer.", source=label)
        if lines == rows:
            break
    return data


def _first_rows(file: Any, rows: int, label: str) -> bytes:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file, pre_buffer=False)
        groups: list[Any] = []
        while len(groups) < table.num_row_groups and sum(map(len, groups)) < rows:
            size = table.metadata.row_group(len(groups)).total_byte_size
            if size > MAX_ROW_GROUP_BYTES:
                raise InputError("a row group larger than 2 GiB", "Write smaller row groups.", source=label)
            groups.append(table.read_row_group(len(groups)))
        out = io.BytesIO()
        read = pa.concat_tables(groups) if groups else table.schema_arrow.empty_table()
        pq.write_table(read.slice(0, rows), out)
    except pa.ArrowException as error:
        raise InputError(f"not a Parquet table that can be read: {error}", "Write it again.", source=label) from error
    return out.getvalue()
