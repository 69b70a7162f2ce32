"""Transfers between registries as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caa_registry.registry.records import BundleInfo, Difference, Published, Remote, Transfer


def remote_json(remote: Remote) -> dict[str, Any]:
    return {"name": remote.name, "kind": remote.kind, "url": remote.url}


def transfer_json(transfer: Transfer) -> dict[str, Any]:
    """What went from one registry to another."""
    return {
        "remote": transfer.remote,
        "versions": [
            {
                "kind": version.kind,
                "reference": version.reference,
                "became": version.became,
                "new": version.new,
                "added": version.added,
            }
            for version in transfer.versions
        ],
        "notices": transfer.notices,
        "notes": list(transfer.notes),
    }


def published_json(published: Published) -> dict[str, Any]:
    """What is, or would be, in a repository on the hub."""
    return {
        "repo": published.repo,
        "branch": published.branch,
        "commit": published.commit or None,
        "public": published.public,
        "versions": list(published.versions),
        "licences": {name: licence or None for name, licence in published.licences.items()},
        "model_licences": dict(published.model_licences),
        "pairs": published.pairs,
        "withheld": dict(published.withheld),
        "actors": list(published.actors),
        "files": [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in published.files],
        "signed_by": published.signed_by or None,
    }


def difference_json(difference: Difference) -> dict[str, Any]:
    """A version that two registries do not share, or number differently."""
    return {
        "kind": difference.kind,
        "here": difference.here or None,
        "there": difference.there or None,
        "digest": difference.digest,
        "clash": difference.clash,
    }


def bundle_json(bundle: BundleInfo) -> dict[str, Any]:
    """What is in a bundle."""
    return {
        "digest": bundle.digest,
        "versions": [
            {
                "kind": version.kind,
                "reference": version.reference,
                "digest": version.digest,
                "alias": version.alias or None,
            }
            for version in bundle.versions
        ],
        "size": bundle.size,
        "datasets": bundle.datasets,
        "models": bundle.models,
        "vectors": bundle.vectors,
        "plans": bundle.plans,
        "evaluations": bundle.evaluations,
        "notices": bundle.notices,
        "signed_by": bundle.signed_by or None,
        "signer": bundle.signer or None,
    }
