"""Vectors and evaluations that are quarantined by hand."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.catalog.events import append_event
from caa_registry.errors import UsageError
from caa_registry.pairs.record import checked_text
from caa_registry.registry.lookup import references
from caa_registry.registry.provenance import recalls
from caa_registry.registry.provenance.named import Named, find
from caa_registry.registry.provenance.recalls import Downstream
from caa_registry.registry.records import Recall
from caa_registry.registry.workspace import Workspace


def quarantine(workspace: Workspace, reference: str, why: str, *, lift: bool) -> Downstream:
    """Quarantine a vector version or an evaluation, or take that back. See ``Registry.quarantine``."""
    if not why.strip() and not lift:
        raise UsageError("a quarantine needs a reason", "Give --why.")
    checked_text(why, field="why")
    with workspace.database.write() as session:
        named = find(session, reference)
        if named.thing[0] == "dataset":
            raise UsageError(
                f"{named.reference} is a dataset; pairs and datasets are recalled, which quarantines what was made "
                "from them",
                f"caa dataset recall {named.name} --why TEXT",
            )
        target = _target(named)
        known = {recall.label: recall for recall in recalls.quarantining(session)}.get(target.label)
        if lift and known is None:
            raise UsageError(f"{named.reference} is not quarantined by hand", "There is nothing to take back.")
        if not lift and known is not None:
            raise UsageError(f"{known.what} is quarantined already: {known.why}", "Take that back first: --lift.")
        row = t.Quarantine(
            vector_version_id=target.vector_id,
            evaluation_id=target.evaluation_id,
            lifted=lift,
            why=why,
            actor=workspace.actor,
            created_at=datetime.now(UTC),
        )
        session.add(row)
        session.flush()
        action = "lift-quarantine" if lift else "quarantine"
        append_event(session, workspace.actor, action, {**named.subject, "quarantine": row.id, "why": why})
        return _downstream(session, named, target)


def _target(named: Named) -> Recall:
    kind, id = named.thing
    vector, evaluation = (id, None) if kind == "vector" else (None, id)
    return Recall(named.reference, "", "", datetime.now(UTC), vector_id=vector, evaluation_id=evaluation)


def _downstream(session: Session, named: Named, target: Recall) -> Downstream:
    reached = recalls.quarantine(session, [target])
    vectors = references(session, "vector", among(session, t.VectorVersion.id, reached.vectors))
    return Downstream(named.reference, [], vectors, sorted(reached.evaluations))
