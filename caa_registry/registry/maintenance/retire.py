"""Deleting and undeleting: a mark on a version or an evaluation. Its row stays, and ``gc`` removes the bytes later."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.orm import Session, aliased

from caa_registry.catalog import models as t
from caa_registry.catalog.events import append_event
from caa_registry.errors import NotFoundError, UsageError
from caa_registry.references import parse
from caa_registry.registry.datasets.store import has_items
from caa_registry.registry.evaluations.plans.standing import runs_of
from caa_registry.registry.lookup import kind_of, owner_id
from caa_registry.registry.provenance.lineage import Thing, deleted_sources, names_of
from caa_registry.registry.provenance.named import EVALUATION, Named, find
from caa_registry.registry.records import Recommendation
from caa_registry.registry.workspace import Workspace

_TABLES: dict[str, Any] = {"dataset": t.DatasetVersion, "vector": t.VectorVersion, "evaluation": t.Evaluation}


def delete(workspace: Workspace, reference: str, why: str = "") -> str:
    """Mark a dataset version, a vector version or an evaluation (``evaluation:7``) deleted; its reference.

    It is not found any more, and ``undelete`` brings it back. Raises ``UsageError`` where an alias, what was made from
    it, or a plan that was not run yet needs it, naming them.
    """
    from caa_registry.pairs.record import checked_text

    checked_text(why, field="why")
    with workspace.database.write() as session:
        target = find(session, reference)
        aliases, others = _aliases(session, target), _made_from(session, target.thing)
        if aliases or others:
            commands = [f"caa alias rm {alias}" for alias in aliases]
            commands += [f"caa delete {name}" for name in others if not name.startswith("plan:")]
            raise UsageError(
                f"{target.reference} is needed by {', '.join([f'alias {alias}' for alias in aliases] + others)}",
                f"First: {'; '.join(commands)}" if commands else "Run the plan first: caa eval run",
            )
        target.row.deleted_at = datetime.now(UTC)
        append_event(session, workspace.actor, "delete", {**target.subject, "why": why})
    return target.reference


def undelete(workspace: Workspace, reference: str) -> str:
    """Bring back what was deleted; its reference. A name without a version means the newest that was deleted.

    Raises ``NotFoundError`` where nothing was, ``UsageError`` where ``gc`` has removed its contents, or where what it
    was made from is deleted.
    """
    with workspace.database.write() as session:
        target = _deleted(session, reference)
        missing = deleted_sources(session, [target.thing])
        if missing:
            raise UsageError(
                f"{target.reference} was made from {', '.join(missing)}, which is deleted",
                f"First: {'; '.join(f'caa undelete {name}' for name in missing)}",
            )
        if not _is_whole(workspace, session, target):
            raise UsageError(
                f"the contents of {target.reference} were removed by caa gc", "Restore a backup, or make it again."
            )
        target.row.deleted_at = None
        append_event(session, workspace.actor, "undelete", target.subject)
    return target.reference


def _deleted(session: Session, reference: str) -> Named:
    nothing = NotFoundError(f"nothing that was deleted is called {reference}", "caa log shows what was: --by ACTOR")
    match = EVALUATION.fullmatch(reference)
    if match is not None:
        row = session.get(t.Evaluation, int(match[1]))
        if row is None or row.deleted_at is None:
            raise nothing
        return Named(("evaluation", row.id), str(row.id), row)
    parsed, kind = parse(reference), kind_of(session, reference)
    if parsed.alias is not None:
        raise UsageError(f"{reference} is an alias, which no deleted version has", "Give the version: NAME:v1.")
    table = _TABLES[kind]
    owner = table.dataset_id if kind == "dataset" else table.vector_id
    query = select(table).where(owner == owner_id(session, kind, parsed.name), table.deleted_at.is_not(None))
    if parsed.version is not None:
        query = query.where(table.number == parsed.version)
    if parsed.digest is not None:
        query = query.where(table.digest.startswith(parsed.digest, autoescape=True))
    version = session.scalar(query.order_by(table.number.desc()).limit(1))
    if version is None:
        raise nothing
    return Named((kind, version.id), f"{parsed.name}:v{version.number}", version)


def _aliases(session: Session, target: Named) -> list[str]:
    """The aliases that point at it, or whose recommendation rests on it."""
    kind, id = target.thing
    of = "dataset" if kind == "dataset" else "vector"
    owner: Any = t.Dataset if of == "dataset" else t.Vector
    query = (
        select(t.Alias, owner.name)
        .join(owner, owner.id == t.Alias.owner_id)
        .where(t.Alias.kind == of)
        .order_by(owner.name, t.Alias.name)
    )
    found = []
    for alias, name in session.execute(query):
        if kind == "evaluation":
            needs = alias.recommendation and id in Recommendation.from_json(alias.recommendation).evaluations
        else:
            needs = id == (alias.dataset_version_id if of == "dataset" else alias.vector_version_id)
        if needs:
            found.append(f"{of}:{name}:{alias.name}")
    return found


def _made_from(session: Session, thing: Thing) -> list[str]:
    """The references of what runs made from it and is not deleted, and of plans that were not run."""
    kind, id = thing
    used, made = aliased(t.RunIO), aliased(t.RunIO)
    products = session.execute(
        select(made.kind, made.object_id)
        .join(used, and_(used.run_id == made.run_id, used.direction == "input"))
        .where(used.kind == kind, used.object_id == id, made.direction == "output")
        .distinct()
    ).all()
    things = [(of, product) for of, product in products if (of, product) != thing]
    plans = {
        plan.id: plan
        for plan in session.scalars(select(t.Plan).where(t.Plan.id.in_([i for k, i in things if k == "plan"])))
    }
    ran = runs_of(session, [plan.digest for plan in plans.values()])
    names = names_of(session, things)
    found = []
    for of, product in sorted(things):
        if of == "plan":
            if not ran.get(plans[product].digest):
                found.append(f"plan:{plans[product].name}")
        elif of in _TABLES and session.get_one(_TABLES[of], product).deleted_at is None:
            found.append(names[of, product].key)
    return found


def _is_whole(workspace: Workspace, session: Session, target: Named) -> bool:
    row = target.row
    if isinstance(row, t.VectorVersion):
        return row.blob_digest in workspace.blobs
    if isinstance(row, t.Evaluation):
        return row.measurements is None or row.measurements in workspace.blobs
    return row.n_items == 0 or has_items(session, row.id)
