"""Bundles of what is in a registry."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from caa_registry import disk
from caa_registry.digests import digest_bytes
from caa_registry.errors import UsageError
from caa_registry.progress import Progress, silent
from caa_registry.registry.maintenance.signing.envelope import sealed
from caa_registry.registry.maintenance.signing.keys import read_private
from caa_registry.registry.records.lock_text import LARGEST, canonical
from caa_registry.registry.transfer.bundles.archive import MANIFEST, SIGNATURE, member_name, write_archive
from caa_registry.registry.transfer.bundles.manifest import Manifest, Member
from caa_registry.registry.transfer.bundles.statement import statement_of
from caa_registry.registry.transfer.documents.things_json import document_json
from caa_registry.registry.transfer.parcel import Parcel
from caa_registry.registry.transfer.sayings import Sayings, sayings_json
from caa_registry.registry.transfer.sending import in_order, parcel_of
from caa_registry.registry.workspace import Workspace

T = TypeVar("T")


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
        manifest, texts = laid_out(parcel, lambda digest: workspace.blobs.stat(digest).size)
        signature = None if private is None else canonical(sealed(statement_of(manifest), private)).encode("ascii")
        with disk.new(path, force=force) as part:
            write(part, manifest, texts, lambda digest: workspace.blobs.get(digest, session), progress, signature)
    return manifest


def laid_out(parcel: Parcel, size: Callable[[str], int]) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest of a bundle of ``parcel``, and by digest those members that are JSON. ``size``: of bytes by digest.
    Raises ``UsageError`` for what no bundle holds."""
    documents = {document.key: _bytes(document_json(document), str(document.key)) for document in parcel.documents}
    said = _bytes(sayings_json(parcel.sayings), "what is said of it")
    texts = {digest_bytes(data): data for data in (*documents.values(), said)}
    members = {digest: len(data) for digest, data in texts.items()}
    members |= {
        digest: size(digest) for digest in (digest for document in parcel.documents for digest in document.blobs)
    }
    manifest = Manifest(
        parcel.roots,
        [(key, digest_bytes(data)) for key, data in documents.items()],
        digest_bytes(said),
        [Member(digest, size) for digest, size in members.items()],
    )
    return manifest, texts


def write(
    path: Path,
    manifest: Manifest,
    texts: Mapping[str, bytes],
    blob: Callable[[str], bytes],
    progress: Progress = silent,
    signature: bytes | None = None,
) -> None:
    """Write the bundle of ``manifest``. ``blob`` gives the members that are no ``texts``, by digest."""

    def entries() -> Iterator[tuple[str, bytes]]:
        yield MANIFEST, manifest.to_bytes()
        for done, member in enumerate(manifest.members, start=1):
            yield member_name(member.digest), texts.get(member.digest) or blob(member.digest)
            progress(done, len(manifest.members))
        if signature is not None:
            yield SIGNATURE, signature

    write_archive(path, entries())


def joined(parcels: Sequence[Parcel]) -> Parcel:
    """Several parcels as one: everything in it once, as the first of them has it."""
    said = [parcel.sayings for parcel in parcels]
    sayings = Sayings(
        _once((each for one in said for each in one.notices), lambda each: (each.kind, each.about, each.created_at)),
        _once(
            (each for one in said for each in one.signatures),
            lambda each: (each.about, each.key, canonical(dict(each.envelope))),
        ),
        _once(
            (each for one in said for each in one.judgements),
            lambda each: (each.about, each.judge_digest, each.created_at),
        ),
    )
    documents = _once((document for parcel in parcels for document in parcel.documents), lambda document: document.key)
    return Parcel(tuple(root for parcel in parcels for root in parcel.roots), documents, sayings)


def _once(things: Iterable[T], identity: Callable[[T], Hashable]) -> tuple[T, ...]:
    kept: dict[Hashable, T] = {}
    for thing in things:
        kept.setdefault(identity(thing), thing)
    return tuple(kept.values())


def _bytes(values: object, what: str) -> bytes:
    try:
        text = canonical(values)
    except ValueError as error:
        raise UsageError(f"{what} cannot be in a bundle: it holds a number that is not finite") from error
    if len(text) > LARGEST:
        raise UsageError(f"{what} cannot be in a bundle: it is larger than {LARGEST // 2**20} MiB")
    return text.encode("ascii")
