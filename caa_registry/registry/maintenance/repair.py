"""What can be done about damage without a backup: indexes are made anew from their tables, that of words to search too,
and what is damaged is quarantined, with what was made of it. Nothing else is deleted, and no row is rewritten."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.events import append_event
from caa_registry.catalog.search import entries
from caa_registry.errors import CaaError
from caa_registry.registry.maintenance.checkup import OWNED
from caa_registry.registry.provenance import recalls
from caa_registry.registry.records import FsckReport, Repaired
from caa_registry.registry.workspace import Workspace

# How SQLite says that an index is not what its table is.
_OF_INDEX = re.compile(r"missing from index|entries in index|non-unique entry in index|NULL value in .* index")
_VERSION = re.compile(r"(dataset|vector) (\S+):v(\d+)")
_EVALUATION = re.compile(r"evaluation (\d+)")


def repair(workspace: Workspace, report: FsckReport) -> Repaired:
    """Do about what ``report`` found what can be done. See ``Registry.repair``."""
    indexes = any(fault.check == "database" and _OF_INDEX.search(fault.problem) for fault in report.damage)
    if indexes:
        _make_indexes(workspace)
    search = any(fault.check == "search" for fault in report.damage)
    if search:
        with workspace.database.write() as session:
            entries.rebuild(session)
    with workspace.database.write() as session:
        return Repaired(indexes, tuple(_quarantined(session, workspace.actor, report)), search=search)


def _make_indexes(workspace: Workspace) -> None:
    try:
        with workspace.database.write() as session:
            session.connection().exec_driver_sql("REINDEX")
    except (DatabaseError, CaaError) as error:
        raise CaaError(
            "the indexes cannot be made anew, since their tables are damaged too", "Restore a backup."
        ) from error


def _quarantined(session: Session, actor: str, report: FsckReport) -> Iterator[str]:
    """Quarantine every version and evaluation that is damaged and still has a row; what each is called."""
    standing = {recall.label for recall in recalls.quarantining(session)}
    for thing, fault in {fault.thing: fault for fault in reversed(report.damage)}.items():
        found = _found(session, thing)
        if found is None:
            continue
        kind, id = found
        label = str(id) if kind == "dataset" else f"{kind} {id}"
        if label in standing:
            continue
        why = f"caa fsck: {fault.problem}"
        row = _row(kind, id, why, actor)
        session.add(row)
        session.flush()
        # A damaged row is not loaded, so that its digest is not told.
        told: dict[str, Any] = {kind: id} if kind == "evaluation" else {kind: thing.partition(" ")[2]}
        action = "recall" if kind == "dataset" else "quarantine"
        append_event(session, actor, action, {**told, action: row.id, "why": why})
        yield thing


def _row(kind: str, id: int, why: str, actor: str) -> t.Recall | t.Quarantine:
    said: dict[str, Any] = {"lifted": False, "why": why, "actor": actor, "created_at": datetime.now(UTC)}
    if kind == "dataset":
        return t.Recall(version_id=id, **said)
    return t.Quarantine(**{f"{kind}_version_id" if kind == "vector" else "evaluation_id": id}, **said)


def _found(session: Session, thing: str) -> tuple[str, int] | None:
    """The kind and id of a version or evaluation that is there, by what it is called."""
    if (match := _EVALUATION.fullmatch(thing)) is not None:
        id = session.scalar(select(t.Evaluation.id).where(t.Evaluation.id == int(match[1])))
        return None if id is None else ("evaluation", id)
    match = _VERSION.fullmatch(thing)
    for kind, owner, version, column in OWNED:
        if match is not None and kind == match[1]:
            query = select(version.id).join(owner, owner.id == column)
            id = session.scalar(query.where(owner.name == match[2], version.number == int(match[3])))
            return None if id is None else (kind, id)
    return None
