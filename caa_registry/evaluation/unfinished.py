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
from caa_registry.evaluation.steered_runs import Part

_log = logging.getLogger(__name__)

_SUFFIX = ".parts"
_KEPT_DAYS = 30


class Unfinished:
    """The parts of one evaluation on disk. ``identity``: JSON without floats, of all that the numbers depend on."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self._path = folder / f"{digest_object('unfinished', dict(identity)).removeprefix('sha256:')[:32]}{_SUFFIX}"
        self._parts: dict[str, list[Part]] = {}
        self._warned = False
        for condition, part in _read(self._path):
            self._parts.setdefault(condition, []).append(part)

    def kept(self, condition: str) -> list[Part]:
        """The parts of one condition that an earlier, interrupted evaluation measured."""
        return self._parts.get(condition, [])

    def add(self, condition: str, part: Part) -> None:
        """Keep a part. Where the disk takes none, a warning says so, once."""
        said = {
            "condition": condition,
            "layer": part.layer,
            "questions": list(part.questions),
            "whole": part.whole,
            "shape": list(part.log_p.shape),
            "log_p": base64.b64encode(np.ascontiguousarray(part.log_p, "<f8").tobytes()).decode(),
        }
        line = json.dumps(said)
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


def _read(path: Path) -> Iterator[tuple[str, Part]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return
    for line in lines:
        digest, _, text = line.partition(b" ")
        if text and digest.decode("ascii", "replace") == short(digest_bytes(text)):
            said = json.loads(text)
            log_p = np.frombuffer(base64.b64decode(said["log_p"]), "<f8").reshape(said["shape"])
            yield said["condition"], Part(said["layer"], tuple(said["questions"]), log_p, said["whole"])
