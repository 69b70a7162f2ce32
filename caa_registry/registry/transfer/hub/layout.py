"""What lies where in a repository, and the list of digests that covers it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caa_registry.errors import InputError, visible
from caa_registry.registry.maintenance.signing.statements import STATEMENT

CARD, CARD_COPY = "README.md", "card.md"
SUMS, SIGNATURE = "SHA256SUMS", "SHA256SUMS.dsse.json"
BUNDLE, ALONE = "bundle.caa", "vectors.json"
"""All that the vectors need, or where their pairs stay private, what the vectors are."""

PREDICATE = "urn:caa-registry:repository:v1"

# What a push may have put there, and a later one may take away again.
OWN = re.compile(
    r"card\.md|bundle\.caa|vectors\.json|SHA256SUMS(\.dsse\.json)?|vectors/.+\.safetensors|pairs/.+\.jsonl"
)

_LINE = re.compile(r"([0-9a-f]{64})  ([^\x00-\x1f\x7f]{1,400})")
_MOST_FILES = 10_000


def vector_file(name: str, number: int) -> str:
    """Where the numbers of a version lie."""
    return f"vectors/{name}-v{number}.safetensors"


def pairs_file(name: str, number: int, split: str) -> str:
    """Where one split of a version's pairs lies."""
    return f"pairs/{name}-v{number}/{split}.jsonl"


def sums_text(digests: Mapping[str, str]) -> str:
    """SHA-256 digests by file, in hex, as ``sha256sum`` writes and checks them."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))


def read_sums(data: bytes, source: str) -> dict[str, str]:
    """What ``sums_text`` gave. Raises ``InputError`` naming the line."""
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 (byte {error.start:,})", source=source) from None
    if len(lines) > _MOST_FILES:
        raise InputError(f"names {len(lines):,} files; at most {_MOST_FILES:,} are read", source=source)
    digests: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if match is None or not _is_inside(match[2]):
            raise InputError(f"line {number} is not a digest and the name of a file in the repository", source=source)
        if match[2] in digests:
            raise InputError(f"line {number} names {visible(match[2])} again", source=source)
        digests[match[2]] = match[1]
    return digests


def _is_inside(name: str) -> bool:
    return all(part not in ("", ".", "..") for part in name.split("/")) and "\\" not in name


def file_digest(path: Path) -> str:
    """The SHA-256 digest of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def statement_of(digests: Mapping[str, str]) -> dict[str, Any]:
    """The in-toto statement that is signed: about every file in the list of digests."""
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(digests.items())],
        "predicateType": PREDICATE,
        "predicate": {},
    }
