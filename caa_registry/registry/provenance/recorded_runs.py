"""The runs of a registry, to be looked through: what was done, by whom, where, from what, and what came of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caa_registry.catalog import filters
from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.catalog.integrity.damage import damaged
from caa_registry.errors import NotFoundError
from caa_registry.registry.provenance.lineage import Thing, names_of, record
from caa_registry.registry.records import Listing, RunDetail, check_limit
from caa_registry.registry.workspace import Workspace


class RecordedRuns:
    """The recorded runs."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def ls(
        self,
        *,
        kind: str | None = None,
        actor: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> Listing[RunDetail]:
        """Runs, newest first; the first ``limit`` of them. ``kind``: of one sort, such as ``compute``. ``since``: those
        that began then or later; with no time zone it is UTC."""
        wanted = select(t.Run)
        if kind is not None:
            wanted = wanted.where(t.Run.kind == kind)
        if actor is not None:
            wanted = wanted.where(t.Run.actor == actor)
        if since is not None:
            wanted = wanted.where(filters.since(t.Run.started_at, since))
        with self._workspace.database.read() as session:
            rows = list(session.scalars(wanted.order_by(t.Run.id.desc()).limit(check_limit(limit))))
            count = select(func.count()).select_from(wanted.subquery())
            total = len(rows) if limit is None else session.scalar(count) or 0
            return Listing(tuple(_details(session, rows)), total)

    def get(self, number: int) -> RunDetail:
        """The run with this number. Raises ``NotFoundError``."""
        with self._workspace.database.read() as session:
            row = session.get(t.Run, number)
            if row is None:
                last = session.scalar(select(func.max(t.Run.id)))
                hint = f"The last one is {last}: caa run ls" if last else "Nothing was run in this registry yet."
                raise NotFoundError(f"there is no run {number}", hint)
            (detail,) = _details(session, [row])
        return detail


def _details(session: Session, rows: Sequence[t.Run]) -> list[RunDetail]:
    links = session.execute(
        select(t.RunIO.run_id, t.RunIO.direction, t.RunIO.kind, t.RunIO.object_id)
        .where(among(session, t.RunIO.run_id, [row.id for row in rows]))
        .order_by(t.RunIO.kind, t.RunIO.object_id)
    ).all()
    names = names_of(session, list(dict.fromkeys((kind, id) for _, _, kind, id in links)))
    met: dict[tuple[int, str], list[Thing]] = defaultdict(list)
    for run, direction, kind, id in links:
        if (kind, id) not in names:
            raise damaged(f"{kind} {id}", f"run {run} has it as {direction}, and it is missing")
        met[run, direction].append((kind, id))
    inputs, outputs = (
        [[(kind, names[kind, id].reference) for kind, id in met[row.id, direction]] for row in rows]
        for direction in ("input", "output")
    )
    return [RunDetail(record(row), *things) for row, *things in zip(rows, inputs, outputs, strict=True)]
