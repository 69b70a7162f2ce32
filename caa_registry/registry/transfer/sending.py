"""From one registry to another: what is asked for, with what it needs and the other one lacks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.errors import UsageError
from caa_registry.references import parse
from caa_registry.registry.lookup import find_alias, find_version, kind_of
from caa_registry.registry.provenance.named import EVALUATION
from caa_registry.registry.records import Recommendation
from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.transfer.outline import Outline, outline
from caa_registry.registry.transfer.packing import packed
from caa_registry.registry.transfer.parcel import AliasDocument, Parcel, Root
from caa_registry.registry.transfer.receiving.receive import Taken, missing, receive
from caa_registry.registry.transfer.sayings import said_of
from caa_registry.registry.workspace import Workspace


def send(source: Workspace, destination: Workspace, reference: str, origin: str) -> Taken:
    """Send what ``reference`` names, and what it needs, as far as ``destination`` lacks it: all of it or nothing.

    ``origin``: how ``destination`` is to remember where it comes from.
    """
    with source.database.read() as session:
        parcel = parcel_of(session, reference, lambda keys: missing(destination, keys))
    return receive(destination, parcel, source.blobs.get, origin)


def parcel_of(session: Session, reference: str, lacking: Callable[[Collection[Key]], Collection[Key]]) -> Parcel:
    """The version that ``reference`` names, with what of all that it needs is ``lacking`` where it goes. Raises what
    looking it up raises, ``IntegrityError`` for what is not what was stored."""
    kind = kind_of(session, reference, prefer="vector")  # its pairs go along
    row = find_version(session, reference, kind)
    whole = outline(session, (kind, row.id))
    root = Root(whole.keys[kind, row.id], row.number, _alias(session, reference, whole))
    return Parcel((root,), packed(session, whole, lacking(set(whole.keys.values()))), said_of(session, whole))


def _alias(session: Session, reference: str, whole: Outline) -> AliasDocument | None:
    """The alias that ``reference`` is written with."""
    name = parse(reference).alias
    if name is None:
        return None
    kind, id = whole.root
    if kind == "dataset":
        row = find_alias(session, "dataset", session.get_one(t.DatasetVersion, id).dataset_id, name)
    else:
        row = find_alias(session, "vector", session.get_one(t.VectorVersion, id).vector_id, name)
    if row is None or row.recommendation is None:
        return AliasDocument(name, None, {})
    numbers = Recommendation.from_json(row.recommendation).evaluations
    return AliasDocument(name, row.recommendation, {number: whole.keys["evaluation", number] for number in numbers})


def in_order(source: Workspace, references: Sequence[str]) -> list[str]:
    """``references``, each once, as they were made: what others need goes first, and older versions before newer ones,
    so that they get their numbers where these are free. All are looked up before anything is sent."""
    places: dict[str, tuple[str, int]] = {}
    with source.database.read() as session:
        for reference in references:
            check_version(reference)
            kind = kind_of(session, reference, prefer="vector")  # its pairs go along
            places[reference] = kind, find_version(session, reference, kind).id
    return sorted(places, key=lambda reference: places[reference])


def check_version(reference: str) -> None:
    """Raise ``UsageError`` for what goes along with a version and never by itself."""
    if EVALUATION.fullmatch(reference):
        raise UsageError(f"{reference} cannot be sent by itself", "It goes along with its vector: name that.")
