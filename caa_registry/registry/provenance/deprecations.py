"""Deprecations: versions that should not be used for anything new, with what to use instead."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.catalog.events import append_event
from caa_registry.errors import UsageError
from caa_registry.references import Kind, parse
from caa_registry.registry.lookup import find_version, kind_of
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.registry.records import DatasetVersion, VectorVersion

V = TypeVar("V", "DatasetVersion", "VectorVersion")

LOGGER = logging.getLogger(__name__)


def deprecate(workspace: Workspace, reference: str, why: str, successor: str | None, *, lift: bool) -> str:
    """Deprecate a version of a dataset or vector, or take that back (``lift``); its name.

    ``successor``: the version to use instead. Raises ``UsageError`` without a reason, for a successor that is of the
    other kind or the version itself, for what is deprecated already in these words, and for what is not where it is
    lifted.
    """
    from caa_registry.pairs.record import checked_text

    if not why.strip() and not lift:
        raise UsageError("a deprecation needs a reason", "Give --why.")
    checked_text(why, field="why")
    with workspace.database.write() as session:
        kind = kind_of(session, reference)
        version = find_version(session, reference, kind)
        name = f"{parse(reference).name}:v{version.number}"
        instead = ""
        if successor is not None:
            following = find_version(session, successor, kind)
            if following.id == version.id:
                raise UsageError(f"{name} cannot be its own successor", "Name another version.")
            instead = f"{parse(successor).name}:v{following.number}"
        known = standing(session, kind, [version.id]).get(version.id, "")
        if lift and not known:
            raise UsageError(f"{name} is not deprecated", "There is nothing to take back.")
        if not lift and known == _said(why, instead):
            raise UsageError(f"{name} is deprecated already: {known}", "Give another reason, or take it back: --lift.")
        row = t.Deprecation(
            dataset_version_id=version.id if kind == "dataset" else None,
            vector_version_id=version.id if kind == "vector" else None,
            lifted=lift,
            successor=instead,
            why=why,
            actor=workspace.actor,
            created_at=datetime.now(UTC),
        )
        session.add(row)
        session.flush()
        subject = {kind: name, "digest": version.digest, "deprecation": row.id, "why": why, "successor": instead}
        append_event(session, workspace.actor, "lift-deprecation" if lift else "deprecate", subject)
    return name


def marked(session: Session, kind: Kind, versions: Sequence[V]) -> list[V]:
    """The records with why they are deprecated, and what to use instead."""
    reasons = standing(session, kind, [version.id for version in versions])
    return [replace(version, deprecated=reasons.get(version.id, "")) for version in versions]


def warn(version: DatasetVersion | VectorVersion) -> None:
    """Warn, where a version is asked for, that it is deprecated."""
    if version.deprecated:
        LOGGER.warning("%s is deprecated: %s", version.reference, version.deprecated)


def standing(session: Session, kind: Kind, versions: Sequence[int]) -> dict[int, str]:
    """By id of those of ``versions`` that are deprecated: why, and what to use instead."""
    column = t.Deprecation.dataset_version_id if kind == "dataset" else t.Deprecation.vector_version_id
    newest = select(func.max(t.Deprecation.id)).where(among(session, column, versions)).group_by(column)
    rows = session.scalars(select(t.Deprecation).where(t.Deprecation.id.in_(newest)))
    return {getattr(row, column.key): _said(row.why, row.successor) for row in rows if not row.lifted}


def _said(why: str, successor: str) -> str:
    return f"{why} (use {successor})" if successor else why
