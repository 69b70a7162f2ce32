"""The audit, to be read and checked: who did what, when, and whether all of it is still there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Text, cast, func, or_, select
from sqlalchemy.orm import Session

from caa_registry.catalog import filters
from caa_registry.catalog import models as t
from caa_registry.catalog.events import check_event, verify_chain
from caa_registry.errors import UsageError
from caa_registry.references import Kind, parse
from caa_registry.registry.lookup import KINDS, find_version, kind_of, owner_id
from caa_registry.registry.records import AuditCheck, AuditEvent, Listing, check_limit
from caa_registry.registry.renames import RENAME, Renames
from caa_registry.registry.workspace import Workspace

# All digits: somebody could find an event that fits the first of them.
_HEAD = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


class Audit:
    """The audit of a registry."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def ls(
        self,
        reference: str | None = None,
        *,
        actor: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> Listing[AuditEvent]:
        """Events, newest first; the first ``limit`` of them.

        ``reference``: those that tell of a dataset or a vector, of all its versions where no one is named. ``since``:
        with no time zone it is UTC. Raises ``NotFoundError`` for a reference that names nothing, ``IntegrityError`` for
        an event that was changed.
        """
        wanted = select(t.Event)
        if actor is not None:
            wanted = wanted.where(t.Event.actor == actor)
        if since is not None:
            wanted = wanted.where(filters.since(t.Event.at, since))
        newest = wanted.order_by(t.Event.id.desc())
        check_limit(limit)
        with self._workspace.database.read() as session:
            if reference is None:
                rows = list(session.scalars(newest.limit(limit)))
                count = select(func.count()).select_from(wanted.subquery())
                total = len(rows) if limit is None else session.scalar(count) or 0
            else:
                told = _Told.of(session, reference)
                # Every subject that tells of it holds a name of its; which of those that do tell of it is seen in each.
                subject = cast(t.Event.subject, Text)
                named = newest.where(or_(*(subject.contains(name, autoescape=True) for name in told.names)))
                found = [event for event in session.scalars(named) if told.by(event)]
                rows, total = found[:limit], len(found)
            for event in rows:
                check_event(event)
        return Listing(tuple(map(_record, rows)), total)

    def verify(self, head: str | None = None) -> AuditCheck:
        """Check that no event was changed, removed, put in between or cut off from the end.

        ``head``: the digest that ``head()`` gave once: the chain must still contain it. Raises ``IntegrityError`` that
        says what does not hold.
        """
        digest = None
        if head is not None:
            match = _HEAD.fullmatch(head.strip().lower())
            if match is None:
                raise UsageError(
                    f"{head!r} is not the digest of an event", "Give all 64 digits, as caa log head prints them."
                )
            digest = f"sha256:{match[1]}"
        with self._workspace.database.read() as session:
            return verify_chain(session, digest)

    def head(self) -> AuditEvent | None:
        """The last event; ``None`` where there is none."""
        with self._workspace.database.read() as session:
            event = session.scalar(select(t.Event).order_by(t.Event.id.desc()).limit(1))
            if event is None:
                return None
            check_event(event)
            return _record(event)


class _Told:
    """What events are to tell of. ``versions``: of each kind that has the ``name`` the number of one version, ``None``
    for all of them."""

    def __init__(self, name: str, versions: Mapping[Kind, int | None], renames: Renames) -> None:
        self.name, self.versions, self._renames = name, versions, renames

    @property
    def names(self) -> list[str]:
        """All names that it ever had."""
        return list(dict.fromkeys(each for kind in self.versions for each in self._renames.all_of(kind, self.name)))

    @classmethod
    def of(cls, session: Session, reference: str) -> _Told:
        parsed = parse(reference)
        if parsed.version is not None or parsed.alias is not None or parsed.digest is not None:
            kind = kind_of(session, reference)
            return cls(parsed.name, {kind: find_version(session, reference, kind).number}, Renames(session))
        both = parsed.kind is None and None not in (owner_id(session, kind, parsed.name) for kind in KINDS)
        return cls(parsed.name, dict.fromkeys(KINDS if both else [kind_of(session, reference)]), Renames(session))

    def by(self, event: t.Event) -> bool:
        """Whether ``event`` tells of it."""
        return any(
            self._by(event, self._renames.then(kind, self.name, event.id), kind, version)
            for kind, version in self.versions.items()
        )

    def _by(self, event: t.Event, name: str, kind: Kind, version: int | None) -> bool:
        """Whether ``event`` tells of what was called ``name`` after it."""
        subject = event.subject
        if event.action == RENAME:
            return (subject.get("kind"), subject.get("to")) == (kind, name)
        if (subject.get("kind"), subject.get("name")) == (kind, name):
            # An alias, which is moved from a version to another; or a text about all versions.
            return version is None or "text" in subject or f"v{version}" in (subject.get("from"), subject.get("to"))
        references = _references(subject, kind)
        if version is None:
            return any(each.partition(":")[0] == name for each in references)
        return f"{name}:v{version}" in references


def _references(subject: Mapping[str, Any], kind: Kind) -> Iterator[str]:
    """The references of ``kind`` in a subject, where they stand under its name, alone or several. A recall names its
    dataset under ``what``."""
    for key, value in subject.items():
        if key.removesuffix("s") == kind or (key, kind) == ("what", "dataset"):
            yield from (each for each in ([value] if isinstance(value, str) else value or ()) if isinstance(each, str))


def _record(event: t.Event) -> AuditEvent:
    return AuditEvent(event.id, event.at, event.actor, event.action, event.subject, event.previous, event.digest)
