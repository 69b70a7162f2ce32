"""Canonical JSON and content digests: the identity of everything the registry stores.

A digest is written ``sha256:<64 hex>``. It never depends on dictionary order, process, platform or container
format. Composite digests hash canonical JSON that names its own schema, so that two kinds of thing can never
share a digest by accident.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from itertools import takewhile
from pathlib import Path
from typing import Any

from caa_registry.errors import InputError
from caa_registry.progress import Progress, silent

# Bytes of a file that are read at a time.
_PIECE = 1 << 20

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


# Composing puts the combining characters behind a letter in order, which takes time as the square of their number.
MOST_COMBINING = 1000


def composed(text: str) -> str:
    """``text`` in Unicode's composed form (NFC). Raises ``InputError`` for more than ``MOST_COMBINING`` combining
    characters one after another."""
    if text.isascii():
        return text
    check_combining(text)
    return unicodedata.normalize("NFC", text)


def check_combining(text: str) -> None:
    """Raise ``InputError`` for more than ``MOST_COMBINING`` combining characters one after another."""
    # A longer run holds one of these places.
    for place in range(MOST_COMBINING, len(text), MOST_COMBINING + 1):
        if _combines(text[place]) and _run(text, place) > MOST_COMBINING:
            raise InputError(
                f"a text has more than {MOST_COMBINING:,} combining characters one after another", "Remove them."
            )


def _combines(character: str) -> bool:
    return unicodedata.combining(unicodedata.normalize("NFD", character)[0]) != 0


def _run(text: str, place: int) -> int:
    """How many combining characters stand around ``place``; no more than ``MOST_COMBINING`` are counted on a side."""
    before = takewhile(_combines, reversed(text[max(0, place - MOST_COMBINING) : place]))
    behind = takewhile(_combines, text[place : place + MOST_COMBINING + 1])
    return sum(1 for _ in before) + sum(1 for _ in behind)


def _canonical(value: Any) -> Any:
    kind = type(value)  # told apart by the type itself where that suffices: isinstance takes several times as long
    if kind is str or isinstance(value, str):
        return composed(value)
    if kind is int or kind is bool or value is None:
        return value
    if kind is dict or isinstance(value, dict):
        return {composed(str(key)): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, int):
        return value
    raise TypeError(f"{type(value).__name__} has no canonical JSON form (write floats as repr strings)")


def canonical_json(value: Any) -> str:
    """``value`` as JSON with sorted keys, no spaces and NFC text.

    Raises ``TypeError`` for floats: their text differs between writers, so callers store ``repr(x)``.
    """
    return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_bytes(data: bytes | memoryview) -> str:
    """The digest of raw bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_object(kind: str, value: dict[str, Any]) -> str:
    """The digest of a JSON object of schema ``caa-registry/<kind>/v1``."""
    text = canonical_json({"schema": f"caa-registry/{kind}/v1", **value})
    return digest_bytes(text.encode("utf-8", "surrogatepass"))


def digest_file(path: Path, progress: Progress = silent) -> str:
    """The digest of a file's bytes, read in pieces. ``progress`` counts bytes."""
    size, done, digest = path.stat().st_size, 0, hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            done += len(piece)
            progress(done, max(size, done))
    return "sha256:" + digest.hexdigest()


def short(digest: str) -> str:
    """The first 12 hex digits, for people."""
    return digest.removeprefix("sha256:")[:12]


def floats_as_text(value: Any) -> Any:
    """``value`` with every float replaced by its ``repr``, so that it has a canonical JSON form."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list | tuple):
        return [floats_as_text(item) for item in value]
    if isinstance(value, dict):
        return {key: floats_as_text(item) for key, item in value.items()}
    return value
