"""A parcel: versions with all that they need, on their way to another registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.transfer.documents.things import Document
from caa_registry.registry.transfer.sayings import Sayings


@dataclass(frozen=True)
class AliasDocument:
    """An alias that points at a version, with what it recommends. ``evaluations``: by number, as the recommendation
    names them, their keys."""

    name: str
    recommendation: Mapping[str, Any] | None
    evaluations: Mapping[int, Key]


@dataclass(frozen=True)
class Root:
    """A version that was asked for. ``number``: in the registry that it comes from; ``alias``: the name by which it was
    asked for, ``None`` where it was none."""

    key: Key
    number: int
    alias: AliasDocument | None = None

    @property
    def reference(self) -> str:
        """Its name there, without its kind."""
        return f"{self.key.name}:v{self.number}"


@dataclass(frozen=True)
class Parcel:
    """``documents``: each behind what it needs; ``sayings``: what is said of them."""

    roots: Sequence[Root]
    documents: Sequence[Document] = field(repr=False)
    sayings: Sayings
