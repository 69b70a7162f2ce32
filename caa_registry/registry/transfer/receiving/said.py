"""What another registry says of things, added where it is new here and nothing newer is known."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.events import append_event
from caa_registry.catalog.integrity.row_digests import digest_of_rows
from caa_registry.errors import InputError
from caa_registry.registry.provenance.lineage import names_of
from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.transfer.documents.notices import JudgementDocument, Notice, SignatureDocument
from caa_registry.registry.transfer.receiving.things import Receiver
from caa_registry.registry.transfer.sayings import Sayings

_TABLES: Mapping[str, Any] = {"recall": t.Recall, "deprecation": t.Deprecation, "quarantine": t.Quarantine}


def add_sayings(receiver: Receiver, sayings: Sayings) -> int:
    """Add what is new of ``sayings``, as far as it is about something that is here; how much that was."""
    added = 0
    for notice in sorted(sayings.notices, key=lambda notice: notice.created_at):
        added += notice.about in receiver.there and _add_notice(receiver, notice)
    for signature in sayings.signatures:
        added += signature.about in receiver.there and _add_signature(receiver, signature)
    for judgement in sayings.judgements:
        added += judgement.about in receiver.there and _add_judgement(receiver, judgement)
    return added


def _columns(kind: str, about: Key, id: int) -> dict[str, Any]:
    """The columns of a notice that say what it is about."""
    if kind == "recall":
        return {"pair_digest": about.digest} if about.kind == "pair" else {"version_id": id}
    if about.kind == "evaluation":
        return {"evaluation_id": id}
    return {f"{about.kind}_version_id": id}


def _add_notice(receiver: Receiver, notice: Notice) -> bool:
    session, table = receiver.session, _TABLES[notice.kind]
    about = _columns(notice.kind, notice.about, receiver.id_of(notice.about))
    here = select(table).where(*(getattr(table, column) == value for column, value in about.items()))
    newest = session.scalar(here.order_by(table.id.desc()).limit(1))
    if newest is not None and newest.created_at >= notice.created_at:
        return False  # it is this one, or something was said since
    if newest is None and notice.lifted:
        return False  # nobody here knew of what is taken back
    values = {"lifted": notice.lifted, "why": notice.why, "actor": notice.actor, "created_at": notice.created_at}
    if notice.kind == "deprecation":
        values["successor"] = _successor(session, notice)
    row = table(**about, **values)
    session.add(row)
    session.flush()
    subject = {notice.kind: row.id, "lifted": notice.lifted, "why": notice.why, "from": receiver.origin}
    _tell(receiver, notice.about, subject)
    return True


def _successor(session: Session, notice: Notice) -> str:
    """The successor, where a version of that name is here; by what number it is known there does not count here."""
    name = notice.successor.rpartition(":")[0]
    owner: Any = t.Dataset if notice.about.kind == "dataset" else t.Vector
    known = name and session.scalar(select(owner.id).where(owner.name == name))
    return notice.successor if known else ""


def _add_signature(receiver: Receiver, signature: SignatureDocument) -> bool:
    session = receiver.session
    column = "evaluation_id" if signature.about.kind == "evaluation" else f"{signature.about.kind}_version_id"
    about = {column: receiver.id_of(signature.about)}
    same = select(t.Signature).where(
        getattr(t.Signature, column) == about[column], t.Signature.key == signature.key, t.Signature.alias == ""
    )
    if any(row.envelope == signature.envelope for row in session.scalars(same)):
        return False
    row = t.Signature(
        **about,
        alias="",
        key=signature.key,
        envelope=dict(signature.envelope),
        actor=signature.actor,
        created_at=signature.created_at,
    )
    session.add(row)
    session.flush()
    _tell(receiver, signature.about, {"signature": row.id, "key": signature.key, "from": receiver.origin})
    return True


def _add_judgement(receiver: Receiver, judgement: JudgementDocument) -> bool:
    session, evaluation = receiver.session, receiver.id_of(judgement.about)
    known: list[datetime] = list(
        session.scalars(
            select(t.Judgement.created_at).where(
                t.Judgement.evaluation_id == evaluation, t.Judgement.judge_digest == judgement.judge_digest
            )
        )
    )
    if judgement.created_at in known:
        return False
    if [place for place, _, _ in judgement.ratings] != list(range(len(judgement.ratings))):
        raise InputError(f"the ratings of {judgement.about} are not one an answer", source=receiver.origin)
    row = t.Judgement(
        evaluation_id=evaluation,
        judge=dict(judgement.judge),
        judge_digest=judgement.judge_digest,
        ratings_digest=digest_of_rows("rating", judgement.ratings),
        created_at=judgement.created_at,
    )
    session.add(row)
    session.flush()
    session.add_all(
        t.Rating(judgement_id=row.id, evaluation_id=evaluation, position=place, value=value, reply=reply)
        for place, value, reply in judgement.ratings
    )
    _tell(receiver, judgement.about, {"judgement": row.id, "from": receiver.origin})
    return True


def _tell(receiver: Receiver, about: Key, subject: Mapping[str, Any]) -> None:
    """The event that tells of a saying."""
    if about.kind == "pair":
        named: Mapping[str, Any] = {"what": about.digest}
    elif about.kind == "evaluation":
        named = {"evaluation": receiver.id_of(about)}
    else:
        id = receiver.id_of(about)
        named = {about.kind: names_of(receiver.session, [(about.kind, id)])[about.kind, id].reference}
    append_event(receiver.session, receiver.workspace.actor, "receive", {**named, **subject})
