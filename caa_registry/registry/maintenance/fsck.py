"""Whether everything in a registry is what was stored, and all of it is there."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.progress import Progress, silent
from caa_registry.registry.maintenance.checks.search import check_search
from caa_registry.registry.maintenance.checkup import Check, Checkup
from caa_registry.registry.maintenance.contents import (
    check_blobs,
    check_datasets,
    check_evaluations,
    check_plans,
    check_vectors,
)
from caa_registry.registry.maintenance.history import check_events
from caa_registry.registry.maintenance.second import Second, one_moment
from caa_registry.registry.maintenance.tables import check_database, check_numbering, check_references, check_rows
from caa_registry.registry.records import FsckReport
from caa_registry.registry.workspace import Workspace

_CHECKS: tuple[Check, ...] = (
    check_search,  # first: SQLite makes no table of its own any more once it has met a damaged index
    check_database,
    check_references,
    check_numbering,
    check_rows,
    check_events,
    check_datasets,
    check_vectors,
    check_evaluations,
    check_plans,
    check_blobs,
)
# What a second process does of a large registry: the first of these, and of what the others look at the second half.
_SECOND: tuple[Check, ...] = (check_database, check_datasets, check_vectors, check_evaluations)
# In this order it is told what was looked at, and what was found.
_NAMES = (
    *("file", "database", "references", "numbering", "rows", "pairs"),
    *("events", "datasets", "vectors", "evaluations", "plans", "blobs", "search"),
)


def fsck(workspace: Workspace, since: datetime | None = None, progress: Progress = silent) -> FsckReport:
    """Check the whole registry as it is at one moment; others may go on writing. Changes nothing.

    ``since``: the pairs, numbers, scores and items of what was made earlier are left out; its rows are not. A large
    SQLite registry is checked by two processes.
    """
    with _set_aside(), one_moment(workspace, since) as (session, second):
        checkup = Checkup(workspace, session, since, progress, _expected(session))
        if second is None:
            _run(checkup, _CHECKS)
        else:
            _run_with(second, checkup)
    progress(1, 1)
    checked = dict(sorted(checkup.checked.items(), key=lambda item: _place(item[0])))
    faults = sorted(checkup.faults, key=lambda fault: _place(fault.check))
    return FsckReport(checked, tuple(dict.fromkeys(faults)))


@contextmanager
def _set_aside() -> Iterator[None]:
    """Set aside what the program holds already. The garbage collector would look through it again and again while rows
    come and go, which takes a fifth of the time where that is much."""
    if gc.get_freeze_count():
        yield  # the caller set something aside, which is the caller's to take back
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def second_part(workspace: Workspace, session: Session, since: datetime | None, progress: Progress) -> Checkup:
    """What a second process does."""
    checkup = Checkup(workspace, session, since, progress, _expected(session), half=1)
    _run(checkup, _SECOND)
    return checkup


def _place(check: str) -> int:
    return _NAMES.index(check) if check in _NAMES else len(_NAMES)


def _run(checkup: Checkup, checks: Iterable[Check]) -> None:
    for check in checks:
        with checkup.noting(check.__name__.removeprefix("check_"), "the registry"):
            check(checkup)


def _run_with(second: Second, checkup: Checkup) -> None:
    """Do the first part while ``second`` does its own, and then what it did not do."""
    progress = checkup.progress
    checkup.progress = lambda done, total: progress(min(done + second.done, total), total)
    checkup.half = 0
    _run(checkup, (check for check in _CHECKS if check is not check_database))
    while not second.ended():
        checkup.tell()
    part = second.part()
    if part is None:
        checkup.half = 1
        _run(checkup, _SECOND)
    else:
        checkup.checked += part.checked
        checkup.faults += part.faults


def _expected(session: Session) -> int:
    """About how much will be counted: versions, runs and evaluations are looked at twice, as rows and as wholes."""
    twice = (t.DatasetVersion, t.VectorVersion, t.Evaluation, t.Run)
    return sum(
        session.scalar(select(func.count()).select_from(table)) or 0
        for table in (*twice, *twice, t.RunIO, t.Pair, t.Event, t.Blob, t.SearchEntry)
    )
