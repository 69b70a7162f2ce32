"""Tags, moves of aliases, and what a search finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from caa_registry.display.records import Record
from caa_registry.registry.records.alias import Recommendation

HitKind = Literal["dataset", "vector", "model", "pair", "question"]


@dataclass(frozen=True)
class Tag(Record):
    """A label of a version. ``reference``: the version, ``dataset:team/x:v1``."""

    _columns: ClassVar = "reference key value updated_at"

    reference: str
    key: str
    value: str
    updated_at: datetime


@dataclass(frozen=True)
class AliasMove(Record):
    """One move of an alias. ``before`` and ``after``: the numbers of versions, ``v3``; empty where it was made, and
    where it was removed. ``name``: of the dataset or vector as it was then."""

    _columns: ClassVar = "at actor kind name alias before after recommendation"

    at: datetime
    actor: str
    kind: str
    name: str
    alias: str
    before: str
    after: str
    recommendation: Recommendation | None


@dataclass(frozen=True)
class Hit(Record):
    """Something that a search found. ``reference``: a version, a model's name, or the digest of a pair; of a question
    the version that asks it. ``field``: where the words stand, with what stands there, shortened, as ``text``.
    ``within``: of a pair the newest versions that hold it."""

    _columns: ClassVar = "kind reference field text within"

    kind: HitKind
    reference: str
    field: str
    text: str
    within: Sequence[str] = ()
