"""Where a version, an evaluation or an alias comes from, as an in-toto statement (Attestation Framework v1) that can be
signed and that other tools read.

The subject is the version, by its digest. Of a version and an evaluation the predicate is SLSA provenance v1: the run
that made it, what that read, and with which parameters, packages and machine. It holds nothing that may change later,
so the statement of what is stored can be made again and compared with a signed one. Floats are texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.events import check_event
from caa_registry.catalog.integrity.damage import damaged
from caa_registry.digests import digest_object, floats_as_text
from caa_registry.errors import NotFoundError
from caa_registry.references import Kind
from caa_registry.registry.evaluations.store import load as load_evaluations
from caa_registry.registry.lookup import KINDS
from caa_registry.registry.provenance.aliases import moves
from caa_registry.registry.provenance.lineage import Thing, maker, names_of
from caa_registry.registry.provenance.named import Named
from caa_registry.registry.provenance.runs import check_arrows, machine
from caa_registry.registry.records import Evaluation, RunRecord
from caa_registry.registry.renames import Renames

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
MOVE = "urn:caa-registry:alias:v1"


def statement_of(session: Session, named: Named, alias: str = "", *, at: int | None = None) -> dict[str, Any]:
    """The statement about what is ``named``: where it comes from, or with an ``alias``, that this points there.

    ``at``: the number of an event; names are those that things had then, by default those of now. Raises
    ``NotFoundError`` where no run made it, ``IntegrityError`` for what is not what was stored.
    """
    names = _Names(Renames(session), at)
    return _of_move(session, named, alias, names) if alias else _of_making(session, named, names)


@dataclass(frozen=True)
class _Names:
    """What things were called when the event ``at`` was written."""

    renames: Renames
    at: int | None

    def of(self, kind: str, name: str) -> str:
        return name if self.at is None or kind not in KINDS else self.renames.then(kind, name, self.at)

    def reference(self, kind: str, reference: str) -> str:
        name, _, number = reference.rpartition(":")
        return f"{self.of(kind, name)}:{number}" if kind in KINDS else reference


def _of_making(session: Session, named: Named, names: _Names) -> dict[str, Any]:
    run = maker(session, named.thing)
    if run is None:
        raise NotFoundError(f"no run made {named.reference}, so that nothing is known about it")
    inputs = _inputs(session, run)
    descriptors = _descriptors(session, [*inputs, named.thing], names)
    return {
        "_type": STATEMENT,
        "subject": [descriptors[named.thing]],
        "predicateType": PROVENANCE,
        "predicate": {
            "buildDefinition": {
                "buildType": f"urn:caa-registry:{run.kind}:v1",
                "externalParameters": floats_as_text(dict(run.parameters)),
                "internalParameters": {
                    "environment": floats_as_text(machine(run.environment)),
                    "git": run.environment.get("git"),
                },
                "resolvedDependencies": [descriptors[thing] for thing in inputs],
            },
            "runDetails": {
                "builder": {"id": "urn:caa-registry", "version": _releases(run)},
                "metadata": {
                    "invocationId": f"run {run.id} by {run.actor}",
                    "startedOn": _moment(run.started_at),
                    "finishedOn": _moment(run.finished_at),
                },
                "byproducts": _bytes(named),
            },
        },
    }


def _of_move(session: Session, named: Named, alias: str, names: _Names) -> dict[str, Any]:
    """That an alias points at ``named`` since its latest move, with what it recommends."""
    kind, id = named.thing
    column = t.Alias.dataset_version_id if kind == "dataset" else t.Alias.vector_version_id
    row = session.scalar(select(t.Alias).where(t.Alias.kind == kind, t.Alias.name == alias, column == id))
    owner = named.name.rpartition(":")[0]
    if row is None:
        raise NotFoundError(f"{owner}:{alias} does not point at {named.reference}")
    number, event = _moves(session, "dataset" if kind == "dataset" else "vector", owner, alias)
    subject = event.subject if event is not None else {}
    recommendation = floats_as_text(row.recommendation)
    if event is None or (subject.get("to"), subject.get("recommendation")) != (
        named.name.rpartition(":")[2],
        recommendation,
    ):
        raise damaged(f"alias {owner}:{alias}", "it is not as the last event about it says")
    return {
        "_type": STATEMENT,
        "subject": [_descriptors(session, [named.thing], names)[named.thing]],
        "predicateType": MOVE,
        "predicate": {
            "alias": f"{kind}:{names.of(kind, owner)}:{alias}",
            "move": number,
            "event": event.digest,
            "recommendation": recommendation,
        },
    }


def _moves(session: Session, kind: Kind, name: str, alias: str) -> tuple[int, t.Event | None]:
    """How often an alias was set, and the last event about it."""
    events = moves(session, kind, name, alias)
    for event in events:
        check_event(event)
    number = sum(event.action == "set-alias" for event in events)
    return number, events[-1] if events and events[-1].action == "set-alias" else None


def _inputs(session: Session, run: RunRecord) -> list[Thing]:
    io = t.RunIO
    rows = session.execute(
        select(io.direction, io.kind, io.object_id, io.role).where(io.run_id == run.id).order_by(io.kind, io.object_id)
    ).all()
    check_arrows(session.get_one(t.Run, run.id), [(side, kind, id, role) for side, kind, id, role in rows])
    return [(kind, id) for side, kind, id, _ in rows if side == "input"]


def _descriptors(session: Session, things: list[Thing], called: _Names) -> dict[Thing, dict[str, Any]]:
    """Each of ``things`` as in-toto describes resources: by name and digest."""
    names = names_of(session, things)
    ids = [id for kind, id in things if kind == "evaluation"]
    there = select(t.Evaluation.id).where(t.Evaluation.id.in_(ids))
    evaluations = {evaluation.id: evaluation for evaluation in load_evaluations(session, there)}
    described = {}
    for kind, id in things:
        if (kind, id) not in names:
            raise damaged(f"{kind} {id}", "a run has it, and it is missing")
        name = names[kind, id]
        digest = evaluation_digest(session, evaluations[id]) if kind == "evaluation" else name.digest
        full = f"evaluation:{id}" if kind == "evaluation" else f"{kind}:{called.reference(kind, name.reference)}"
        described[kind, id] = {"name": full, "digest": {"sha256": digest.removeprefix("sha256:")}}
    return described


def evaluation_digest(session: Session, evaluation: Evaluation) -> str:
    """The digest of an evaluation: of what was measured on what and how, its scores, items and answers; not of what was
    said of the answers later, nor of its number."""
    row = session.get_one(t.Evaluation, evaluation.id)
    vector = session.get_one(t.VectorVersion, row.vector_version_id)
    dataset = session.get_one(t.DatasetVersion, row.dataset_version_id) if row.dataset_version_id else None
    return digest_object(
        "evaluation",
        {
            "kind": evaluation.kind,
            "vector": vector.digest,
            "dataset": dataset.digest if dataset else None,
            "split": evaluation.split,
            "model": evaluation.model.fingerprint.digest,
            "metric": evaluation.metric,
            "positions": evaluation.positions,
            "template": evaluation.template,
            "settings": floats_as_text(row.parameters),
            "scores": [
                floats_as_text([s.condition, s.layer, s.multiplier, s.metric, s.value, s.ci_low, s.ci_high, s.n])
                for s in evaluation.scores
            ],
            "measurements": evaluation.measurements,
            "responses": row.responses_digest,
        },
    )


def _bytes(named: Named) -> list[dict[str, Any]]:
    digests: Mapping[str, str | None] = {}
    if named.thing[0] == "vector":
        digests = {"safetensors file": named.row.blob_digest, "tensors": named.row.tensor_digest}
    elif named.thing[0] == "evaluation":
        digests = {"measurements": named.row.measurements}
    return [
        {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}
        for name, digest in digests.items()
        if digest is not None
    ]


def _releases(run: RunRecord) -> dict[str, str]:
    packages = run.environment.get("packages")
    return {str(name): str(release) for name, release in packages.items()} if isinstance(packages, dict) else {}


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="microseconds")
