"""Descriptions: what a name is in a text, and the licence and behavior of a version where it was stored with others."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.events import append_event
from caa_registry.catalog.search import entries
from caa_registry.digests import composed
from caa_registry.errors import UsageError
from caa_registry.pairs.record import checked_text
from caa_registry.references import check_new_name, parse
from caa_registry.registry.lookup import find_version, kind_of
from caa_registry.registry.records import DatasetVersion, VectorVersion
from caa_registry.registry.rows import dataset_record, vector_record
from caa_registry.registry.workspace import Workspace

_log = logging.getLogger(__name__)

_LONGEST = {"text": 10_000, "licence": 200}


def describe(
    workspace: Workspace, reference: str, *, text: str | None, licence: str | None, behavior: str | None
) -> DatasetVersion | VectorVersion:
    """Say what something is. See ``Registry.describe``."""
    if text is None and licence is None and behavior is None:
        raise UsageError("there is nothing to say", "Give a text, a licence or a behavior.")
    text, licence = _checked("text", text), _checked("licence", licence)
    if behavior:
        check_new_name(behavior)
    with workspace.database.write() as session:
        kind = kind_of(session, reference)
        row = find_version(session, reference, kind)
        name = parse(reference).name
        version: Any = (
            dataset_record(session, row) if isinstance(row, t.DatasetVersion) else vector_record(session, row)
        )
        _check(version, licence, behavior)
        if text is not None and _changes(f"text about {name}", version.description, text):
            owner: Any = (
                session.get_one(t.Dataset, row.dataset_id)
                if isinstance(row, t.DatasetVersion)
                else session.get_one(t.Vector, row.vector_id)
            )
            owner.description = text or None
            subject = {"kind": kind, "name": name, "text": text, "before": version.description}
            append_event(session, workspace.actor, "describe", subject)
        told = {kind: version.reference, "digest": version.digest}
        if licence is not None and _changes(f"licence of {version.reference}", version.licence, licence):
            _amendment(session, row).licence = licence
            append_event(session, workspace.actor, "describe", {**told, "licence": licence, "before": version.licence})
        if behavior is not None and _changes(f"behavior of {version.reference}", version.behavior, behavior):
            _amendment(session, row).behavior = behavior or None
            append_event(
                session, workspace.actor, "describe", {**told, "behavior": behavior, "before": version.behavior}
            )
        session.flush()
        versions: Any = type(row)
        mine = versions.id == row.id
        if text is not None:
            column = versions.dataset_id if kind == "dataset" else versions.vector_id
            mine = column == getattr(row, column.key)
        entries.refresh(session, kind, mine)
        if isinstance(row, t.DatasetVersion):
            return dataset_record(session, row)
        return vector_record(session, row)


def checked_description(text: str) -> str:
    """A text about a name as it is kept. Raises ``UsageError`` for one that is too long."""
    return _checked("text", text) or ""


def _checked(field: str, said: str | None) -> str | None:
    if said is None:
        return None
    said = composed(checked_text(said, field=field).strip())
    if len(said) > _LONGEST[field]:
        raise UsageError(
            f"the {field} has {len(said):,} characters, and at most {_LONGEST[field]:,} are kept", "Say it shorter."
        )
    if field == "licence" and "\n" in said:
        raise UsageError("the licence has several lines", "Give its name, such as MIT or CC-BY-4.0.")
    return said


def _check(version: DatasetVersion | VectorVersion, licence: str | None, behavior: str | None) -> None:
    """Raise ``UsageError`` for what a vector takes from its pairs."""
    if isinstance(version, DatasetVersion):
        return
    if licence is not None:
        of = f" Give it to these: caa describe dataset:{version.dataset} --licence ..." if version.dataset else ""
        raise UsageError(f"{version.reference} is a vector, and the licence is that of its pairs", of.strip())
    if behavior is not None and version.origin is None:
        raise UsageError(
            f"the behavior of {version.reference} is that of its pairs, {version.dataset}",
            f"Say it of these: caa describe dataset:{version.dataset} --behavior ...",
        )


def _changes(what: str, before: str, after: str) -> bool:
    """Whether something is said anew; where it is not, that is told."""
    if before == after:
        _log.warning("The %s is %s already.", what, repr(after) if after else "empty")
    return before != after


def _amendment(session: Session, row: t.DatasetVersion | t.VectorVersion) -> t.Amendment:
    column = t.Amendment.dataset_version_id if isinstance(row, t.DatasetVersion) else t.Amendment.vector_version_id
    found = session.scalar(select(t.Amendment).where(column == row.id))
    if found is None:
        found = t.Amendment(**{column.key: row.id})
        session.add(found)
    found.updated_at = datetime.now(UTC)
    return found
