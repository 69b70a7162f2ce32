"""What an interrupted evaluation had measured, so that the same one goes on from there.

One file an evaluation, named by a digest of all that its numbers depend on: a line a part, each with a digest of its
own, so that a line that was cut short is passed over. It is deleted when the evaluation is stored: the same request
again is a new observation.
"""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from caa_registry.digests import digest_bytes, digest_object, short
from caa_registry.engine import texts
from caa_registry.engine.sweeps import Part

Kept = dict[str, Any]
"""What is kept of a piece of work, as JSON."""

_log = logging.getLogger(__name__)

_SUFFIX = ".parts"
_KEPT_DAYS = 30


class Unfinished:
    """What one evaluation has measured, on disk, by condition. ``identity``: JSON without floats, of all that the
    numbers depend on."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self._path = folder / f"{digest_object('unfinished', dict(identity)).removeprefix('sha256:')[:32]}{_SUFFIX}"
        self._kept: dict[str, list[Kept]] = {}
        self._warned = False
        for line in _read(self._path):
            self._kept.setdefault(line["condition"], []).append(line["kept"])

    def kept(self, condition: str) -> list[Kept]:
        """What an earlier, interrupted evaluation measured of one condition."""
        return self._kept.get(condition, [])

    def add(self, condition: str, kept: Kept) -> None:
        """Keep a piece. Where the disk takes none, a warning says so, once."""
        line = json.dumps({"condition": condition, "kept": kept})
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(f"{short(digest_bytes(line.encode()))} {line}\n".encode())
        except OSError as error:
            if not self._warned:
                _log.warning("An interruption will lose what was measured: %s cannot be written: %s", self._path, error)
                self._warned = True

    def delete(self) -> None:
        """Forget this evaluation, and those that nobody went on with for a month."""
        self._path.unlink(missing_ok=True)
        for path in self._path.parent.glob(f"*{_SUFFIX}"):
            try:
                if path.stat().st_mtime < time.time() - _KEPT_DAYS * 24 * 3600:
                    path.unlink()
            except OSError:
                continue  # another process deletes too


def part_as_json(part: Part) -> Kept:
    """A part, its numbers bit by bit."""
    return {
        "layer": part.layer,
        "questions": list(part.questions),
        "whole": part.whole,
        "shape": list(part.log_p.shape),
        "log_p": base64.b64encode(np.ascontiguousarray(part.log_p, "<f8").tobytes()).decode(),
    }


def part_of_json(kept: Kept) -> Part:
    """What ``part_as_json`` gave."""
    log_p = np.frombuffer(base64.b64decode(kept["log_p"]), "<f8").reshape(kept["shape"])
    return Part(kept["layer"], tuple(kept["questions"]), log_p, kept["whole"])


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


def _read(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return
    for line in lines:
        digest, _, text = line.partition(b" ")
        if text and digest.decode("ascii", "replace") == short(digest_bytes(text)):
            yield json.loads(text)
