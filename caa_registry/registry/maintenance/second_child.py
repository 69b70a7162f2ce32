"""The second process of ``second``: what it is told on stdin, and what it says on stdout, a line of JSON each."""

from __future__ import annotations

import gc
import json
import sys
from dataclasses import astuple
from datetime import datetime

from caa_registry.blobs.database import DatabaseBlobStore
from caa_registry.catalog.database import Database
from caa_registry.registry.maintenance.fsck import second_part
from caa_registry.registry.maintenance.second import head
from caa_registry.registry.workspace import Workspace


def main() -> None:
    """Check the second part of a registry. ``sys.argv[1]``: ``path`` and ``since``. With every ``begin`` what it sees
    is what is there then, and the head of the log is said; with ``go`` it checks that."""
    gc.freeze()  # what was imported need not be looked through while many rows come and go
    task = json.loads(sys.argv[1])
    since = datetime.fromisoformat(task["since"]) if task["since"] else None
    with (
        Database.open(f"sqlite:///{task['path']}", create=False, read_only=True) as database,
        database.read() as session,
    ):
        workspace = Workspace(database, DatabaseBlobStore(database), "fsck")
        for word in sys.stdin:
            if word == "begin\n":
                session.rollback()
                _say(head(session))
            else:
                checkup = second_part(workspace, session, since, _Said())
                _say({"checked": checkup.checked, "faults": [astuple(fault) for fault in checkup.faults]})
                return


class _Said:
    """Says how much was checked, but no more than a hundred times: nobody may be reading yet."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self, done: int, total: int) -> None:
        if done - self._last > total / 100:
            self._last = done
            _say(done)


def _say(value: object) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
