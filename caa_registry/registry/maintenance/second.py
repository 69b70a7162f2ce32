"""A second process that does part of the checks of a large registry, which it sees as it is at the same moment.

Most of what checking takes is Python's, of which a process has one core.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from caa_registry.blobs.database import DatabaseBlobStore
from caa_registry.registry.records import Fault
from caa_registry.registry.workspace import Workspace

# Of a smaller file a second process saves no time: it takes a third of a second to start.
_LARGE = 200_000_000
# How often to begin anew where somebody writes in the moment between the beginnings of the two.
_TRIES = 20
_WAIT_SECONDS = 0.2


@dataclass(frozen=True)
class Part:
    """What the second process has checked: how much, by check, and what it found."""

    checked: Counter[str]
    faults: list[Fault]


class Second:
    """The second process. ``done``: how much it has checked so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.done = 0
        self._process = process
        self._part: Part | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)

    def begin(self) -> object:
        """Have it begin a transaction; the head of the log that it sees, ``False`` where it has ended."""
        assert self._process.stdout is not None
        self._say("begin")
        return json.loads(self._process.stdout.readline() or "false")

    def go(self) -> None:
        """Have it do its part in the transaction that it began last."""
        self._say("go")
        self._reader.start()

    def ended(self) -> bool:
        """Whether it has ended, after a moment in which it may."""
        self._reader.join(_WAIT_SECONDS)
        return not self._reader.is_alive()

    def part(self) -> Part | None:
        """What it checked; ``None`` where it ended before it had done all of it."""
        return self._part

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended
            self._process.stdin.write(f"{word}\n")
            self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with suppress(ValueError):  # a line that was cut off when it ended
            for line in self._process.stdout:
                told = json.loads(line)
                if isinstance(told, int):
                    self.done = told
                else:
                    self._part = Part(Counter(told["checked"]), [Fault(*fault) for fault in told["faults"]])

    def stop(self) -> None:
        """End it, wherever it is."""
        self._process.kill()
        self._process.wait()
        if self._reader.ident is not None:
            self._reader.join()
        for end in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if end is not None:
                    end.close()


@contextmanager
def one_moment(workspace: Workspace, since: datetime | None) -> Iterator[tuple[Session, Second | None]]:
    """A session, and where the registry is large a second process; both see it as it is at one moment. The process does
    not outlive the context."""
    database = workspace.database
    if not _worthwhile(workspace):
        with database.read() as session:
            yield session, None
        return
    with _started(database.path, since) as second, database.changes() as changes:
        for left in reversed(range(_TRIES)):
            with database.read() as session:
                before = changes()
                same = head(session) == second.begin() and changes() == before
                if same:
                    second.go()
                if same or not left:
                    yield session, second if same else None
                    return


def head(session: Session) -> object:
    """The head of the log, in whatever state. What ``session`` sees is from then on what was there when this was
    read."""
    with suppress(DatabaseError):
        return session.connection().exec_driver_sql("SELECT hex(value) FROM meta WHERE key = 'audit_head'").scalar()
    return ""


def _worthwhile(workspace: Workspace) -> bool:
    path = workspace.database.path
    if path is None or not sys.executable or not isinstance(workspace.blobs, DatabaseBlobStore):
        return False
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores > 1 and path.exists() and path.stat().st_size >= _LARGE


@contextmanager
def _started(path: Path | None, since: datetime | None) -> Iterator[Second]:
    # -P: the modules of the folder it is started in are not what its imports mean.
    command = [sys.executable, "-P", "-m", "caa_registry.registry.maintenance.second_child"]
    task = {"path": str(path), "since": since.isoformat() if since else None}
    here = str(Path(__file__).parents[3])
    known = os.environ.get("PYTHONPATH")
    process = subprocess.Popen(
        [*command, json.dumps(task)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": os.pathsep.join([here, known] if known else [here])},
    )
    second = Second(process)
    try:
        yield second
    finally:
        second.stop()
