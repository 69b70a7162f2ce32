"""Signing what is stored, and checking signatures against it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry import settings
from caa_registry.blobs.store import from_store
from caa_registry.catalog import models as t
from caa_registry.catalog.events import append_event
from caa_registry.errors import IntegrityError, UsageError
from caa_registry.references import parse
from caa_registry.registry.datasets.store import load_items
from caa_registry.registry.evaluations.store import check_answers
from caa_registry.registry.maintenance.signing.envelope import opened, sealed
from caa_registry.registry.maintenance.signing.keys import PublicKey, read_private
from caa_registry.registry.maintenance.signing.statements import PROVENANCE, statement_of
from caa_registry.registry.maintenance.signing.trust import Trust, read_trust
from caa_registry.registry.provenance.named import EVALUATION, Named, find
from caa_registry.registry.records import SignatureCheck, Signed
from caa_registry.registry.renames import RENAME
from caa_registry.registry.rows import dataset_records, vector_records
from caa_registry.registry.vectors.tensors import checked_file
from caa_registry.registry.workspace import Workspace

_RUN = re.compile(r"^run \d+ ")


@dataclass(frozen=True)
class _Target:
    """What is signed: a version or an evaluation, or with ``alias`` that this points there."""

    named: Named
    alias: str

    @property
    def reference(self) -> str:
        if not self.alias:
            return self.named.reference
        return f"{self.named.reference.rpartition(':')[0]}:{self.alias}"


def statement(workspace: Workspace, reference: str) -> dict[str, Any]:
    """What signing ``reference`` would sign. See ``Registry.statement``."""
    with workspace.database.read() as session:
        target = _target(session, reference)
        return statement_of(session, target.named, target.alias)


def sign(workspace: Workspace, reference: str, key: Path, passphrase: str | None) -> SignatureCheck:
    """Sign what ``reference`` names and store the signature. See ``Registry.sign``."""
    private = read_private(key, passphrase)
    with workspace.database.read() as session:
        target = _target(session, reference)
        _check_contents(workspace, session, target.named)
        signed = statement_of(session, target.named, target.alias)
        known = [row for row in _signatures(session, target) if row.key == private.public.id]
    envelope = sealed(signed, private)
    for row in known:
        # Ed25519 signs the same statement in the same way.
        if row.envelope == envelope:
            raise UsageError(f"{target.reference} is signed with this key already", "caa verify shows its signatures.")
    with workspace.database.write() as session:
        now = _target(session, reference)
        if (now.named.thing, statement_of(session, now.named, now.alias)) != (target.named.thing, signed):
            raise UsageError(f"{reference} was changed meanwhile", "Look at it, and sign again.")
        kind, id = target.named.thing
        made = t.Signature(
            dataset_version_id=id if kind == "dataset" else None,
            vector_version_id=id if kind == "vector" else None,
            evaluation_id=id if kind == "evaluation" else None,
            alias=target.alias,
            key=private.public.id,
            envelope=envelope,
            actor=workspace.actor,
            created_at=datetime.now(UTC),
        )
        session.add(made)
        session.flush()
        subject = {**target.named.subject, "signature": made.id, "key": private.public.id}
        append_event(session, workspace.actor, "sign", {**subject, "alias": target.alias} if target.alias else subject)
        return SignatureCheck(made.key, "", made.actor, made.created_at, "", envelope=envelope)


def verify(workspace: Workspace, reference: str, require: Sequence[str], keys: Path | None) -> Signed:
    """Check the signatures of what ``reference`` names. See ``Registry.verify``."""
    trust = read_trust(keys or settings.keys(), required=keys is not None)
    required = {text: trust.key(text) for text in require}
    by_id = {id: key for id, (_, key) in trust.trusted.items()} | {key.id: key for key in required.values()}
    with workspace.database.read() as session:
        target = _target(session, reference)
        _check_contents(workspace, session, target.named)
        now = statement_of(session, target.named, target.alias)
        # What was renamed since was signed under the name that it had.
        signed_at = _signing_events(session)
        checks = [
            _checked(row, statement_of(session, target.named, target.alias, at=signed_at.get(row.id)), by_id, trust)
            for row in _signatures(session, target)
        ]
    good = {check.key for check in checks if not check.problem}
    return Signed(
        target.reference,
        f"sha256:{now['subject'][0]['digest']['sha256']}",
        checks,
        tuple(text for text, key in required.items() if key.id not in good),
        now["predicate"]["move"] if target.alias else None,
    )


def _target(session: Session, reference: str) -> _Target:
    named = find(session, reference)
    alias = "" if EVALUATION.fullmatch(reference) else parse(reference).alias or ""
    return _Target(named, alias)


def _check_contents(workspace: Workspace, session: Session, named: Named) -> None:
    """Raise ``IntegrityError`` unless what the version holds is what its digest covers."""
    kind, id = named.thing
    if kind == "vector":
        (version,) = vector_records(session, select(t.VectorVersion.id).where(t.VectorVersion.id == id))
        checked_file(workspace.blobs, version, session, cached=False)
    elif kind == "dataset":
        (dataset,) = dataset_records(session, select(t.DatasetVersion.id).where(t.DatasetVersion.id == id))
        load_items(session, dataset)
    else:
        # Its scores are compared where its digest is made of them.
        check_answers(session, named.row)
        if named.row.measurements is not None:
            from_store(workspace.blobs, named.row.measurements, session)


def _signing_events(session: Session) -> dict[int, int]:
    """By signature the number of the event that tells of it; only where names have changed."""
    if session.scalar(select(t.Event.id).where(t.Event.action == RENAME).limit(1)) is None:
        return {}
    events = session.execute(select(t.Event.id, t.Event.subject).where(t.Event.action == "sign"))
    return {subject["signature"]: id for id, subject in events}


def _signatures(session: Session, target: _Target) -> list[t.Signature]:
    """The signatures of a version or an evaluation, oldest first; of an alias those of all its moves."""
    kind, id = target.named.thing
    column = getattr(t.Signature, "evaluation_id" if kind == "evaluation" else f"{kind}_version_id")
    query = select(t.Signature).where(t.Signature.alias == target.alias).order_by(t.Signature.id)
    if not target.alias:
        return list(session.scalars(query.where(column == id)))
    table: Any = t.DatasetVersion if kind == "dataset" else t.VectorVersion
    owner = table.dataset_id if kind == "dataset" else table.vector_id
    versions = select(table.id).where(owner == getattr(target.named.row, owner.key))
    return list(session.scalars(query.where(column.in_(versions))))


def _checked(row: t.Signature, now: Mapping[str, Any], keys: Mapping[str, PublicKey], trust: Trust) -> SignatureCheck:
    problem, broken = "", False
    if row.key in trust.revoked:
        problem = f"its key was revoked: {trust.revoked[row.key]}"
    elif row.key not in keys:
        problem = "its key is not trusted"
    else:
        try:
            problem = _difference(opened(row.envelope, keys[row.key]), now)
        except IntegrityError as error:
            problem, broken = error.message, True
        # Of an alias that was moved since, earlier signatures are what they were.
        broken = broken or (bool(problem) and not problem.startswith("it is of move"))
    return SignatureCheck(row.key, trust.name(row.key), row.actor, row.created_at, problem, broken, row.envelope)


def _difference(signed: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What is otherwise in what was signed; empty where nothing is.

    Another registry may have another name or number for what was signed and for what it was made from, and other
    numbers of runs. Digests say what they are, so only those of an alias have to be the same.
    """
    subjects = signed.get("subject")
    name = (
        subjects[0].get("name") if isinstance(subjects, list) and subjects and isinstance(subjects[0], dict) else None
    )
    signed, now = _anywhere(signed), _anywhere(now)
    if signed == now:
        return ""
    was, move = (
        (each.get("predicate") or {}).get("move") if isinstance(each.get("predicate"), Mapping) else None
        for each in (signed, now)
    )
    if isinstance(was, int) and isinstance(move, int) and was < move:
        return f"it is of move {was}, and the alias has moved since (move {move})"
    if signed.get("subject") != now["subject"]:
        return f"it is about something else: {name}"
    return f"it says something else than is stored, at {next(_places(signed, now), 'its end')}"


def _anywhere(statement: Mapping[str, Any]) -> Mapping[str, Any]:
    """A statement about a version or an evaluation without what only its registry says."""
    if statement.get("predicateType") != PROVENANCE:
        return statement
    plain = json.loads(json.dumps(statement))
    with suppress(KeyError, TypeError, AttributeError):  # of a statement that is none, all has to be the same
        inputs = plain["predicate"]["buildDefinition"]["resolvedDependencies"]
        for each in (*plain["subject"], *inputs):
            each["name"] = str(each["name"]).partition(":")[0]
        inputs.sort(key=lambda each: (each["name"], str(each["digest"])))
        metadata = plain["predicate"]["runDetails"]["metadata"]
        metadata["invocationId"] = _RUN.sub("", metadata["invocationId"])
    return dict(plain)


def _places(signed: Any, now: Any, place: str = "") -> Iterator[str]:
    """Where the two differ, as paths."""
    if isinstance(signed, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*signed, *now]):
            yield from _places(signed.get(key), now.get(key), f"{place}.{key}" if place else str(key))
    elif signed != now:
        yield place
