"""Bundles from anybody, read whole and compared with what they say, before anything is made of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from caa_registry.blobs.database import DatabaseBlobStore
from caa_registry.catalog.database import Database
from caa_registry.errors import CaaError, InputError
from caa_registry.pairs.source import Fields
from caa_registry.registry.records.lock_text import check_values, parsed
from caa_registry.registry.transfer.bundles.archive import Archive, opened_archive
from caa_registry.registry.transfer.bundles.manifest import Manifest
from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.transfer.documents.notices import JudgementDocument, Notice, SignatureDocument
from caa_registry.registry.transfer.documents.things import Document
from caa_registry.registry.transfer.documents.things_json import document_from_json, document_json
from caa_registry.registry.transfer.parcel import Parcel
from caa_registry.registry.transfer.receiving.receive import receive
from caa_registry.registry.transfer.sayings import Sayings, sayings_json
from caa_registry.registry.workspace import Workspace


@dataclass(frozen=True)
class Bundle:
    """A bundle that is what it says: every member was read and compared, and a registry takes it."""

    manifest: Manifest
    parcel: Parcel
    archive: Archive


@contextmanager
def opened_bundle(path: Path) -> Iterator[Bundle]:
    """The bundle in a file, checked. Raises ``InputError`` for one that is damaged, lies, or holds what no registry
    takes; ``NotFoundError``."""
    with opened_archive(path) as archive:
        manifest = manifest_in(archive, str(path))
        documents = [_document(archive, str(key), digest) for key, digest in manifest.documents]
        if [document.key for document in documents] != [key for key, _ in manifest.documents]:
            raise archive.bad("its documents are not about what its manifest says")
        parcel = Parcel(manifest.roots, documents, sayings_in(archive, manifest))
        _check_whole(archive, manifest, parcel)
        _try(archive, parcel, path)
        yield Bundle(manifest, parcel, archive)


def manifest_in(archive: Archive, what: str) -> Manifest:
    """What a bundle says is in it, compared with its entries and not with what they hold. Raises ``InputError``."""
    manifest = Manifest.from_bytes(archive.manifest(), what)
    if [(member.digest, member.size) for member in manifest.members] != list(archive.members.items()):
        raise archive.bad("its entries are not those that its manifest names")
    return manifest


def _document(archive: Archive, name: str, digest: str) -> Document:
    values = _values(archive, name, digest)
    document = document_from_json(values, name)
    if document_json(document) != values:
        raise InputError("it is not as bundles are written", source=name)
    return document


def _values(archive: Archive, name: str, digest: str) -> Any:
    data = archive.member(digest)
    try:
        values = parsed(data.decode("ascii"), name)
    except UnicodeDecodeError as error:
        raise InputError(f"it is not ASCII (byte {error.start:,})", source=name) from None
    check_values(values, name)
    return values


def sayings_in(archive: Archive, manifest: Manifest) -> Sayings:
    """What a bundle says of things. Raises ``InputError``."""
    values = _values(archive, "what is said", manifest.sayings)
    read = Fields(values, "what is said", "")
    sayings = Sayings(
        read.parts("notices", Notice.from_json),
        read.parts("signatures", SignatureDocument.from_json),
        read.parts("judgements", JudgementDocument.from_json),
    )
    if sayings_json(sayings) != values:
        raise InputError("it is not as bundles are written", source="what is said")
    return sayings


def _check_whole(archive: Archive, manifest: Manifest, parcel: Parcel) -> None:
    """That the bundle holds all that it needs, each thing before it is needed, and nothing else."""
    seen: set[Key] = set()
    for document in parcel.documents:
        lacking = sorted(str(key) for key in document.needs - seen)
        if lacking:
            raise archive.bad(f"{document.key} needs {lacking[0]}, which is not in it")
        if document.key in seen:
            raise archive.bad(f"it holds {document.key} twice")
        seen.add(document.key)
    if not parcel.roots:
        raise archive.bad("it holds no version")
    for root in parcel.roots:
        if root.key not in seen:
            raise archive.bad(f"it does not hold {root.key}")
    held = {digest for document in parcel.documents for digest in document.blobs}
    held |= {manifest.sayings, *(digest for _, digest in manifest.documents)}
    spare = [member.digest for member in manifest.members if member.digest not in held]
    if spare:
        raise archive.bad(f"nothing in it needs its member {spare[0]}")


def _try(archive: Archive, parcel: Parcel, path: Path) -> None:
    """Have an empty registry take it in, which compares everything with everything, before a real one is written."""
    with _trial() as trial:
        try:
            receive(trial, parcel, archive.member, str(path))
        except InputError:
            raise
        except CaaError as error:
            raise InputError(error.message, error.hint, source=str(path)) from error


@contextmanager
def _trial() -> Iterator[Workspace]:
    """An empty registry, which goes afterwards."""
    with tempfile.TemporaryDirectory(prefix="caa-bundle-") as folder:
        path = Path(folder) / "trial.db"
        path.write_bytes(_empty())
        with Database.open(f"sqlite:///{path}", create=False) as database:
            yield Workspace(database, DatabaseBlobStore(database), "trial")


@cache
def _empty() -> bytes:
    """The file of an empty registry: making one takes longer than most bundles do."""
    with tempfile.TemporaryDirectory(prefix="caa-bundle-") as folder:
        path = Path(folder) / "empty.db"
        Database.open(f"sqlite:///{path}", create=True).close()
        return path.read_bytes()
