"""Signed envelopes: DSSE 1.0 (Dead Simple Signing Envelope) around an in-toto statement."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from caa_registry.digests import canonical_json
from caa_registry.errors import IntegrityError
from caa_registry.registry.maintenance.signing.keys import PrivateKey, PublicKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"


def sealed(statement: Mapping[str, Any], key: PrivateKey) -> dict[str, Any]:
    """The envelope of a statement, with its signature by ``key``."""
    payload = canonical_json(dict(statement)).encode("utf-8", "surrogatepass")
    return {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [
            {"keyid": key.public.id, "sig": base64.b64encode(key.sign(_covered(PAYLOAD_TYPE, payload))).decode()}
        ],
    }


def opened(envelope: Mapping[str, Any], key: PublicKey) -> dict[str, Any]:
    """The statement in an envelope that ``key`` signed. Raises ``IntegrityError`` for one that it did not sign, and
    for one that is not as DSSE has it."""
    try:
        kind, payload = envelope["payloadType"], base64.b64decode(envelope["payload"], validate=True)
        signatures = [base64.b64decode(each["sig"], validate=True) for each in envelope["signatures"]]
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise IntegrityError("its envelope is not one of DSSE") from error
    if kind != PAYLOAD_TYPE:
        raise IntegrityError("its envelope holds no in-toto statement")
    if not any(key.verifies(signature, _covered(kind, payload)) for signature in signatures):
        raise IntegrityError("the signature does not fit what is signed")
    statement = json.loads(payload)
    if not isinstance(statement, dict):
        raise IntegrityError("its envelope holds no in-toto statement")
    return statement


def _covered(kind: str, payload: bytes) -> bytes:
    """What a signature covers: the pre-authentication encoding of DSSE."""
    name = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)
