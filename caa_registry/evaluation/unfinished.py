"""What an evaluation has measured before it is stored: after an interruption it goes on from there, and shards come
together there.

A file for each shard of an evaluation, named by a digest of all that its numbers depend on: its first line says which
evaluation it is, then follows a line a part. Each line has a digest of its own, so that one that was cut short is
passed over. The files are deleted when the evaluation is stored: the same request again is a new observation.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caa_registry.digests import digest_bytes, digest_object, short
from caa_registry.disk import is_own, own_folder, refused
from caa_registry.engine import processes, texts
from caa_registry.engine.sweeps import Part
from caa_registry.errors import InputError, NotFoundError
from caa_registry.evaluation.shards import ALL, Shard

Kept = dict[str, Any]
"""What is kept of a piece of work, as JSON."""

_log = logging.getLogger(__name__)

_SUFFIX = ".parts"
_KEPT_DAYS = 30
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW


@dataclass(frozen=True)
class Header:
    """Which evaluation a file is of. ``identity``: all that its numbers depend on; ``request``: what was asked for, by
    name; ``shard``: which part of it. All as JSON."""

    identity: Mapping[str, Any]
    request: Mapping[str, Any]
    shard: Shard

    def as_json(self) -> dict[str, Any]:
        """All fields as a JSON object."""
        return {"identity": self.identity, "request": self.request, "shard": str(self.shard)}


class Unfinished:
    """What has been measured of one evaluation, on disk, by condition.

    ``identity``: JSON without floats, of all that the numbers depend on. ``request``: JSON of what was asked for.
    ``shard``: what this process does of it. What others keep in the same folder is found too. ``lock``: a file for
    whoever stores it to lock.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        request: Mapping[str, Any] | None = None,
        shard: Shard = ALL,
    ) -> None:
        digest = digest_object("unfinished", dict(identity)).removeprefix("sha256:")[:32]
        part = f".{shard.number}-of-{shard.of}" if shard.of > 1 else ""
        self.path = folder / f"{digest}{part}{_SUFFIX}"
        self.lock = folder / f"{digest}.lock"
        self._all = f"{digest}*{_SUFFIX}"
        self._header = Header(identity, request or {}, shard)
        self._kept: dict[str, list[Kept]] = {}
        self._warned = False
        self.take(self._files())

    def look(self) -> None:
        """Take what other shards have kept meanwhile."""
        self.take([path for path in self._files() if path != self.path])

    def kept(self, condition: str) -> list[Kept]:
        """What has been measured of one condition, by this process, an earlier one, or another shard's."""
        return list(self._kept.get(condition, []))

    def add(self, condition: str, kept: Kept) -> None:
        """Keep a piece. Where the disk takes none, a warning says so, once."""
        self._kept.setdefault(condition, []).append(kept)
        try:
            self._append({"condition": condition, "kept": kept})
        except OSError as error:
            if not self._warned:
                reason = refused(error, self.path) or error
                _log.warning("An interruption will lose what was measured: %s", getattr(reason, "message", reason))
                self._warned = True

    def _append(self, value: Mapping[str, Any]) -> None:
        with os.fdopen(self._opened(), "ab") as file:
            size = file.seek(0, os.SEEK_END)
            try:
                if size == 0:
                    file.write(_line({"header": self._header.as_json()}))
                file.write(_line(value))
                file.flush()
            except OSError:
                # Half a line would spoil the one that is written when there is space again.
                with suppress(OSError):
                    os.truncate(self.path, size)
                raise

    def _opened(self) -> int:
        try:
            return os.open(self.path, _APPEND, 0o600)
        except FileNotFoundError:
            own_folder(self.path.parent)
            return os.open(self.path, _APPEND, 0o600)

    def take(self, paths: Sequence[Path]) -> None:
        """Take what the files of shards hold."""
        for path in paths:
            self._take(_read(path))

    def pool(self) -> None:
        """Have every process of the job know what all of them have measured. All of them call this."""
        own = b"".join(
            _line({"condition": condition, "kept": kept}) for condition, all in self._kept.items() for kept in all
        )
        self._kept = {}
        for lines in processes.gathered_bytes(own):
            self._take(_lines(lines))

    def delete(self) -> None:
        """Forget this evaluation, all its shards, and those that nobody went on with for a month."""
        for path in (*self._files(), self.lock):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:  # the evaluation is stored all the same
                _log.warning(
                    "%s cannot be removed (%s): remove it, or the same evaluation again takes what it holds",
                    path,
                    error.strerror,
                )
        for path in self.path.parent.glob(f"*{_SUFFIX}"):
            try:
                if path.stat().st_mtime < time.time() - _KEPT_DAYS * 24 * 3600:
                    path.unlink()
            except OSError:
                continue  # another process deletes too

    def _files(self) -> list[Path]:
        return sorted(path for path in self.path.parent.glob(self._all) if is_own(path))

    def _take(self, lines: Iterator[dict[str, Any]]) -> None:
        for line in lines:
            if isinstance(line.get("condition"), str) and isinstance(line.get("kept"), dict):
                self._kept.setdefault(line["condition"], []).append(line["kept"])


def header(path: Path) -> Header:
    """Which evaluation, and which shard of it, a file holds. Raises ``NotFoundError`` where there is no file,
    ``InputError`` where it is not one of these."""
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}", "Name the files that the shards kept.")
    found = next(_read(path), {}).get("header")
    kinds = {"identity": dict, "request": dict, "shard": str}
    if not (
        isinstance(found, dict)
        and all(isinstance(found.get(key), kind) for key, kind in kinds.items())
        and found["request"]
    ):
        raise InputError("it holds no shard of an evaluation", "Name a file that --shard kept.", source=str(path))
    return Header(found["identity"], found["request"], Shard.parse(found["shard"]))


def part_as_json(part: Part) -> Kept:
    """A part, its numbers bit by bit."""
    kept = {
        "layer": part.layer,
        "questions": list(part.questions),
        "whole": part.whole,
        "shape": list(part.log_p.shape),
        "log_p": _encoded(part.log_p),
    }
    if part.kl is not None:
        kept["kl"] = _encoded(part.kl)
    if part.answers_first is not None:
        kept["answers_first"] = part.answers_first.tolist()
    return kept


def part_of_json(kept: Kept) -> Part:
    """What ``part_as_json`` gave."""
    shape = kept["shape"]
    return Part(
        kept["layer"],
        tuple(kept["questions"]),
        _decoded(kept["log_p"], shape),
        kept["whole"],
        _decoded(kept["kl"], shape[:2]) if "kl" in kept else None,
        np.array(kept["answers_first"], bool).reshape(shape[:2]) if "answers_first" in kept else None,
    )


def _encoded(values: NDArray[np.float64]) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f8").tobytes()).decode()


def _decoded(text: str, shape: Sequence[int]) -> NDArray[np.float64]:
    return np.frombuffer(base64.b64decode(text), "<f8").reshape(shape)


def text_part_as_json(part: texts.Part) -> Kept:
    """A part of side effects, its numbers bit by bit."""
    return {
        "layer": part.layer,
        "text": part.text,
        "whole": part.whole,
        "kl": part.kl.tolist(),
        "log_p": part.log_p.tolist(),
    }


def text_part_of_json(kept: Kept) -> texts.Part:
    """What ``text_part_as_json`` gave."""
    return texts.Part(kept["layer"], kept["text"], np.array(kept["kl"]), np.array(kept["log_p"]), kept["whole"])


def _line(value: Mapping[str, Any]) -> bytes:
    line = json.dumps(value)
    return f"{short(digest_bytes(line.encode()))} {line}\n".encode()


def _read(path: Path) -> Iterator[dict[str, Any]]:
    try:
        data = path.read_bytes()
    except OSError:
        return
    yield from _lines(data)


def _lines(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.split(b"\n"):
        digest, _, text = line.partition(b" ")
        if text and digest.decode("ascii", "replace") == short(digest_bytes(text)):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):  # whole, but written by something else
                continue
            if isinstance(value, dict):
                yield value
