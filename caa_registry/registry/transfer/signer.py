"""Who signed what was sent, and whether a key that is required did."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from caa_registry.errors import InputError, IntegrityError
from caa_registry.registry.maintenance.signing.envelope import opened
from caa_registry.registry.maintenance.signing.trust import Trust


def signer_of(
    envelope: bytes | None, statement: Mapping[str, Any], what: str, trust: Trust, require: Sequence[str]
) -> str:
    """The id of the key that signed ``statement``; empty where there is no ``envelope``. One that is not trusted is
    only named. ``what`` names the thing in errors: ``the bundle``.

    Raises ``IntegrityError`` for a signature that does not fit, was revoked, or is not one that is required,
    ``InputError`` for an envelope that is none.
    """
    required = {text: trust.key(text) for text in require}
    signer = ""
    if envelope is not None:
        try:
            values = json.loads(envelope)
            signer = str(values["signatures"][0]["keyid"])
        except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
            raise InputError(f"the signature of {what} is not one of DSSE", "Have it sent again.") from error
        known = {id: key for id, (_, key) in trust.trusted.items()} | {key.id: key for key in required.values()}
        if signer in trust.revoked:
            raise IntegrityError(f"the key that signed {what} was revoked: {trust.revoked[signer]}")
        if signer in known and opened(values, known[signer]) != statement:
            raise IntegrityError(f"the signature of {what} is of something else", "Have it sent again.")
        if signer not in known:
            signer = f"{signer} (not trusted)" if len(signer) < 100 else "an unknown key"
    for text, key in required.items():
        if key.id != signer:
            how = f"is signed by {signer}" if signer else "is not signed"
            raise IntegrityError(f"{what} {how}, and a signature of {text} is required", "Nothing was stored.")
    return signer
