"""Tags: labels ``key=value`` of versions, to find these by. Every change is an event."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from caa_registry.catalog import models as t
from caa_registry.catalog.events import append_event
from caa_registry.catalog.search import entries
from caa_registry.digests import composed
from caa_registry.errors import NotFoundError, UsageError
from caa_registry.pairs.record import checked_text
from caa_registry.references import Kind, parse
from caa_registry.registry.lookup import VersionRow, find_version, kind_of
from caa_registry.registry.records import Listing, Tag, check_limit
from caa_registry.registry.workspace import Workspace

_KEY = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._/-]{0,127}")
_LONGEST = 1000


class Tags:
    """The tags of a registry. A tag belongs to one version of a dataset or vector; the next version has none."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def set(self, reference: str, tags: Mapping[str, str]) -> Listing[Tag]:
        """Give the version that ``reference`` names ``tags``, by key, in place of those that it has of these keys; all
        its tags. All are set or none. Raises ``UsageError`` for what cannot be a key or a value."""
        if not tags:
            raise UsageError("there is no tag to set", "Give KEY=VALUE.")
        wanted = {_key(key): _value(key, value) for key, value in tags.items()}
        with self._workspace.database.write() as session:
            target = _Target.of(session, reference)
            there = {row.key: row for row in target.rows(session)}
            for key, value in wanted.items():
                row = there.get(key)
                before = row.value if row is not None else None
                if before == value:
                    continue
                if row is None:
                    row = there[key] = t.Tag(**{f"{target.kind}_version_id": target.version.id}, key=key)
                    session.add(row)
                row.value, row.updated_at = value, datetime.now(UTC)
                told = {**target.subject, "key": key, "value": value, "before": before}
                append_event(session, self._workspace.actor, "set-tag", told)
            target.refresh(session)
            return Listing.whole([target.record(there[key]) for key in sorted(there)])

    def remove(self, reference: str, *keys: str) -> None:
        """Take the tags with these keys from the version that ``reference`` names, all or none. Raises
        ``NotFoundError`` for a key that it has no tag of."""
        with self._workspace.database.write() as session:
            target = _Target.of(session, reference)
            there = {row.key: row for row in target.rows(session)}
            for key in dict.fromkeys(keys):
                row = there.get(key)
                if row is None:
                    known = ", ".join(sorted(there))
                    raise NotFoundError(
                        f"{target.name} has no tag {key!r}", f"It has: {known}." if known else "It has none."
                    )
                session.delete(row)
                told = {**target.subject, "key": key, "before": row.value}
                append_event(session, self._workspace.actor, "remove-tag", told)
            target.refresh(session)

    def ls(self, reference: str | None = None, *, limit: int | None = None) -> Listing[Tag]:
        """The tags of the version that ``reference`` names, or of all that are there, by kind, name, version and key;
        the first ``limit`` of them."""
        tag, datasets, vectors = t.Tag, t.DatasetVersion, t.VectorVersion
        name = func.coalesce(t.Dataset.name, t.Vector.name)
        number = func.coalesce(datasets.number, vectors.number)
        query = (
            select(tag, name, number)
            .outerjoin(datasets, datasets.id == tag.dataset_version_id)
            .outerjoin(t.Dataset, t.Dataset.id == datasets.dataset_id)
            .outerjoin(vectors, vectors.id == tag.vector_version_id)
            .outerjoin(t.Vector, t.Vector.id == vectors.vector_id)
            .where(datasets.deleted_at.is_(None), vectors.deleted_at.is_(None))
            .order_by(tag.dataset_version_id.is_(None), name, number, tag.key)
        )
        check_limit(limit)
        with self._workspace.database.read() as session:
            if reference is not None:
                target = _Target.of(session, reference)
                query = query.where(target.condition)
            rows = session.execute(query.limit(limit)).all()
            total = len(rows)
            if limit is not None:
                total = session.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0
        return Listing(tuple(_record(row, of, version) for row, of, version in rows), total)


class _Target:
    """A version that tags are of."""

    def __init__(self, kind: Kind, name: str, version: VersionRow) -> None:
        self.kind, self.name, self.version = kind, name, version

    @classmethod
    def of(cls, session: Session, reference: str) -> _Target:
        kind = kind_of(session, reference)
        version = find_version(session, reference, kind)
        return cls(kind, f"{parse(reference).name}:v{version.number}", version)

    @property
    def condition(self) -> ColumnElement[bool]:
        """That a tag is of the version."""
        return _of(self.kind) == self.version.id

    @property
    def subject(self) -> dict[str, Any]:
        return {self.kind: self.name, "digest": self.version.digest}

    def rows(self, session: Session) -> list[t.Tag]:
        return list(session.scalars(select(t.Tag).where(self.condition)))

    def record(self, row: t.Tag) -> Tag:
        return Tag(f"{self.kind}:{self.name}", row.key, row.value, row.updated_at)

    def refresh(self, session: Session) -> None:
        """Have the version be found by its tags."""
        entries.refresh(session, self.kind, type(self.version).id == self.version.id)


def _of(kind: Kind) -> InstrumentedAttribute[int | None]:
    return t.Tag.dataset_version_id if kind == "dataset" else t.Tag.vector_version_id


def checked_tag(key: str, value: str) -> tuple[str, str]:
    """A tag as it is kept. Raises ``UsageError`` for what cannot be a key or a value."""
    return _key(key), _value(key, value)


def _key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise UsageError(f"{key!r} cannot be the key of a tag", "Use letters, digits, '.', '_', '-' and '/': status")
    return key


def _value(key: str, value: str) -> str:
    said = composed(checked_text(value, field=key).strip())
    if not said:
        raise UsageError(f"tag {key} has no value", f"Give one: {key}=VALUE. To take it away: caa tag rm REF {key}")
    if "\n" in said or len(said) > _LONGEST:
        raise UsageError(
            f"the value of tag {key} is no label: it has {len(said):,} characters or several lines",
            "Longer texts: caa describe REF --text TEXT",
        )
    return said


def _record(row: t.Tag, name: str, number: int) -> Tag:
    kind = "dataset" if row.dataset_version_id is not None else "vector"
    return Tag(f"{kind}:{name}:v{number}", row.key, row.value, row.updated_at)
