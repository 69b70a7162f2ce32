"""What two registries have that the other lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.references import Kind
from caa_registry.registry.lookup import KINDS
from caa_registry.registry.records import Difference
from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.workspace import Workspace

# By name of a kind its versions: number and digest.
Versions = Mapping[Kind, Mapping[str, Collection[tuple[int, str]]]]


def differences(ours: Versions, theirs: Versions, along: Collection[Key] = ()) -> list[Difference]:
    """Every version that only one of the two has under its name, and every one that they number differently.
    ``along``: what is there without a number, since others need it."""
    found: list[Difference] = []
    for kind in KINDS:
        for name in sorted(ours[kind].keys() | theirs[kind].keys()):
            found += _of_name(kind, name, set(ours[kind].get(name, ())), set(theirs[kind].get(name, ())), along)
    return found


def versions_in(workspace: Workspace) -> Versions:
    """The versions of a registry that are not deleted."""
    versions: dict[Kind, Mapping[str, Collection[tuple[int, str]]]] = {}
    for kind in KINDS:
        with workspace.database.read() as session:
            versions[kind] = _versions(session, kind)
    return versions


def _versions(session: Session, kind: Kind) -> dict[str, list[tuple[int, str]]]:
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
    versions: dict[str, list[tuple[int, str]]] = {}
    for name, number, digest in session.execute(query):
        versions.setdefault(name, []).append((number, digest))
    return versions


def _of_name(
    kind: Kind, name: str, ours: set[tuple[int, str]], theirs: set[tuple[int, str]], along: Collection[Key]
) -> Iterator[Difference]:
    taken_here, taken_there = {number for number, _ in ours}, {number for number, _ in theirs}
    there = {digest: number for number, digest in sorted(theirs, reverse=True)}
    for number, digest in sorted(ours - theirs):
        if digest not in there and Key(kind, name, digest) in along:
            continue
        reference = f"{name}:v{there[digest]}" if digest in there else ""
        yield Difference(kind, f"{name}:v{number}", reference, digest, number in taken_there)
    here = {digest for _, digest in ours}
    for number, digest in sorted(theirs):
        if digest not in here:
            yield Difference(kind, "", f"{name}:v{number}", digest, number in taken_here)
