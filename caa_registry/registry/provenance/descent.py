"""What runs made of what, as ids: down from some versions, or all around one. Each is one statement."""

from __future__ import annotations

from sqlalchemy import CTE, CompoundSelect, Select, literal, select
from sqlalchemy.orm import Session, aliased

from caa_registry.catalog import models as t


def descending(kind: str, start: Select[str, int] | CompoundSelect[str, int]) -> CTE:
    """Each (label, id) of ``start``, and each label with all of the same kind that runs made of its ids, directly or
    not. The columns are ``label`` and ``id``."""
    begun = start.subquery()
    labels, ids = begun.c
    reached = select(labels.label("label"), ids.label("id")).cte(f"{kind}s", recursive=True)
    source, product = aliased(t.RunIO), aliased(t.RunIO)
    return reached.union(
        select(reached.c.label, product.object_id)
        .join(source, (source.kind == kind) & (source.object_id == reached.c.id) & (source.direction == "input"))
        .join(product, (product.run_id == source.run_id) & (product.direction == "output") & (product.kind == kind))
    )


def ancestors(kind: str, id: int) -> Select[int]:
    """All of the same kind that one was made from, directly or not, and itself."""
    reached = select(literal(id).label("id")).cte(f"{kind}s", recursive=True)
    source, product = aliased(t.RunIO), aliased(t.RunIO)
    reached = reached.union(
        select(source.object_id)
        .select_from(reached)
        .join(product, (product.kind == kind) & (product.object_id == reached.c.id) & (product.direction == "output"))
        .join(source, (source.run_id == product.run_id) & (source.direction == "input") & (source.kind == kind))
    )
    return select(reached.c.id)


def related(session: Session, kind: str, id: int) -> set[int]:
    """All of one kind that are connected with one of it by runs, however far, itself too."""
    connected = select(literal(id).label("id")).cte("connected", recursive=True)
    here, there = aliased(t.RunIO), aliased(t.RunIO)
    connected = connected.union(
        select(there.object_id)
        .select_from(connected)
        .join(here, (here.kind == kind) & (here.object_id == connected.c.id))
        .join(there, (there.run_id == here.run_id) & (there.kind == kind) & (there.direction != here.direction))
    )
    return set(session.scalars(select(connected.c.id)))
