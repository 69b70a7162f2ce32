"""What two registries have that the other lacks."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.references import Kind
from caa_registry.registry.lookup import KINDS
from caa_registry.registry.records import Difference
from caa_registry.registry.workspace import Workspace

# By name the versions of one kind: of each number the digest.
_Versions = dict[str, dict[int, str]]


def differences(here: Workspace, there: Workspace) -> list[Difference]:
    """Every version that only one of the two has under its name, and every one that they number differently."""
    found: list[Difference] = []
    for kind in KINDS:
        with here.database.read() as session:
            ours = _versions(session, kind)
        with there.database.read() as session:
            theirs = _versions(session, kind)
        for name in sorted(ours.keys() | theirs.keys()):
            found += _of_name(kind, name, ours.get(name, {}), theirs.get(name, {}))
    return found


def _versions(session: Session, kind: Kind) -> _Versions:
    if kind == "dataset":
        query = select(t.Dataset.name, t.DatasetVersion.number, t.DatasetVersion.digest).join(
            t.Dataset, t.Dataset.id == t.DatasetVersion.dataset_id
        )
        query = query.where(t.DatasetVersion.deleted_at.is_(None))
    else:
        query = select(t.Vector.name, t.VectorVersion.number, t.VectorVersion.digest).join(
            t.Vector, t.Vector.id == t.VectorVersion.vector_id
        )
        query = query.where(t.VectorVersion.deleted_at.is_(None))
    versions: _Versions = {}
    for name, number, digest in session.execute(query):
        versions.setdefault(name, {})[number] = digest
    return versions


def _of_name(kind: Kind, name: str, ours: dict[int, str], theirs: dict[int, str]) -> Iterator[Difference]:
    numbers = {digest: number for number, digest in theirs.items()}
    for number, digest in sorted(ours.items()):
        there = numbers.get(digest)
        if there == number:
            continue
        reference = "" if there is None else f"{name}:v{there}"
        yield Difference(kind, f"{name}:v{number}", reference, digest, number in theirs)
    here = set(ours.values())
    for number, digest in sorted(theirs.items()):
        if digest not in here:
            yield Difference(kind, "", f"{name}:v{number}", digest, number in ours)
