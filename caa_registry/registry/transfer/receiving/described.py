"""What is said of a version that is received: set where nobody here has said anything."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.events import append_event
from caa_registry.catalog.search import entries
from caa_registry.references import Kind, check_new_name
from caa_registry.registry.order.description import checked_description
from caa_registry.registry.order.tags import checked_tag
from caa_registry.registry.rows import dataset_record, vector_record
from caa_registry.registry.transfer.documents.things import Described


def set_described(session: Session, actor: str, kind: Kind, row: Any, described: Described) -> None:
    """Set the text, the tags and the behavior of a version that was just added, each with its event. The
    text is that of a name: one that is here stays."""
    owner: Any = (
        session.get_one(t.Dataset, row.dataset_id) if kind == "dataset" else session.get_one(t.Vector, row.vector_id)
    )
    text = checked_description(described.text)
    tags = dict(checked_tag(key, value) for key, value in described.tags.items())
    told = {kind: f"{owner.name}:v{row.number}", "digest": row.digest}
    versions: Any = type(row)
    told_of = versions.id == row.id
    if text and not owner.description:
        owner.description = text
        # Every version of the name is found by it.
        told_of = (versions.dataset_id if kind == "dataset" else versions.vector_id) == owner.id
        append_event(session, actor, "describe", {"kind": kind, "name": owner.name, "text": text, "before": ""})
    column, now = f"{kind}_version_id", datetime.now(UTC)
    for key, value in tags.items():
        session.add(t.Tag(**{column: row.id}, key=key, value=value, updated_at=now))
        append_event(session, actor, "set-tag", {**told, "key": key, "value": value, "before": None})
    if described.behavior:
        behavior = check_new_name(described.behavior)
        before = (dataset_record if kind == "dataset" else vector_record)(session, row).behavior
        session.add(t.Amendment(**{column: row.id}, behavior=behavior, updated_at=now))
        append_event(session, actor, "describe", {**told, "behavior": behavior, "before": before})
    if text or tags or described.behavior:
        session.flush()
        entries.refresh(session, kind, told_of)
