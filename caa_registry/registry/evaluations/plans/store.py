"""Plans in and out of the catalogue. One is stored with its run and its audit event, and never changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.integrity.damage import damaged
from caa_registry.digests import digest_object
from caa_registry.errors import NotFoundError, UsageError
from caa_registry.models.folder.fingerprint import ModelInfo
from caa_registry.references import DIGEST_PREFIX, Kind, check_name, check_new_name
from caa_registry.registry.evaluations.plans.standing import runs_of
from caa_registry.registry.models import ensure_model
from caa_registry.registry.provenance.runs import Activity, record_run
from caa_registry.registry.records import Listing, Plan, Terms, check_limit
from caa_registry.registry.renames import Renames
from caa_registry.registry.workspace import Workspace


def check_free(workspace: Workspace, name: str) -> None:
    """Raise ``UsageError`` unless something new may have ``name``, or has it already."""
    with workspace.database.read() as session:
        if session.scalar(select(t.Plan.id).where(t.Plan.name == name)) is None:
            check_new_name(name)


def store(workspace: Workspace, name: str, terms: Terms, model: ModelInfo, inputs: Sequence[tuple[str, int]]) -> Plan:
    """Store a plan. ``inputs``: what it names, by kind and id. The same terms under the same name are the plan that
    exists. Raises ``UsageError`` for a name in use, and for terms that stand under another name."""
    values = terms.to_json()
    digest = digest_object("plan", values)
    activity = Activity("plan", workspace.actor, {"name": name, **values})
    with workspace.database.write() as session:
        for row in session.scalars(select(t.Plan).where((t.Plan.name == name) | (t.Plan.digest == digest))):
            if row.digest != digest:
                raise UsageError(f"plan {name} exists and says something else", "Plans never change: choose a name.")
            if row.name != name:
                raise UsageError(f"plan {row.name} says exactly this", f"Run it: caa eval run {row.name}")
            (existing,) = records(session, [row], existing=True)
            return existing
        model_row, _ = ensure_model(session, model)
        row = t.Plan(name=name, digest=digest, terms=values, actor=workspace.actor, created_at=datetime.now(UTC))
        session.add(row)
        session.flush()
        record_run(
            session,
            activity,
            inputs=[*inputs, ("model", model_row.id)],
            outputs=[("plan", row.id)],
            subject={"plan": name, "digest": digest},
        )
        (plan,) = records(session, [row])
    return plan


def get(workspace: Workspace, reference: str) -> Plan:
    """The plan of that name, or whose digest begins so. Raises ``NotFoundError``, ``UsageError`` where several fit."""
    prefix = DIGEST_PREFIX.fullmatch(reference)
    if not prefix:
        check_name(reference)
    which = t.Plan.digest.startswith(reference) if prefix else t.Plan.name == reference
    with workspace.database.read() as session:
        found = records(session, list(session.scalars(select(t.Plan).where(which).limit(2))))
    if not found:
        raise NotFoundError(f"there is no plan {reference} in this registry", "List them with: caa eval plans")
    if len(found) > 1:
        raise UsageError(f"{reference} fits several plans", "Give more digits.")
    return found[0]


def names_now(workspace: Workspace, plan: Plan) -> Callable[[Kind, str], str]:
    """What is called today what ``plan`` names, by kind and the name that it had when the plan was stored."""
    event = t.Event
    of_plan = select(event.id).where(event.action == "plan", event.subject["plan"].as_string() == plan.name)
    with workspace.database.read() as session:
        stored, renames = session.scalar(of_plan.order_by(event.id).limit(1)) or 0, Renames(session)
    return lambda kind, name: renames.now(kind, name, stored)


def ls(workspace: Workspace, limit: int | None) -> Listing[Plan]:
    """All plans, newest last; the newest ``limit`` of them."""
    check_limit(limit)
    query: Select[t.Plan] = select(t.Plan).order_by(t.Plan.id.desc())
    with workspace.database.read() as session:
        rows = list(session.scalars(query if limit is None else query.limit(limit)))
        total = session.scalar(select(func.count()).select_from(t.Plan)) or 0
        return Listing(tuple(records(session, rows[::-1])), total)


def records(session: Session, rows: Sequence[t.Plan], *, existing: bool = False) -> list[Plan]:
    """Plans as they are handed out. Raises ``IntegrityError`` for one that is not what its digest covers."""
    runs = runs_of(session, [row.digest for row in rows])
    plans = []
    for row in rows:
        if row.digest != digest_object("plan", row.terms):
            raise damaged(f"plan {row.name}", "its terms are not those that its digest covers")
        terms = Terms.from_json(row.terms, row.name)
        evaluations = tuple(runs.get(row.digest, ()))
        plans.append(Plan(row.id, row.name, row.digest, terms, row.actor, row.created_at, evaluations, existing))
    return plans
