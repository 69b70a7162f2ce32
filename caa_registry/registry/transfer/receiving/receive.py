"""A parcel, taken in: its bytes, then everything else in one transaction, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.exc import DataError
from sqlalchemy.exc import IntegrityError as IntegrityConstraintError

from caa_registry.catalog import models as t
from caa_registry.catalog.events import append_event
from caa_registry.digests import digest_bytes, floats_as_text
from caa_registry.errors import ConflictError, InputError, IntegrityError
from caa_registry.references import check_alias
from caa_registry.registry.lookup import find_alias
from caa_registry.registry.provenance.lineage import deleted_sources, names_of
from caa_registry.registry.records import Recommendation
from caa_registry.registry.records.lock_text import check_values
from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.transfer.documents.things_json import document_json
from caa_registry.registry.transfer.parcel import AliasDocument, Parcel, Root
from caa_registry.registry.transfer.receiving.check import check_received
from caa_registry.registry.transfer.receiving.present import present
from caa_registry.registry.transfer.receiving.said import add_sayings
from caa_registry.registry.transfer.receiving.things import Receiver
from caa_registry.registry.transfer.sayings import Sayings, sayings_json
from caa_registry.registry.workspace import Workspace


@dataclass(frozen=True)
class Taken:
    """What came of a parcel: by root the reference here and whether it is new; how many things were added, how many
    sayings, and what a person should know."""

    roots: Sequence[tuple[Root, str, bool]]
    added: int
    sayings: int
    notes: Sequence[str]


def missing(workspace: Workspace, keys: Iterable[Key]) -> set[Key]:
    """Which of ``keys`` have to be sent: what is not there, or is marked deleted."""
    wanted = set(keys)
    with workspace.database.read() as session:
        there = present(session, wanted)
    return {key for key in wanted if key not in there or (there[key].deleted and key.kind != "evaluation")}


def receive(workspace: Workspace, parcel: Parcel, blob: Callable[[str], bytes], origin: str) -> Taken:
    """Take in a parcel. ``blob`` gives bytes by digest; ``origin`` is shown and kept as where it comes from.

    Bytes come first, so that a failure leaves bytes that belong to nothing, which ``gc`` removes, and nothing else.
    Raises ``InputError`` for what is not what it says it is, ``UsageError`` for a name that it cannot have here,
    ``ConflictError`` where what it needs was deleted meanwhile.
    """
    for document in parcel.documents:
        check_values(document_json(document), f"{document.key} of {origin}")
    check_values(sayings_json(parcel.sayings), f"what {origin} says")
    for digest in dict.fromkeys(digest for document in parcel.documents for digest in document.blobs):
        data = blob(digest)
        if digest_bytes(data) != digest:
            raise IntegrityError(
                f"{digest} of {origin} is damaged: its bytes do not match its digest", "Send it again."
            )
        workspace.blobs.put(data)
    with _explained(origin), workspace.database.write() as session:
        receiver = Receiver(workspace, session, origin, present(session, _keys(parcel)))
        before = dict(receiver.there)
        for document in parcel.documents:
            receiver.add(document)
        _check_sources(receiver, parcel)
        notes = [f"plan {name} is {here} here: another plan has its name" for name, here in receiver.renamed.items()]
        # The pairs that recalls are about came with their datasets.
        receiver.there |= present(session, {key for key in parcel.sayings.about if key.kind == "pair"})
        sayings = add_sayings(receiver, parcel.sayings)
        roots = []
        for root in parcel.roots:
            thing = root.key.kind, receiver.id_of(root.key)
            reference = names_of(session, [thing])[thing].reference
            roots.append((root, reference, root.key not in before or before[root.key].deleted))
            if root.alias is not None:
                notes += _point(receiver, root, root.alias, reference)
        check_received(receiver)
    return Taken(roots, sum(map(len, receiver.new.values())), sayings, notes)


def _check_sources(receiver: Receiver, parcel: Parcel) -> None:
    """Raise ``ConflictError`` where what was asked for, or what something that was added is made from, was deleted
    after it was looked up what is missing here."""
    session = receiver.session
    asked = {(root.key.kind, receiver.id_of(root.key)): receiver.there[root.key] for root in parcel.roots}
    gone = [thing for thing, found in asked.items() if found.deleted]
    deleted = [name.key for name in names_of(session, gone).values()]
    deleted += deleted_sources(session, [(kind, id) for kind, ids in receiver.new.items() for id in ids])
    if deleted:
        raise ConflictError(
            f"{', '.join(deleted)} was deleted meanwhile", "Nothing was stored. Do the same again, to have it back too."
        )


def take_sayings(workspace: Workspace, sayings: Sayings, origin: str) -> int:
    """Take in what another registry says of things that are here; how much of it was new."""
    keys = sayings.about
    with workspace.database.read() as session:
        if not present(session, keys):
            return 0
    check_values(sayings_json(sayings), f"what {origin} says")
    with _explained(origin), workspace.database.write() as session:
        return add_sayings(Receiver(workspace, session, origin, present(session, keys)), sayings)


@contextmanager
def _explained(origin: str) -> Iterator[None]:
    """Say in plain words that the database forbids what was sent, where nothing before looked for that."""
    try:
        yield
    except (IntegrityConstraintError, DataError, OverflowError) as error:
        raise InputError("it holds what no registry takes", "Have it sent again.", source=origin) from error


def _keys(parcel: Parcel) -> set[Key]:
    keys = {root.key for root in parcel.roots}
    for document in parcel.documents:
        keys |= {document.key, *document.needs}
    keys |= parcel.sayings.about
    return keys | {key for root in parcel.roots if root.alias for key in root.alias.evaluations.values()}


def _point(receiver: Receiver, root: Root, alias: AliasDocument, reference: str) -> list[str]:
    """Set the alias by which ``root`` was asked for, where nobody here has set it. Gives what to say otherwise."""
    check_alias(alias.name)
    session, kind = receiver.session, "dataset" if root.key.kind == "dataset" else "vector"
    name, _, number = reference.rpartition(":")
    version: Any = session.get_one(t.DatasetVersion if kind == "dataset" else t.VectorVersion, receiver.id_of(root.key))
    owner = version.dataset_id if kind == "dataset" else version.vector_id
    known = find_alias(session, "dataset" if kind == "dataset" else "vector", owner, alias.name)
    if known is not None:
        if version.id in (known.dataset_version_id, known.vector_version_id):
            return []
        return [
            f"{name}:{alias.name} points elsewhere there and was left. To move it there: "
            f"caa alias set {reference} {alias.name}"
        ]
    recommendation = _recommendation(receiver, alias)
    row = t.Alias(
        kind=kind,
        owner_id=owner,
        name=alias.name,
        dataset_version_id=version.id if kind == "dataset" else None,
        vector_version_id=version.id if kind == "vector" else None,
        recommendation=recommendation,
        updated_at=datetime.now(UTC),
    )
    session.add(row)
    session.flush()
    subject = {
        "kind": kind,
        "name": name,
        "alias": alias.name,
        "from": None,
        "to": number,
        "recommendation": floats_as_text(recommendation),
    }
    append_event(session, receiver.workspace.actor, "set-alias", subject)
    return []


def _recommendation(receiver: Receiver, alias: AliasDocument) -> dict[str, Any] | None:
    """What the alias recommends, with the numbers that its evaluations have here."""
    if alias.recommendation is None:
        return None
    found = Recommendation.from_json(alias.recommendation)
    if found.evidence is None:
        return found.as_json()
    numbers = {number: receiver.id_of(key) for number, key in alias.evaluations.items()}
    return replace(found, evidence=_renumbered(dict(found.evidence), numbers)).as_json()


def _renumbered(evidence: dict[str, Any], numbers: dict[int, int]) -> dict[str, Any]:
    for name in ("propensity", "side_effects"):
        if name in evidence:
            evidence[name] = numbers[evidence[name]]
    for name in ("extended", "answers"):
        if name in evidence:
            evidence[name] = [numbers[number] for number in evidence[name]]
    return evidence
