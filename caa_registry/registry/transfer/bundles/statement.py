"""What is signed of a bundle: its manifest, which names every member by its digest."""

from __future__ import annotations

from typing import Any

from caa_registry.registry.maintenance.signing.statements import STATEMENT
from caa_registry.registry.transfer.bundles.archive import MANIFEST
from caa_registry.registry.transfer.bundles.manifest import Manifest

BUNDLE = "urn:caa-registry:bundle:v1"


def statement_of(manifest: Manifest) -> dict[str, Any]:
    """The in-toto statement about a bundle."""
    return {
        "_type": STATEMENT,
        "subject": [{"name": MANIFEST, "digest": {"sha256": manifest.digest.removeprefix("sha256:")}}],
        "predicateType": BUNDLE,
        "predicate": {"versions": [f"{root.key.kind}:{root.reference}" for root in manifest.roots]},
    }
