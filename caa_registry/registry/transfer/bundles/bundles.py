"""What is in a bundle, who signed it, and how a registry takes it in."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from caa_registry import settings
from caa_registry.errors import IntegrityError
from caa_registry.references import Kind
from caa_registry.registry.maintenance.signing.envelope import opened
from caa_registry.registry.maintenance.signing.trust import Trust, read_trust
from caa_registry.registry.records import BundledVersion, BundleInfo, SentVersion, Transfer
from caa_registry.registry.transfer.bundles.archive import Archive
from caa_registry.registry.transfer.bundles.manifest import Manifest
from caa_registry.registry.transfer.bundles.reading import Bundle, opened_bundle
from caa_registry.registry.transfer.bundles.statement import statement_of
from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.transfer.receiving.receive import receive
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
    archive: Archive, manifest: Manifest, require: Sequence[str] = (), keys: Path | None = None
) -> tuple[str, str]:
    """The id of the key that signed a bundle, and who has that, where it is trusted; empty where it is not signed.

    Raises ``IntegrityError`` for a signature that does not fit, was revoked, or is not one that is required.
    """
    trust = read_trust(keys or settings.keys(), required=keys is not None)
    signer = _signed_by(archive, manifest, trust, require)
    return signer, trust.name(signer)


def _signed_by(archive: Archive, manifest: Manifest, trust: Trust, require: Sequence[str]) -> str:
    """The id of the key that signed. One that is not known is only named."""
    required = {text: trust.key(text) for text in require}
    signer = ""
    if archive.signed:
        try:
            envelope = json.loads(archive.signature())
            signer = str(envelope["signatures"][0]["keyid"])
        except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
            raise archive.bad("its signature is not one of DSSE") from error
        known = {id: key for id, (_, key) in trust.trusted.items()} | {key.id: key for key in required.values()}
        if signer in trust.revoked:
            raise IntegrityError(f"the key that signed the bundle was revoked: {trust.revoked[signer]}")
        if signer in known and opened(envelope, known[signer]) != statement_of(manifest):
            raise IntegrityError("the signature is of another bundle", "Have it sent again.")
        if signer not in known:
            signer = f"{signer} (not trusted)" if len(signer) < 100 else "an unknown key"
    for text, key in required.items():
        if key.id != signer:
            what = f"is signed by {signer}" if signer else "is not signed"
            raise IntegrityError(f"the bundle {what}, and a signature of {text} is required", "Nothing was stored.")
    return signer


def _kind(key: Key) -> Kind:
    return "dataset" if key.kind == "dataset" else "vector"
