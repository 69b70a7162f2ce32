"""Bundles of what is in a registry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from caa_registry import disk
from caa_registry.digests import digest_bytes
from caa_registry.errors import UsageError
from caa_registry.progress import Progress
from caa_registry.registry.maintenance.signing.envelope import sealed
from caa_registry.registry.maintenance.signing.keys import read_private
from caa_registry.registry.records.lock_text import LARGEST, canonical
from caa_registry.registry.transfer.bundles.archive import MANIFEST, SIGNATURE, member_name, write_archive
from caa_registry.registry.transfer.bundles.manifest import Manifest, Member
from caa_registry.registry.transfer.bundles.statement import statement_of
from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.transfer.documents.things import Document
from caa_registry.registry.transfer.documents.things_json import document_json
from caa_registry.registry.transfer.parcel import Parcel
from caa_registry.registry.transfer.sayings import Sayings, sayings_json
from caa_registry.registry.transfer.sending import in_order, parcel_of
from caa_registry.registry.workspace import Workspace


def create(
    workspace: Workspace,
    references: Sequence[str],
    path: Path,
    *,
    key: Path | None,
    passphrase: str | None,
    force: bool,
    progress: Progress,
) -> Manifest:
    """Write a bundle. See ``Registry.bundle``."""
    if not references:
        raise UsageError("nothing was named that is to be in the bundle", "Name versions: team/sycophancy:v1")
    disk.check_new(path, force=force)
    private = None if key is None else read_private(key, passphrase)
    ordered = in_order(workspace, references)
    with workspace.database.read() as session:
        parcel = joined([parcel_of(session, reference, lambda keys: keys) for reference in ordered])
        texts = {document.key: _bytes(document_json(document), str(document.key)) for document in parcel.documents}
        said = _bytes(sayings_json(parcel.sayings), "what is said of it")
        blobs = dict.fromkeys(digest for document in parcel.documents for digest in document.blobs)
        members = {digest_bytes(data): len(data) for data in (*texts.values(), said)}
        members |= {digest: workspace.blobs.stat(digest).size for digest in blobs}
        manifest = Manifest(
            parcel.roots,
            [(key, digest_bytes(data)) for key, data in texts.items()],
            digest_bytes(said),
            [Member(digest, size) for digest, size in members.items()],
        )

        def entries() -> Iterator[tuple[str, bytes]]:
            yield MANIFEST, manifest.to_bytes()
            held = {digest_bytes(data): data for data in (*texts.values(), said)}
            for done, digest in enumerate(members, start=1):
                yield member_name(digest), held[digest] if digest in held else workspace.blobs.get(digest, session)
                progress(done, len(members))
            if private is not None:
                yield SIGNATURE, canonical(sealed(statement_of(manifest), private)).encode("ascii")

        with disk.new(path, force=force) as part:
            write_archive(part, entries())
    return manifest


def joined(parcels: Sequence[Parcel]) -> Parcel:
    """Several parcels as one: everything in it once."""
    documents: dict[Key, Document] = {}
    for parcel in parcels:
        for document in parcel.documents:
            documents.setdefault(document.key, document)
    notices = dict.fromkeys(notice for parcel in parcels for notice in parcel.sayings.notices)
    signatures = {
        (signature.about, signature.key, canonical(dict(signature.envelope))): signature
        for parcel in parcels
        for signature in parcel.sayings.signatures
    }
    judgements = {
        (judgement.about, judgement.judge_digest, judgement.created_at): judgement
        for parcel in parcels
        for judgement in parcel.sayings.judgements
    }
    sayings = Sayings(tuple(notices), tuple(signatures.values()), tuple(judgements.values()))
    return Parcel(tuple(root for parcel in parcels for root in parcel.roots), tuple(documents.values()), sayings)


def _bytes(values: object, what: str) -> bytes:
    try:
        text = canonical(values)
    except ValueError as error:
        raise UsageError(f"{what} cannot be in a bundle: it holds a number that is not finite") from error
    if len(text) > LARGEST:
        raise UsageError(f"{what} cannot be in a bundle: it is larger than {LARGEST // 2**20} MiB")
    return text.encode("ascii")
