"""From references to rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, overload

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.errors import NotFoundError, UsageError
from caa_registry.references import Kind, Reference, parse
from caa_registry.registry.renames import Renames
from caa_registry.wording import ranges

KINDS: tuple[Kind, ...] = ("dataset", "vector")

VersionRow = t.DatasetVersion | t.VectorVersion


@overload
def find_version(session: Session, reference: str, kind: Literal["dataset"]) -> t.DatasetVersion: ...
@overload
def find_version(session: Session, reference: str, kind: Literal["vector"]) -> t.VectorVersion: ...
def find_version(session: Session, reference: str, kind: Kind) -> VersionRow:
    """The version that ``reference`` names.

    Raises ``NotFoundError`` where there is none, ``UsageError`` where the reference is of the other kind or its tag
    and digest disagree.
    """
    parsed = parse(reference)
    if parsed.kind not in (None, kind):
        raise UsageError(f"{reference} names a {parsed.kind}, and a {kind} is needed here")
    _, table, owner_column = _tables(kind)
    owner = find_owner(session, kind, parsed)
    versions = select(table).where(owner_column == owner.id, table.deleted_at.is_(None))
    row: Any
    if parsed.alias is not None:
        row = _aliased(session, kind, owner.id, parsed, table)
        if row is None:
            raise NotFoundError(*no_alias(session, kind, owner.id, parsed))
    elif parsed.version is not None:
        row = session.scalar(versions.where(table.number == parsed.version))
    elif parsed.digest is not None:
        matches = list(session.scalars(versions.where(table.digest.startswith(parsed.digest, autoescape=True))))
        if len(matches) > 1:
            numbers = ", ".join(f"v{match.number}" for match in matches)
            raise UsageError(f"{reference} fits several versions ({numbers})", "Give more digits.")
        row = matches[0] if matches else None
    else:
        row = session.scalar(versions.order_by(table.number.desc()).limit(1))
    if row is None:
        query = select(table.number, table.deleted_at).where(owner_column == owner.id)
        marks: dict[int, Any] = {number: deleted_at for number, deleted_at in session.execute(query)}  # noqa: C416
        existing = sorted(number for number, deleted_at in marks.items() if deleted_at is None)
        deleted = sorted(marks.keys() - existing)
        which = f"v{parsed.version}" if parsed.version is not None else parsed.digest or "at all"
        hint = f"It has {_versions(existing)}." if existing else ""
        if deleted and (parsed.version in deleted or not existing):
            gone = parsed.version if parsed.version in deleted else deleted[-1]
            hint = f"v{gone} was deleted. To bring it back: caa undelete {kind}:{parsed.name}:v{gone}"
        raise NotFoundError(f"{kind} {parsed.name} has no version {which}", hint)
    if parsed.digest is not None and not row.digest.startswith(parsed.digest):
        raise UsageError(
            f"{reference}: tag and digest disagree (v{row.number} is {row.digest[:19]})",
            "Give one of the two, or correct it.",
        )
    version: VersionRow = row
    return version


def find_owner(session: Session, kind: Kind, parsed: Reference) -> Any:
    """The row of the dataset or vector of that name. Raises ``NotFoundError``, which says where it went if it was
    renamed."""
    owner_table = _tables(kind)[0]
    owner = session.scalar(select(owner_table).where(owner_table.name == parsed.name))
    if owner is None:
        if (renamed := _renamed(session, parsed, [kind])) is not None:
            raise renamed
        raise NotFoundError(f"there is no {kind} {parsed.name}", _instead(session, parsed.name, kind))
    return owner


def references(session: Session, kind: Kind, condition: ColumnElement[bool]) -> list[str]:
    """The references of all versions that meet ``condition`` and are not deleted, by name and number."""
    owner_table, table, owner_column = _tables(kind)
    query = (
        select(owner_table, table)
        .join(owner_table, owner_table.id == owner_column)
        .where(condition, table.deleted_at.is_(None))
        .order_by(owner_table.name, table.number)
    )
    return [f"{owner.name}:v{version.number}" for owner, version in session.execute(query)]


def _tables(kind: Kind) -> tuple[Any, Any, Any]:
    if kind == "dataset":
        return t.Dataset, t.DatasetVersion, t.DatasetVersion.dataset_id
    return t.Vector, t.VectorVersion, t.VectorVersion.vector_id


def _aliased(session: Session, kind: Kind, owner_id: int, parsed: Reference, table: Any) -> Any:
    alias = find_alias(session, kind, owner_id, str(parsed.alias))
    if alias is None:
        return None
    target = alias.dataset_version_id if kind == "dataset" else alias.vector_version_id
    return session.get(table, target)


def _versions(numbers: list[int]) -> str:
    return ", ".join(f"v{part.replace('-', ' to v')}" for part in ranges(numbers).split(", "))


def no_alias(session: Session, kind: Kind, owner_id: int, parsed: Reference) -> tuple[str, str]:
    """Message and hint for an alias that does not exist."""
    query = select(t.Alias.name).where(t.Alias.kind == kind, t.Alias.owner_id == owner_id).order_by(t.Alias.name)
    aliases = list(session.scalars(query))
    hint = f"It has none. Set one: caa alias set {parsed.name}:v1 NAME"
    if aliases:
        hint = f"Its aliases: {', '.join(aliases)}."
    return f"{kind} {parsed.name} has no alias {parsed.alias!r}", hint


def find_alias(session: Session, kind: Kind, owner_id: int, name: str) -> t.Alias | None:
    """The alias row of that name, or ``None``."""
    return session.scalar(
        select(t.Alias).where(t.Alias.kind == kind, t.Alias.owner_id == owner_id, t.Alias.name == name)
    )


def _instead(session: Session, name: str, kind: Kind) -> str:
    """What to try where there is no ``kind`` of that name."""
    other_kind: Kind = "vector" if kind == "dataset" else "dataset"
    if owner_id(session, other_kind, name) is not None:
        return f"{name} is a {other_kind}, and a {kind} is needed here (caa {kind} ls lists them)."
    close = _close(session, name, kind)
    return f"Did you mean {' or '.join(close)}?" if close else f"List them with: caa {kind} ls"


def _renamed(session: Session, parsed: Reference, kinds: Sequence[Kind]) -> NotFoundError | None:
    """The error for a name that something of ``kinds`` had, which has another now."""
    renames = Renames(session)
    for kind in kinds:
        now = renames.gone(kind, parsed.name)
        if now is not None:
            wanted = replace(parsed, name=now)
            return NotFoundError(f"there is no {kind} {parsed.name} any more: it was renamed", f"Write {wanted}.")
    return None


def _close(session: Session, name: str, kind: Kind) -> list[str]:
    import difflib

    names = list(session.scalars(select(_tables(kind)[0].name)))
    return difflib.get_close_matches(name, names, n=3, cutoff=0.5)


def owner_id(session: Session, kind: Kind, name: str) -> int | None:
    """The id of the dataset or vector of that name, ``None`` where there is none."""
    owner_table = _tables(kind)[0]
    id: int | None = session.scalar(select(owner_table.id).where(owner_table.name == name))
    return id


def kind_of(session: Session, reference: str, *, prefer: Kind | None = None) -> Kind:
    """Whether ``reference`` names a dataset or a vector.

    Where both have the name, an alias or a digest that only one of them has decides, then ``prefer``. Version numbers
    do not: v2 may exist in one today and in both tomorrow. Raises ``UsageError`` where it could still be either.
    """
    parsed = parse(reference)
    if parsed.kind:
        return parsed.kind
    kinds: list[Kind] = [kind for kind in KINDS if owner_id(session, kind, parsed.name) is not None]
    if not kinds:
        if (renamed := _renamed(session, parsed, KINDS)) is not None:
            raise renamed
        close = sorted({name for kind in KINDS for name in _close(session, parsed.name, kind)})
        raise NotFoundError(
            f"there is no dataset or vector {parsed.name}",
            f"Did you mean {' or '.join(close)}?" if close else "List them with: caa dataset ls, caa vector ls",
        )
    if len(kinds) > 1 and (parsed.alias or parsed.digest):
        kinds = [kind for kind in kinds if _fits(session, kind, parsed)]
        if not kinds:
            what = f"an alias {parsed.alias!r}" if parsed.alias else f"a version {parsed.digest}"
            raise NotFoundError(
                f"neither the dataset nor the vector {parsed.name} has {what}",
                "Look with: caa alias ls, caa dataset show, caa vector show",
            )
    if len(kinds) > 1 and prefer is None:
        raise UsageError(
            f"{parsed.name} is a dataset and a vector", f"Write dataset:{reference} or vector:{reference}."
        )
    return prefer if prefer in kinds else kinds[0]


def _fits(session: Session, kind: Kind, parsed: Reference) -> bool:
    owner = owner_id(session, kind, parsed.name) or 0
    if parsed.alias is not None:
        return find_alias(session, kind, owner, parsed.alias) is not None
    _, table, owner_column = _tables(kind)
    fitting = select(table.id).where(owner_column == owner, table.digest.startswith(parsed.digest, autoescape=True))
    return session.scalar(fitting.limit(1)) is not None


def aliases_of(session: Session, kind: Kind, version_id: int) -> tuple[str, ...]:
    """The aliases that point at a version."""
    column = t.Alias.dataset_version_id if kind == "dataset" else t.Alias.vector_version_id
    return tuple(session.scalars(select(t.Alias.name).where(column == version_id).order_by(t.Alias.name)))
