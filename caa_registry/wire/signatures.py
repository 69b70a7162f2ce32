"""Signatures as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caa_registry.registry.records import SignatureCheck, Signed


def signed_json(signed: Signed) -> dict[str, Any]:
    """What checking signatures found, with every envelope."""
    return {
        "reference": signed.reference,
        "digest": signed.digest,
        "holds": signed.holds,
        "missing": list(signed.missing),
        "move": signed.move,
        "signatures": [signature_json(each) for each in signed.signatures],
    }


def signature_json(signature: SignatureCheck) -> dict[str, Any]:
    """One signature; ``problem`` is empty where it counts."""
    return {
        "key": signature.key,
        "name": signature.name,
        "by": signature.actor,
        "signed_at": signature.signed_at.isoformat(),
        "problem": signature.problem,
        "envelope": dict(signature.envelope),
    }
