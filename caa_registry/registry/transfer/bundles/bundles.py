"""What is in a bundle, who signed it, and how a registry takes it in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from caa_registry import settings
from caa_registry.references import Kind
from caa_registry.registry.maintenance.signing.trust import read_trust
from caa_registry.registry.records import BundledVersion, BundleInfo, SentVersion, Transfer
from caa_registry.registry.transfer.bundles.archive import Archive
from caa_registry.registry.transfer.bundles.manifest import Manifest
from caa_registry.registry.transfer.bundles.reading import Bundle, opened_bundle
from caa_registry.registry.transfer.bundles.statement import statement_of
from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.transfer.receiving.receive import receive
from caa_registry.registry.transfer.signer import signer_of
from caa_registry.registry.workspace import Workspace


def read(path: Path, require: Sequence[str] = (), keys: Path | None = None) -> BundleInfo:
    """Check a bundle and say what is in it, without any registry. See ``caa_registry.read_bundle``."""
    with opened_bundle(path) as bundle:
        return _info(bundle, require, keys)


def take(workspace: Workspace, path: Path, require: Sequence[str] = (), keys: Path | None = None) -> Transfer:
    """Take in a bundle. See ``Registry.open_bundle``."""
    with opened_bundle(path) as bundle:
        _info(bundle, require, keys)
        taken = receive(workspace, bundle.parcel, bundle.archive.member, path.name)
    versions = [SentVersion(_kind(root.key), root.reference, became, new, new) for root, became, new in taken.roots]
    return Transfer(path.name, tuple(versions), taken.sayings, tuple(taken.notes))


def _info(bundle: Bundle, require: Sequence[str], keys: Path | None) -> BundleInfo:
    signed_by, signer = signed(bundle.archive, bundle.manifest, require, keys)
    counts = Counter(document.key.kind for document in bundle.parcel.documents)
    said = bundle.parcel.sayings
    return BundleInfo(
        digest=bundle.manifest.digest,
        versions=[
            BundledVersion(_kind(root.key), root.reference, root.key.digest, root.alias.name if root.alias else "")
            for root in bundle.manifest.roots
        ],
        size=sum(member.size for member in bundle.manifest.members),
        datasets=counts["dataset"],
        models=counts["model"],
        vectors=counts["vector"],
        plans=counts["plan"],
        evaluations=counts["evaluation"],
        notices=len(said.notices) + len(said.signatures) + len(said.judgements),
        signed_by=signed_by,
        signer=signer,
    )


def signed(
    archive: Archive,
    manifest: Manifest,
    require: Sequence[str] = (),
    keys: Path | None = None,
    what: str = "the bundle",
) -> tuple[str, str]:
    """The id of the key that signed a bundle, and who has that, where it is trusted; empty where it is not signed.
    ``what`` names it in errors. Raises as ``signer_of`` does."""
    trust = read_trust(keys or settings.keys(), required=keys is not None)
    envelope = archive.signature() if archive.signed else None
    signer = signer_of(envelope, statement_of(manifest), what, trust, require)
    return signer, trust.name(signer)


def _kind(key: Key) -> Kind:
    return "dataset" if key.kind == "dataset" else "vector"
