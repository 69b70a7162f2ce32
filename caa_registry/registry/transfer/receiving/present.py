"""Which things of a parcel a registry has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.transfer.outline import evaluation_keys, evaluation_name


class Present(NamedTuple):
    """The id of a thing that is there, and whether it is marked deleted."""

    id: int
    deleted: bool


def present(session: Session, keys: Iterable[Key]) -> dict[Key, Present]:
    """What of ``keys`` is there, in a fixed number of statements."""
    wanted: dict[str, set[Key]] = {}
    for key in keys:
        wanted.setdefault(key.kind, set()).add(key)
    found: dict[Key, Present] = {}
    for kind, owner, version, column in (
        ("dataset", t.Dataset, t.DatasetVersion, t.DatasetVersion.dataset_id),
        ("vector", t.Vector, t.VectorVersion, t.VectorVersion.vector_id),
    ):
        digests = {key.digest for key in wanted.get(kind, ())}
        if digests:
            query = select(owner.name, version.digest, version.id, version.deleted_at).join(owner, owner.id == column)
            for name, digest, id, deleted in session.execute(query.where(among(session, version.digest, digests))):
                key = Key("dataset" if kind == "dataset" else "vector", name, digest)
                if key in wanted[kind]:
                    found[key] = Present(id, deleted is not None)
    models = {key.digest for key in wanted.get("model", ())}
    query_models = select(t.Model.fingerprint, t.Model.id).where(among(session, t.Model.fingerprint, models))
    found |= {Key("model", "", digest): Present(id, False) for digest, id in session.execute(query_models)}
    plans = {key.digest for key in wanted.get("plan", ())}
    query_plans = select(t.Plan.digest, t.Plan.id).where(among(session, t.Plan.digest, plans))
    found |= {Key("plan", "", digest): Present(id, False) for digest, id in session.execute(query_plans)}
    pairs = {key.digest for key in wanted.get("pair", ())}
    there = select(t.Pair.digest).where(among(session, t.Pair.digest, pairs))
    found |= {Key("pair", "", digest): Present(0, False) for digest in session.scalars(there)}
    return found | _evaluations(session, wanted.get("evaluation", set()))


def _evaluations(session: Session, wanted: set[Key]) -> dict[Key, Present]:
    """Told apart by their vector and when they began; what was measured then is compared."""
    if not wanted:
        return {}
    names = {key.name.rpartition(" ")[0] for key in wanted}
    io = t.RunIO
    query = (
        select(t.Evaluation.id, t.Evaluation.deleted_at, t.Vector.name, t.Run.id, t.Run.started_at)
        .join(t.VectorVersion, t.VectorVersion.id == t.Evaluation.vector_version_id)
        .join(t.Vector, t.Vector.id == t.VectorVersion.vector_id)
        .join(io, (io.kind == "evaluation") & (io.object_id == t.Evaluation.id) & (io.direction == "output"))
        .join(t.Run, t.Run.id == io.run_id)
        .where(among(session, t.Vector.name, names))
        .order_by(t.Run.id.desc())
    )
    asked: dict[str, list[Key]] = {}
    for key in wanted:
        asked.setdefault(key.name, []).append(key)
    runs: dict[int, int | None] = {}
    found: dict[Key, Present] = {}
    for id, deleted, vector, run, began in session.execute(query):
        for key in asked.get(evaluation_name(vector, began), ()):
            if deleted is None:
                runs[id] = run
            else:
                found[key] = Present(id, True)  # its figures may be gone
    keys = evaluation_keys(session, runs)
    return found | {key: Present(id, False) for id, key in keys.items() if key in wanted}
