"""What a registry says of things after they were made, packed: recalls, deprecations, quarantines, signatures and
judgements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.errors import IntegrityError
from caa_registry.registry.evaluations.ratings import judgements
from caa_registry.registry.provenance.lineage import Thing
from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.transfer.documents.notices import JudgementDocument, Notice, NoticeKind, SignatureDocument
from caa_registry.registry.transfer.outline import Outline, keys_of


@dataclass(frozen=True)
class Sayings:
    """In the order in which they were said."""

    notices: tuple[Notice, ...] = ()
    signatures: tuple[SignatureDocument, ...] = ()
    judgements: tuple[JudgementDocument, ...] = field(default=(), repr=False)

    @property
    def about(self) -> set[Key]:
        """What something is said of."""
        return {
            *(notice.about for notice in self.notices),
            *(signature.about for signature in self.signatures),
            *(judgement.about for judgement in self.judgements),
        }


def sayings_json(sayings: Sayings) -> dict[str, Any]:
    """What is said, as a JSON object."""
    return {
        "notices": [notice.to_json() for notice in sayings.notices],
        "signatures": [signature.to_json() for signature in sayings.signatures],
        "judgements": [judgement.to_json() for judgement in sayings.judgements],
    }


def said_of(session: Session, outline: Outline) -> Sayings:
    """All that is said of the things of ``outline``, and of the pairs that its datasets hold."""
    datasets, vectors = outline.things("dataset"), outline.things("vector")
    evaluations = outline.things("evaluation")
    held = select(t.DatasetMember.pair_digest).where(among(session, t.DatasetMember.version_id, datasets))
    return Sayings(
        tuple(
            _notices(
                session,
                outline.keys,
                or_(among(session, t.Recall.version_id, datasets), t.Recall.pair_digest.in_(held)),
                or_(
                    among(session, t.Deprecation.dataset_version_id, datasets),
                    among(session, t.Deprecation.vector_version_id, vectors),
                ),
                or_(
                    among(session, t.Quarantine.vector_version_id, vectors),
                    among(session, t.Quarantine.evaluation_id, evaluations),
                ),
            )
        ),
        tuple(_signatures(session, outline)),
        tuple(_judgements(session, outline)),
    )


def warnings_in(session: Session) -> Sayings:
    """All recalls, deprecations and quarantines of a registry, for those who took things from it."""
    quarantined = set(session.scalars(select(t.Quarantine.evaluation_id)))
    deprecated = set(session.execute(select(t.Deprecation.dataset_version_id, t.Deprecation.vector_version_id)).all())
    things: set[Thing] = {("evaluation", id) for id in quarantined if id is not None}
    things |= {("vector", id) for id in session.scalars(select(t.Quarantine.vector_version_id)) if id is not None}
    things |= {("dataset", id) for id in session.scalars(select(t.Recall.version_id)) if id is not None}
    things |= {("dataset", dataset) for dataset, _ in deprecated if dataset is not None}
    things |= {("vector", vector) for _, vector in deprecated if vector is not None}
    runs = _makers(session, things)
    keys: dict[Thing, Key] = {}
    for thing in sorted(things):
        # What is damaged may be quarantined for that reason: it has no key, and nobody else has it.
        with suppress(IntegrityError):
            keys |= keys_of(session, [thing], runs)
    return Sayings(tuple(_notices(session, keys)))


def _makers(session: Session, things: set[Thing]) -> dict[Thing, int | None]:
    ids = [id for kind, id in things if kind == "evaluation"]
    io = t.RunIO
    query = select(io.object_id, io.run_id).where(
        io.kind == "evaluation", io.direction == "output", among(session, io.object_id, ids)
    )
    return {("evaluation", id): run for id, run in session.execute(query.order_by(io.run_id.desc()))}


def _notices(
    session: Session,
    keys: Mapping[Thing, Key],
    recalls: ColumnElement[bool] | None = None,
    deprecations: ColumnElement[bool] | None = None,
    quarantines: ColumnElement[bool] | None = None,
) -> Iterator[Notice]:
    rows: list[t.Recall | t.Deprecation | t.Quarantine] = []
    for table, condition in ((t.Recall, recalls), (t.Deprecation, deprecations), (t.Quarantine, quarantines)):
        query = select(table).order_by(table.id)
        rows += session.scalars(query if condition is None else query.where(condition))
    for row in rows:
        about = _about(row, keys)
        if about is None:
            continue
        kind: NoticeKind = (
            "recall" if isinstance(row, t.Recall) else "quarantine" if isinstance(row, t.Quarantine) else "deprecation"
        )
        successor = row.successor if isinstance(row, t.Deprecation) else ""
        yield Notice(kind, about, row.lifted, row.why, row.actor, row.created_at, successor)


def _about(row: t.Recall | t.Deprecation | t.Quarantine, keys: Mapping[Thing, Key]) -> Key | None:
    """What a notice is about; ``None`` where that has no key."""
    if isinstance(row, t.Recall):
        return Key("pair", "", row.pair_digest) if row.pair_digest else keys.get(("dataset", row.version_id or 0))
    if row.vector_version_id:
        return keys.get(("vector", row.vector_version_id))
    if isinstance(row, t.Deprecation):
        return keys.get(("dataset", row.dataset_version_id or 0))
    return keys.get(("evaluation", row.evaluation_id or 0))


def _signatures(session: Session, outline: Outline) -> Iterator[SignatureDocument]:
    """Those of versions and evaluations. An alias is moved by each registry for itself."""
    row = t.Signature
    columns = {"dataset": row.dataset_version_id, "vector": row.vector_version_id, "evaluation": row.evaluation_id}
    there = [among(session, column, outline.things(kind)) for kind, column in columns.items()]  # type: ignore[arg-type]
    for found in session.scalars(select(row).where(or_(*there), row.alias == "").order_by(row.id)):
        thing = next(
            (kind, getattr(found, column.key)) for kind, column in columns.items() if getattr(found, column.key)
        )
        yield SignatureDocument(outline.keys[thing], found.key, found.envelope, found.actor, found.created_at)


def _judgements(session: Session, outline: Outline) -> Iterator[JudgementDocument]:
    query = select(t.Judgement.evaluation_id).where(
        among(session, t.Judgement.evaluation_id, outline.things("evaluation"))
    )
    for evaluation in sorted(set(session.scalars(query))):
        rows = {
            row.id: row for row in session.scalars(select(t.Judgement).where(t.Judgement.evaluation_id == evaluation))
        }
        for judged in judgements(session, evaluation):
            yield JudgementDocument(
                outline.keys["evaluation", evaluation],
                judged.judge,
                rows[judged.id].judge_digest,
                [(place, value, judged.replies[place]) for place, value in judged.ratings.items()],
                judged.created_at,
            )
