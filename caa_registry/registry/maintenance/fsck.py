"""Whether everything in a registry is what was stored, and all of it is there."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.progress import Progress, silent
from caa_registry.registry.maintenance.checkup import Checkup
from caa_registry.registry.maintenance.contents import check_blobs, check_datasets, check_evaluations, check_vectors
from caa_registry.registry.maintenance.history import check_events
from caa_registry.registry.maintenance.tables import check_file, check_numbering, check_references, check_rows
from caa_registry.registry.records import FsckReport
from caa_registry.registry.workspace import Workspace

_CHECKS = (
    check_file,
    check_references,
    check_numbering,
    check_rows,
    check_events,
    check_datasets,
    check_vectors,
    check_evaluations,
    check_blobs,
)


def fsck(workspace: Workspace, since: datetime | None = None, progress: Progress = silent) -> FsckReport:
    """Check the whole registry as it is at one moment; others may go on writing. Changes nothing.

    ``since``: the pairs, numbers, scores and items of what was made earlier are left out; its rows are not.
    """
    with workspace.database.read() as session:
        checkup = Checkup(workspace, session, since, progress, _expected(session))
        for check in _CHECKS:
            with checkup.noting(check.__name__.removeprefix("check_"), "the registry"):
                check(checkup)
    progress(1, 1)
    return FsckReport(dict(checkup.checked), tuple(dict.fromkeys(checkup.faults)))


def _expected(session: Session) -> int:
    """About how much will be counted: versions, runs and evaluations are looked at twice, as rows and as wholes."""
    twice = (t.DatasetVersion, t.VectorVersion, t.Evaluation, t.Run)
    return sum(
        session.scalar(select(func.count()).select_from(table)) or 0
        for table in (*twice, *twice, t.RunIO, t.Pair, t.Event, t.Blob)
    )
