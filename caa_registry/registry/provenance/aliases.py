"""Aliases: movable names of versions, with what an evaluation recommended. Every move is an event."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import Select, Text, and_, cast, func, or_, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.events import append_event, check_event
from caa_registry.catalog.filters import tagged
from caa_registry.catalog.integrity.damage import damaged
from caa_registry.digests import floats_as_text
from caa_registry.errors import ConflictError, NotFoundError, UsageError
from caa_registry.references import VERSION, Kind, Reference, check_alias, parse
from caa_registry.registry.lookup import find_alias, find_owner, find_version, kind_of, no_alias, owner_id
from caa_registry.registry.records import Alias, AliasMove, Listing, Recommendation, check_limit
from caa_registry.registry.renames import Renames
from caa_registry.registry.workspace import Workspace
from caa_registry.wording import named_layers

_MOVES = ("set-alias", "remove-alias")
# What is expected of an alias that there must not be.
_NONE = "none"


class Aliases:
    """The aliases of a registry."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def set(
        self,
        reference: str,
        alias: str,
        recommendation: Recommendation | None = None,
        *,
        replace: bool = False,
        expect: str | None = None,
        protect: bool | None = None,
        override: bool = False,
    ) -> Alias:
        """Point ``alias`` of a name at the version that ``reference`` names, moving it where it exists.

        ``recommendation`` belongs to vectors: the layers, multiplier and positions to apply it with. ``expect``: where
        it has to point now, as ``v3``, or ``none`` where there must be none; of two who expect the same, one is told.
        ``protect``: whether it is protected from now on, by default as it is. Raises ``UsageError`` for an alias that a
        calibration set with its verdict, unless ``replace`` is given, and for a protected one, unless ``override`` is;
        ``ConflictError`` where it points elsewhere than expected.
        """
        check_alias(alias)
        expected = _expected(expect)
        with self._workspace.database.write() as session:
            # Only vectors take layers, so with a layer a name that is also a dataset's is the vector's.
            kind = kind_of(session, reference, prefer="vector" if recommendation is not None else None)
            version = find_version(session, reference, kind)
            owner = version.dataset_id if isinstance(version, t.DatasetVersion) else version.vector_id
            if recommendation is not None:
                if not isinstance(version, t.VectorVersion):
                    raise UsageError(
                        f"{reference} is a dataset; layers and multipliers are recommended for vectors",
                        "Name a vector (caa vector ls), or leave --layer and --multiplier out.",
                    )
                _check_layers(session, version, reference, recommendation)
            row = find_alias(session, kind, owner, alias)
            before = _target(session, row) if row else None
            name = f"{parse(reference).name}:{alias}"
            if expected is not None and (before or _NONE) != expected:
                there = f"{name} points at {before}" if before else f"there is no alias {name}"
                wanted = "and none was expected" if expected == _NONE else f"and it was expected at {expected}"
                raise ConflictError(f"{there}, {wanted}", f"Nothing was changed. Who moved it: caa alias log {name}")
            if row is not None and row.protected and not override:
                raise UsageError(
                    f"{name} is protected", "To move it all the same: --override. It stays protected, or: --unprotect."
                )
            if row is not None and not replace and ((row.recommendation or {}).get("evidence") or {}).get("verdict"):
                raise UsageError(
                    f"{name} was set by a calibration, with the evidence for it",
                    "To replace it all the same: --replace; or choose another name.",
                )
            if row is None:
                row = t.Alias(kind=kind, owner_id=owner, name=alias, updated_at=datetime.now(UTC))
                session.add(row)
            if isinstance(version, t.DatasetVersion):
                row.dataset_version_id = version.id
            else:
                row.vector_version_id = version.id
            row.recommendation = recommendation.as_json() if recommendation else None
            row.updated_at = datetime.now(UTC)
            if protect is not None:
                row.protected = protect or None
            session.flush()
            subject = {
                "kind": kind,
                "name": parse(reference).name,
                "alias": alias,
                "from": before,
                "to": _target(session, row),
                # The chain of events digests no floats: as text, the multiplier has one form everywhere.
                "recommendation": floats_as_text(row.recommendation),
            }
            if row.protected:
                subject["protected"] = True
            append_event(session, self._workspace.actor, "set-alias", subject)
            return _record(session, row)

    def remove(self, reference: str, *, override: bool = False) -> None:
        """Remove the alias that ``reference`` (``name:alias``) names. The version stays. Raises ``UsageError`` for a
        protected one, unless ``override`` is given."""
        parsed = parse(reference)
        if parsed.alias is None:
            raise UsageError(f"{reference} names no alias", "Write name:alias.")
        with self._workspace.database.write() as session:
            kind = kind_of(session, reference)
            owner = owner_id(session, kind, parsed.name) or 0
            row = find_alias(session, kind, owner, parsed.alias)
            if row is None:
                raise NotFoundError(*no_alias(session, kind, owner, parsed))
            if row.protected and not override:
                raise UsageError(f"{parsed.name}:{parsed.alias} is protected", "To remove it all the same: --override.")
            subject = {"kind": kind, "name": parsed.name, "alias": parsed.alias, "from": _target(session, row)}
            session.delete(row)
            append_event(session, self._workspace.actor, "remove-alias", subject)

    def get(self, reference: str) -> Alias | None:
        """The alias that ``reference`` is written with, or ``None`` where it is written without one."""
        parsed = parse(reference)
        if parsed.alias is None:
            return None
        with self._workspace.database.read() as session:
            # A dataset and a vector of one name may each have an alias of that name.
            kind = kind_of(session, reference)
            row = find_alias(session, kind, owner_id(session, kind, parsed.name) or 0, parsed.alias)
            return _record(session, row) if row else None

    def log(self, reference: str) -> Listing[AliasMove]:
        """Every move of the alias that ``reference`` (``name:alias``) names, or of all aliases of a name, newest first;
        of those that were removed too. Raises ``NotFoundError`` where nothing has the name."""
        parsed = parse(reference)
        if parsed.version is not None or parsed.digest is not None:
            raise UsageError(f"{reference} names a version, not an alias", "Write name:alias, or the name alone.")
        with self._workspace.database.read() as session:
            kind = _kind_of_moved(session, parsed)
            find_owner(session, kind, parsed)
            events = moves(session, kind, parsed.name, parsed.alias)
            for event in events:
                check_event(event)
        return Listing.whole([_move(event) for event in reversed(events)])

    def ls(self, *, tags: Mapping[str, str] | None = None, limit: int | None = None) -> Listing[Alias]:
        """All aliases, by kind, name and alias; the first ``limit`` of them. ``tags``: only those of versions that have
        all of these."""
        name = func.coalesce(t.Dataset.name, t.Vector.name)
        query = _joined().order_by(t.Alias.kind, name, t.Alias.name)
        if tags:
            of = [
                t.Alias.dataset_version_id.in_(select(t.DatasetVersion.id).where(tagged(tags, t.DatasetVersion))),
                t.Alias.vector_version_id.in_(select(t.VectorVersion.id).where(tagged(tags, t.VectorVersion))),
            ]
            query = query.where(or_(*of))
        check_limit(limit)
        with self._workspace.database.read() as session:
            rows = session.execute(query.limit(limit)).all()
            total = len(rows)
            if limit is not None:
                counted = query.order_by(None).with_only_columns(t.Alias.id).subquery()
                total = session.scalar(select(func.count()).select_from(counted)) or 0
        return Listing(tuple(_of_row(*row) for row in rows), total)


def moves(session: Session, kind: Kind, name: str, alias: str | None) -> list[t.Event]:
    """The events about an alias of what is called ``name`` today, or about all its aliases, oldest first."""
    renames = Renames(session)
    named = or_(*(cast(t.Event.subject, Text).contains(each, autoescape=True) for each in renames.all_of(kind, name)))
    query = select(t.Event).where(t.Event.action.in_(_MOVES), named).order_by(t.Event.id)
    return [
        event
        for event in session.scalars(query)
        if (event.subject.get("kind"), event.subject.get("name")) == (kind, renames.then(kind, name, event.id))
        and alias in (None, event.subject.get("alias"))
    ]


def _move(event: t.Event) -> AliasMove:
    subject = event.subject
    advice = subject.get("recommendation")
    return AliasMove(
        event.at,
        event.actor,
        subject["kind"],
        subject["name"],
        subject["alias"],
        subject.get("from") or "",
        subject.get("to") or "",
        Recommendation.from_json(advice) if advice else None,
    )


def _kind_of_moved(session: Session, parsed: Reference) -> Kind:
    """The kind of a name whose aliases are asked for. One that was removed tells nothing about it any more."""
    try:
        return kind_of(session, str(parsed))
    except NotFoundError:
        return kind_of(session, str(dataclasses.replace(parsed, alias=None)))


def _expected(expect: str | None) -> str | None:
    """Where an alias is expected to point. Raises ``UsageError`` for what is no version number."""
    if expect is None or expect == _NONE or VERSION.fullmatch(expect):
        return expect
    raise UsageError(f"{expect!r} is not the number of a version", "Write v3, or none where there is no such alias.")


def _check_layers(session: Session, row: t.VectorVersion, reference: str, recommendation: Recommendation) -> None:
    layers = set(session.scalars(select(t.VectorLayer.layer).where(t.VectorLayer.version_id == row.id)))
    for layer in recommendation.layers:
        if layer not in layers:
            raise UsageError(f"{reference} has no layer {layer}", f"It has {named_layers(sorted(layers))}.")


def _target(session: Session, row: t.Alias) -> str:
    version: t.DatasetVersion | t.VectorVersion
    if row.kind == "dataset":
        version = session.get_one(t.DatasetVersion, row.dataset_version_id)
    else:
        version = session.get_one(t.VectorVersion, row.vector_version_id)
    return f"v{version.number}"


def _joined() -> Select[t.Alias, t.Dataset, t.Vector, t.DatasetVersion, t.VectorVersion]:
    """Aliases with the name that they belong to and the version that they point at, of a dataset or of a vector."""
    alias, datasets, vectors = t.Alias, t.DatasetVersion, t.VectorVersion
    return (
        select(alias, t.Dataset, t.Vector, datasets, vectors)
        .outerjoin(t.Dataset, and_(alias.kind == "dataset", t.Dataset.id == alias.owner_id))
        .outerjoin(t.Vector, and_(alias.kind == "vector", t.Vector.id == alias.owner_id))
        .outerjoin(datasets, datasets.id == alias.dataset_version_id)
        .outerjoin(vectors, vectors.id == alias.vector_version_id)
    )


def _record(session: Session, row: t.Alias) -> Alias:
    return _of_row(*session.execute(_joined().where(t.Alias.id == row.id)).one())


def _of_row(
    row: t.Alias,
    dataset: t.Dataset | None,
    vector: t.Vector | None,
    of_dataset: t.DatasetVersion | None,
    of_vector: t.VectorVersion | None,
) -> Alias:
    owner, version = dataset or vector, of_dataset or of_vector
    if owner is None or version is None:
        raise damaged(f"alias {row.name}", "what it names is missing")
    recommendation = Recommendation.from_json(row.recommendation) if row.recommendation else None
    reference = f"{owner.name}:v{version.number}"
    return Alias(
        row.kind, owner.name, row.name, reference, recommendation, row.updated_at, protected=bool(row.protected)
    )
