"""Renaming: a dataset or a vector gets another name, with all its versions, aliases and tags."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caa_registry.catalog import filters
from caa_registry.catalog import models as t
from caa_registry.catalog.events import append_event
from caa_registry.catalog.search import entries
from caa_registry.errors import UsageError
from caa_registry.references import Kind, check_new_name, parse
from caa_registry.registry.lookup import find_owner, kind_of, owner_id
from caa_registry.registry.renames import RENAME, Renames
from caa_registry.registry.workspace import Workspace

_log = logging.getLogger(__name__)


def rename(workspace: Workspace, reference: str, name: str) -> str:
    """Give what ``reference`` names another name. See ``Registry.rename``."""
    parsed = parse(reference)
    if (parsed.version, parsed.alias, parsed.digest) != (None, None, None):
        raise UsageError(
            f"{reference} names one version, and a name is that of all", f"Write it without: caa rename {parsed.name}"
        )
    check_new_name(name)
    with workspace.database.write() as session:
        kind = kind_of(session, reference)
        owner = find_owner(session, kind, parsed)
        if name == parsed.name:
            raise UsageError(f"{kind} {name} is called so already")
        other: Kind = "vector" if kind == "dataset" else "dataset"
        if owner_id(session, kind, name) is not None:
            raise UsageError(f"there is a {kind} {name} already", "Choose another name.")
        if owner_id(session, other, name) is not None and not _shared(session, kind, other, parsed.name, name):
            raise UsageError(f"there is a {other} {name} already", "Choose another name.")
        versions: Any = t.DatasetVersion if kind == "dataset" else t.VectorVersion
        of_owner = (versions.dataset_id if kind == "dataset" else versions.vector_id) == owner.id
        before = _unstated(session, owner)
        owner.name = name
        session.flush()
        append_event(session, workspace.actor, RENAME, {"kind": kind, "from": parsed.name, "to": name})
        entries.refresh(session, kind, of_owner)
        after = _unstated(session, owner)
    if after is not None and after != before:
        _log.warning(
            "The behavior of %s is now %s, the last part of its name, where none is stated. "
            "To state it: caa describe dataset:%s --behavior %s",
            name,
            after,
            name,
            before,
        )
    return f"{kind}:{name}"


def _shared(session: Session, kind: Kind, other: Kind, old: str, new: str) -> bool:
    """Whether a dataset and a vector that had one name are to have one again: one of them was renamed from ``old`` to
    ``new`` before, or this one from ``new`` to ``old``."""
    renames = Renames(session)
    return new in renames.all_of(kind, old) or old in renames.all_of(other, new)


def _unstated(session: Session, owner: t.Dataset | t.Vector) -> str | None:
    """The behavior of those versions of a dataset that state none; ``None`` where all state one."""
    if isinstance(owner, t.Vector):
        return None
    version = t.DatasetVersion
    last = owner.name.rpartition("/")[2]
    query = (
        select(func.count(version.id))
        .join(t.Dataset, t.Dataset.id == version.dataset_id)
        .where(version.dataset_id == owner.id, version.deleted_at.is_(None), filters.stated_behavior().is_(None))
    )
    return last if session.scalar(query) else None
