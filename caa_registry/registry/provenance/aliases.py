"""Aliases: movable names of versions, with what an evaluation recommended. Every move is an event."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.events import append_event
from caa_registry.digests import floats_as_text
from caa_registry.errors import NotFoundError, UsageError
from caa_registry.references import check_alias, parse, ranges
from caa_registry.registry.lookup import find_alias, find_version, kind_of, no_alias
from caa_registry.registry.records import Alias, Recommendation

if TYPE_CHECKING:
    from caa_registry.registry.registry import Registry


class Aliases:
    """The aliases of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def set(self, reference: str, alias: str, recommendation: Recommendation | None = None) -> Alias:
        """Point ``alias`` of a name at the version that ``reference`` names, moving it where it exists.

        ``recommendation`` belongs to vectors: the layers, multiplier and positions to apply it with.
        """
        check_alias(alias)
        with self._registry.database.write() as session:
            # Only vectors take layers, so with a layer a name that is also a dataset's is the vector's.
            kind = kind_of(session, reference, prefer="vector" if recommendation is not None else None)
            version = find_version(session, reference, kind)
            owner_id = version.dataset_id if isinstance(version, t.DatasetVersion) else version.vector_id
            if recommendation is not None:
                if not isinstance(version, t.VectorVersion):
                    raise UsageError(
                        f"{reference} is a dataset; layers and multipliers are recommended for vectors",
                        "Name a vector (caa vector ls), or leave --layer and --multiplier out.",
                    )
                self._check_layers(session, version, reference, recommendation)
            row = find_alias(session, kind, owner_id, alias)
            before = _target(session, row) if row else None
            if row is None:
                row = t.Alias(kind=kind, owner_id=owner_id, name=alias, updated_at=datetime.now(UTC))
                session.add(row)
            if isinstance(version, t.DatasetVersion):
                row.dataset_version_id = version.id
            else:
                row.vector_version_id = version.id
            row.recommendation = recommendation.as_json() if recommendation else None
            row.updated_at = datetime.now(UTC)
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
            append_event(session, self._registry.actor, "set-alias", subject)
            return _record(session, row)

    def remove(self, reference: str) -> None:
        """Remove the alias that ``reference`` (``name:alias``) names. The version stays."""
        wanted = parse(reference)
        if wanted.alias is None:
            raise UsageError(f"{reference} names no alias", "Write name:alias.")
        with self._registry.database.write() as session:
            kind = kind_of(session, reference)
            table: type[t.Dataset | t.Vector] = t.Dataset if kind == "dataset" else t.Vector
            owner_id = session.scalar(select(table.id).where(table.name == wanted.name))
            row = find_alias(session, kind, owner_id or 0, wanted.alias)
            if row is None:
                raise NotFoundError(*no_alias(session, kind, owner_id or 0, wanted))
            subject = {"kind": kind, "name": wanted.name, "alias": wanted.alias, "from": _target(session, row)}
            session.delete(row)
            append_event(session, self._registry.actor, "remove-alias", subject)

    def get(self, reference: str) -> Alias | None:
        """The alias that ``reference`` is written with, or ``None`` where it is written without one."""
        wanted = parse(reference)
        if wanted.alias is None:
            return None
        with self._registry.database.read() as session:
            # A dataset and a vector of one name may each have an alias of that name.
            kind = kind_of(session, reference)
            table: type[t.Dataset | t.Vector] = t.Dataset if kind == "dataset" else t.Vector
            owner_id = session.scalar(select(table.id).where(table.name == wanted.name))
            row = find_alias(session, kind, owner_id or 0, wanted.alias)
            return _record(session, row) if row else None

    def ls(self) -> list[Alias]:
        """All aliases, by kind, name and alias."""
        with self._registry.database.read() as session:
            found = [_record(session, row) for row in session.scalars(select(t.Alias))]
        return sorted(found, key=lambda alias: (alias.kind, alias.name, alias.alias))

    @staticmethod
    def _check_layers(session: Session, row: t.VectorVersion, reference: str, wanted: Recommendation) -> None:
        have = set(session.scalars(select(t.VectorLayer.layer).where(t.VectorLayer.version_id == row.id)))
        for layer in wanted.layers:
            if layer not in have:
                raise UsageError(f"{reference} has no layer {layer}", f"Its layers are {ranges(sorted(have))}.")


def _target(session: Session, row: t.Alias) -> str:
    version: t.DatasetVersion | t.VectorVersion
    if row.kind == "dataset":
        version = session.get_one(t.DatasetVersion, row.dataset_version_id)
    else:
        version = session.get_one(t.VectorVersion, row.vector_version_id)
    return f"v{version.number}"


def _record(session: Session, row: t.Alias) -> Alias:
    owner: t.Dataset | t.Vector
    if row.kind == "dataset":
        owner = session.get_one(t.Dataset, row.owner_id)
    else:
        owner = session.get_one(t.Vector, row.owner_id)
    recommendation = Recommendation.from_json(row.recommendation) if row.recommendation else None
    return Alias(
        row.kind, owner.name, row.name, f"{owner.name}:{_target(session, row)}", recommendation, row.updated_at
    )
