"""What an operation gives, and the order in which operations choose among rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caa_registry.digests import canonical_json, floats_as_text
from caa_registry.display.records import Record

if TYPE_CHECKING:
    from caa_registry.pairs.record import PairItem


@dataclass(frozen=True)
class CurationResult(Record):
    """The rows that an operation leaves, and what a person should know about it."""

    items: Sequence[PairItem]
    notes: Sequence[str] = ()


def rank(seed: int, text: str) -> str:
    """Where ``text`` (a digest) stands in an order that looks random, and is the same everywhere."""
    return hashlib.sha256(f"{seed}:{text}".encode()).hexdigest()


def metadata_key(item: PairItem) -> str:
    """Tells rows of one pair apart, without the row numbers of a file."""
    return canonical_json(floats_as_text({key: value for key, value in item.metadata.items() if key != "row"}))
