"""The runs of a registry, to be looked through: what was done, by whom, where, from what, and what came of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caa_registry.catalog import filters
from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.catalog.integrity.damage import damaged
from caa_registry.errors import NotFoundError
from caa_registry.registry.provenance.lineage import Thing, names_of, record
from caa_registry.registry.provenance.runs import SCRIPT, Arrow, check_arrows
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
    io = t.RunIO
    parts = _Parts.of(session, rows)
    numbers = [*(row.id for row in rows), *(run for runs in parts.runs.values() for run in runs)]
    arrows: dict[int, list[Arrow]] = defaultdict(list)
    for run, side, kind, id, role in session.execute(
        select(io.run_id, io.direction, io.kind, io.object_id, io.role)
        .where(among(session, io.run_id, list(dict.fromkeys(numbers))))
        .order_by(io.kind, io.object_id)
    ):
        arrows[run].append((side, kind, id, role))
    for row in rows:
        check_arrows(row, arrows[row.id])
    names = names_of(session, list(dict.fromkeys((kind, id) for of in arrows.values() for _, kind, id, _ in of)))
    for run, of_run in arrows.items():
        for direction, kind, id, _ in of_run:
            if (kind, id) not in names:
                raise damaged(f"{kind} {id}", f"run {run} has it as {direction}, and it is missing")

    def on(wanted: str, *runs: int) -> list[Thing]:
        return list(dict.fromkeys((kind, id) for run in runs for at, kind, id, _ in arrows[run] if at == wanted))

    def named(things: Sequence[Thing]) -> list[tuple[str, str]]:
        return [(kind, names[kind, id].reference) for kind, id in things]

    details = []
    for row in rows:
        runs = parts.runs.get(row.id, ())
        made = set(on("output", *runs))
        used = [thing for thing in on("input", *runs) if thing not in made]
        inputs, outputs = (named(on(wanted, row.id)) for wanted in ("input", "output"))
        details.append(RunDetail(record(row), inputs, outputs, parts.within.get(row.id), runs, named(used)))
    return details


@dataclass(frozen=True)
class _Parts:
    """How runs belong together. ``within``: of a run the script's run that it belongs to; ``runs``: of a script's run
    those that belong to it."""

    within: Mapping[int, int]
    runs: Mapping[int, Sequence[int]]

    @classmethod
    def of(cls, session: Session, rows: Sequence[t.Run]) -> _Parts:
        belong = {row.id: row.environment["within"] for row in rows if "within" in row.environment}
        own = {row.parameters["token"]: row.id for row in rows if row.kind == SCRIPT}
        token, whole = t.Run.parameters["token"].as_string(), t.Run.environment["within"].as_string()
        scripts: dict[str, int] = {}
        if belong:
            of_token = select(token, t.Run.id).where(t.Run.kind == SCRIPT)
            scripts = dict(iter(session.execute(of_token.where(among(session, token, sorted(set(belong.values())))))))
        runs: dict[int, list[int]] = defaultdict(list)
        if own:
            query = select(whole, t.Run.id).where(among(session, whole, sorted(own))).order_by(t.Run.id)
            for of, run in session.execute(query):
                runs[own[of]].append(run)
        return cls({run: scripts[of] for run, of in belong.items() if of in scripts}, runs)
