"""A client of a team's registry, which keeps a journal of what it does and what it is told.

The journal has a line before each thing, with what may come of it, and one after, with what came of it. Both are on the
disk before the client goes on.
"""

from __future__ import annotations

import json
import logging
import os
import random
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from team_operations import WAYS, NothingThereError, Operations, Place

import caa_registry as caa
from caa_registry.errors import BlobStoreError, CaaError, ConflictError, NotFoundError, RegistryError, UsageError

# What a registry that cannot go on says. Nothing is stored then, or all of it.
_PASSING = (
    "the connection was lost",
    "terminating connection due to administrator command",
    "caa gc removed bytes that were just stored",
    "lock timeout",
)
# What is not answered is given up soon, so that a campaign takes no hours.
_SECONDS, _WAIT_SECONDS = 2, 0.02


class Journal:
    """Lines that are on the disk when ``write`` returns, each with the time, which all processes share."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    def write(self, **line: Any) -> None:
        os.write(self._file, json.dumps({**line, "at": time.monotonic()}).encode() + b"\n")
        os.fsync(self._file)


def work(place: Place, who: str, kinds: Sequence[str], seed: int, journal: Path) -> None:
    """Do what ``kinds`` name, one after the other, in a process of its own."""
    from caa_registry.blobs import bucket

    logging.getLogger("caa_registry").setLevel(logging.ERROR)  # that something is there already is no news
    bucket._SECONDS, bucket._WAIT_SECONDS = _SECONDS, _WAIT_SECONDS
    place.home.mkdir(parents=True, exist_ok=True)
    os.environ["CAA_HOME"] = str(place.home)
    if seed % 2:
        os.environ["CAA_BLOB_CACHE"] = "0"
    lines = Journal(journal)
    registry = None
    while registry is None:
        try:
            registry = caa.open(place.url, actor=who, create=False)
        except CaaError as error:
            if not _is_passing(error):
                lines.write(broken=type(error).__name__, message=error.message)
                return
    with registry:
        client = _Client(registry, place, who, seed, lines)
        for kind in kinds:
            client.do(kind)


class _Client:
    def __init__(self, registry: caa.Registry, place: Place, who: str, seed: int, lines: Journal) -> None:
        self._operations = Operations(registry, place, who, random.Random(seed), self._begin)
        self._lines = lines
        self._kind = ""
        self._begun = False

    def _begin(self, *may: tuple[str, str], made: str = "", name: str = "") -> None:
        self._begun = True
        self._lines.write(do=self._kind, may=may, made=made, name=name)

    def do(self, kind: str) -> None:
        self._kind, self._begun = kind, False
        line = self._outcome()
        if not self._begun:
            self._begin()
        self._lines.write(**line)

    def _outcome(self) -> dict[str, Any]:
        _, way = WAYS[self._kind]
        try:
            return {"told": [], **way(self._operations)}
        except NothingThereError:
            return {"refused": "there is nothing yet"}
        except (UsageError, NotFoundError, ConflictError) as error:
            return {"refused": type(error).__name__, "message": error.message}
        except CaaError as error:
            outcome = "failed" if _is_passing(error) else "broken"
            return {outcome: type(error).__name__, "message": error.message}
        except Exception:  # noqa: BLE001 - no other may come out of the registry
            return {"broken": traceback.format_exc()}


def _is_passing(error: CaaError) -> bool:
    """Whether it says that a database or a bucket cannot go on now."""
    if isinstance(error, BlobStoreError):
        return True
    return isinstance(error, RegistryError) and any(words in error.message for words in _PASSING)
