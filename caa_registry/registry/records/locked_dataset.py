"""The pairs of a lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from caa_registry.digests import DIGEST
from caa_registry.display.records import Record
from caa_registry.errors import CaaError, InputError, UsageError
from caa_registry.pairs.record import Pair, PairItem, check_split_name, checked_pair, dataset_digest
from caa_registry.pairs.source import Fields, Source
from caa_registry.pairs.turns import is_turns_json, turns_json, turns_of
from caa_registry.references import VERSION, check_name


@dataclass(frozen=True)
class LockedDataset(Record):
    """The pairs that a vector is made from, all splits of them, in their order, with where they come from.

    ``number``: of the version in the registry that wrote the lock. ``source``: as it is stored there; ``recipe``: how
    the version came about from its sources on, as ``caa dataset recipe`` writes it, ``None`` where a step is missing.
    """

    name: str
    number: int
    digest: str
    licence: str
    message: str
    source: Source
    recipe: Mapping[str, Any] | None = field(repr=False)
    items: tuple[PairItem, ...] = field(repr=False)

    @property
    def reference(self) -> str:
        return f"{self.name}:v{self.number}"

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.number,
            "digest": self.digest,
            "licence": self.licence,
            "message": self.message,
            "source": self.source.to_json(),
            "recipe": self.recipe,
            "pairs": [item_json(item) for item in self.items],
        }

    @classmethod
    def from_json(cls, values: Any, what: str = "", field: str = "dataset") -> LockedDataset:
        read = Fields(values, what, field)
        source = Source.from_json(read.get("source", dict), what, f"{field}.source")
        if source.behavior is not None:
            name_in(read, "source.behavior", source.behavior)
        recipe = None if values.get("recipe") is None else read.get("recipe", dict)
        items = tuple(
            pair_item(item, what, f"{field}.pairs[{place}]") for place, item in enumerate(read.get("pairs", list))
        )
        made = cls(
            name_in(read, "name", read.get("name", str)),
            number_in(read, "version"),
            read.get("digest", str),
            read.get("licence", str),
            read.get("message", str),
            source,
            recipe,
            items,
        )
        if not items:
            raise read.bad("is empty", "pairs")
        if dataset_digest("pairs", items) != made.digest:
            raise read.bad("is not the digest of the pairs", "digest")
        return made


def item_json(item: PairItem) -> dict[str, Any]:
    """A pair with its split and metadata as JSON."""
    pair = item.pair
    values: dict[str, Any] = {"prompt": pair.prompt, "positive": pair.positive, "negative": pair.negative}
    if pair.system:
        values["system"] = pair.system
    if pair.turns:
        values["turns"] = turns_json(pair.turns)
    return {**values, "split": item.split, "metadata": dict(item.metadata)}


def pair_item(values: Any, what: str, field: str) -> PairItem:
    """The pair, with its split and metadata, that ``item_json`` gave. Raises ``InputError``."""
    read = Fields(values, what, field)
    turns = values.get("turns")
    if turns is not None and not is_turns_json(turns):
        raise read.bad("has to be a list of messages", "turns")
    split, prompt = read.get("split", str), read.get("prompt", str)
    positive, negative = read.get("positive", str), read.get("negative", str)
    system, metadata = read.get("system", str, ""), read.get("metadata", dict)
    try:
        check_split_name(split)
        return PairItem(checked_pair(Pair(prompt, positive, negative, system, turns_of(turns))), split, metadata)
    except CaaError as error:
        raise InputError(error.message, source=what, field=read.field) from error


def name_in(read: Fields, key: str, name: str) -> str:
    """``name``, which stands under ``key``. Raises ``InputError`` unless it is one."""
    try:
        return check_name(name)
    except UsageError as error:
        raise read.bad(error.message, key) from None


def digest_in(read: Fields, key: str) -> str:
    """The digest under ``key``. Raises ``InputError``."""
    digest = read.get(key, str)
    if not DIGEST.fullmatch(digest):
        raise read.bad("has to be a digest", key)
    return digest


def number_in(read: Fields, key: str) -> int:
    """The number under ``key``, from 1 on. Raises ``InputError``."""
    number = read.get(key, int)
    if not VERSION.fullmatch(f"v{number}"):
        raise read.bad("has to be a number from 1 on", key)
    return number
