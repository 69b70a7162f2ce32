"""What a version needs: everything that it was made from, and all that was measured of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.catalog.integrity.damage import damaged
from caa_registry.registry.evaluations.store import load as load_evaluations
from caa_registry.registry.maintenance.signing.statements import evaluation_digest
from caa_registry.registry.provenance.lineage import Thing, made_from, names_of
from caa_registry.registry.transfer.documents.fields import moment_json
from caa_registry.registry.transfer.documents.key import Key, ThingKind


@dataclass(frozen=True)
class Outline:
    """``keys``: of each thing of a version, what it needs before it; ``runs``: the run that made each, ``None`` for a
    model that came with something else; ``root``: the version itself."""

    root: Thing
    keys: Mapping[Thing, Key]
    runs: Mapping[Thing, int | None]

    def things(self, kind: ThingKind) -> list[int]:
        """The ids of its things of a kind."""
        return [id for of, id in self.keys if of == kind]


def outline(session: Session, root: Thing) -> Outline:
    """What ``root``, a dataset or vector version, needs: what it was made from, its models, and of a vector all
    evaluations with what they read. Raises ``IntegrityError`` where a part is lost."""
    roots = [root]
    if root[0] == "vector":
        of_vector = select(t.Evaluation.id).where(
            t.Evaluation.vector_version_id == root[1], t.Evaluation.deleted_at.is_(None)
        )
        roots += [("evaluation", id) for id in session.scalars(of_vector.order_by(t.Evaluation.id))]
    runs = made_from(session, roots)
    models = [("model", id) for id in sorted(_models(session, runs)) if ("model", id) not in runs]
    runs = {**dict.fromkeys(models), **runs}
    return Outline(root, keys_of(session, list(runs), runs), runs)


def _models(session: Session, things: Mapping[Thing, int | None]) -> set[int]:
    """The ids of the models that rows name."""
    found: set[int] = set()
    for kind, table in (("vector", t.VectorVersion), ("evaluation", t.Evaluation)):
        ids = [id for of, id in things if of == kind]
        query = select(table.model_id).where(among(session, table.id, ids), table.model_id.is_not(None))
        found.update(session.scalars(query))
    return found


def keys_of(session: Session, things: Sequence[Thing], runs: Mapping[Thing, int | None]) -> dict[Thing, Key]:
    """How each of ``things`` is called in every registry. ``runs``: that made each. Raises ``IntegrityError``."""
    names = names_of(session, things)
    evaluations = evaluation_keys(
        session, {id: runs.get(("evaluation", id)) for of, id in things if of == "evaluation"}
    )
    keys: dict[Thing, Key] = {}
    for kind, id in things:
        if (kind, id) not in names:
            raise damaged(f"{kind} {id}", "something was made from it, and it is missing")
        name = names[kind, id]
        if kind == "evaluation":
            keys[kind, id] = evaluations[id]
        elif kind in ("dataset", "vector"):
            keys[kind, id] = Key(
                "dataset" if kind == "dataset" else "vector", name.reference.rpartition(":")[0], name.digest
            )
        else:
            keys[kind, id] = Key("model" if kind == "model" else "plan", "", name.digest)
    return keys


def evaluation_keys(session: Session, runs: Mapping[int, int | None]) -> dict[int, Key]:
    """The keys of evaluations by number. ``runs``: that made each."""
    if not runs:
        return {}
    began = _began(session, {run for run in runs.values() if run is not None})
    keys = {}
    for evaluation in load_evaluations(
        session, select(t.Evaluation.id).where(among(session, t.Evaluation.id, list(runs)))
    ):
        run = runs[evaluation.id]
        if run is None or run not in began:
            raise damaged(f"evaluation {evaluation.id}", "nothing says which run made it")
        keys[evaluation.id] = Key(
            "evaluation",
            evaluation_name(evaluation.vector.rpartition(":")[0], began[run]),
            evaluation_digest(session, evaluation),
        )
    return keys


def evaluation_name(vector: str, began: datetime) -> str:
    """The ``name`` of an evaluation's key: of its vector, and when its run began."""
    return f"{vector} {moment_json(began)}"


def _began(session: Session, runs: set[int]) -> dict[int, datetime]:
    query = select(t.Run.id, t.Run.started_at).where(among(session, t.Run.id, list(runs)))
    return {run: began for run, began in session.execute(query)}  # noqa: C416 - of rows dict() has other types


def inputs_of(session: Session, runs: Sequence[int]) -> dict[int, list[tuple[str, str, int, str]]]:
    """By run what it read and made: direction, kind, id and role."""
    io = t.RunIO
    arrows: dict[int, list[tuple[str, str, int, str]]] = defaultdict(list)
    query = select(io.run_id, io.direction, io.kind, io.object_id, io.role).where(among(session, io.run_id, list(runs)))
    for run, direction, kind, id, role in session.execute(
        query.order_by(io.run_id, io.direction, io.kind, io.object_id)
    ):
        arrows[run].append((direction, kind, id, role))
    return arrows
