"""What runs made of what, as ids: walked down from a version, or all around it."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from caa_registry.catalog import models as t


def made_of(session: Session, kind: str, ids: set[int]) -> set[int]:
    """``ids`` and all of the same kind that runs made of them, directly or not."""
    return _walked(session, kind, ids, ("input", "output"))


def related(session: Session, kind: str, id: int) -> set[int]:
    """All of one kind that are connected with one of it by runs, however far, itself too."""
    found = {id}
    while True:
        down = _walked(session, kind, found, ("input", "output"))
        both = _walked(session, kind, down, ("output", "input"))
        if both == found:
            return found
        found = both


def _walked(session: Session, kind: str, ids: set[int], way: tuple[str, str]) -> set[int]:
    here, there = aliased(t.RunIO), aliased(t.RunIO)
    found, new = set(ids), set(ids)
    while new:
        query = (
            select(there.object_id)
            .join(here, here.run_id == there.run_id)
            .where(
                here.direction == way[0],
                here.kind == kind,
                here.object_id.in_(new),
                there.direction == way[1],
                there.kind == kind,
            )
        )
        new = set(session.scalars(query)) - found
        found |= new
    return found
