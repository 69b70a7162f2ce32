"""Seed sets: pairs that ship with the package, each a ``NAME.jsonl`` with a card ``NAME.md`` beside it."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from caa_registry.errors import InputError, NotFoundError, UsageError
from caa_registry.package import ASSETS, shipped
from caa_registry.pairs.record import Imported
from caa_registry.pairs.source import SourceCard
from caa_registry.pairs.sources.files import read_file
from caa_registry.pairs.sources.front_matter import front_matter
from caa_registry.pairs.sources.table import read_table

CARD_FIELDS = ("name", "behavior", "positive", "negative", "form", "licence", "source")


@dataclass(frozen=True)
class SeedSet:
    """What a seed set is for. ``counts`` are the pairs of each split, ``card`` the file that tells its story."""

    name: str
    behavior: str
    positive: str
    negative: str
    form: str
    licence: str
    source: str
    counts: Mapping[str, int]
    card: Path


def folders() -> list[Path]:
    """Where seed sets lie: in the wheel or the checkout, and the demo's own."""
    return [folder for folder in (shipped("seed_pairs"), ASSETS / "demo_pairs") if folder.is_dir()]


def _files() -> dict[str, Path]:
    return {path.stem: path for folder in folders() for path in sorted(folder.glob("*.jsonl"))}


def seed_sets() -> list[SeedSet]:
    """Every packaged set, by name. ``InputError`` where a set or its card is not as it should be."""
    return [_described(name, path) for name, path in sorted(_files().items())]


def load_seed(
    source: str, *, split: str | None, columns: Mapping[str, str], format: str | None, licence: str
) -> Imported:
    """The set ``seed:NAME``: its rows name their splits, its card the licence.

    Raises ``UsageError`` where a split, columns or a format are given, ``NotFoundError`` for an unknown name.
    """
    if split is not None or columns or format is not None:
        raise UsageError(
            f"{source}: a seed set has its own splits, columns and format",
            "Leave --split, --column and --format out.",
        )
    path = _path(source.removeprefix("seed:"))
    described = _described(path.stem, path)
    imported = _read(path)
    behavior = "-".join(described.behavior.lower().split())
    card = SourceCard(described.positive, described.negative)
    source_record = replace(imported.source, behavior=behavior, card=card)
    return replace(imported, source=source_record, licence=licence or described.licence)


def _path(name: str) -> Path:
    known = _files()
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        hint = f"Did you mean {' or '.join(f'seed:{match}' for match in close)}?"
    else:
        hint = f"Seed sets: {', '.join(sorted(known)) or 'none'}."
    raise NotFoundError(f"there is no seed set {name!r}", hint)


def _read(path: Path) -> Imported:
    uri = f"seed:{path.stem}"
    return read_table(read_file(path, label=uri), uri, split=None, columns={}, format="jsonl")


def _described(name: str, path: Path) -> SeedSet:
    card = path.with_suffix(".md")
    label = f"the card of seed:{name}"
    if not card.is_file():
        raise InputError(f"seed:{name} has no card", f"Write {card.name} beside it.")
    values, _ = front_matter(read_file(card, label=label))
    missing = [field for field in CARD_FIELDS if not values.get(field)]
    if missing:
        raise InputError(f"its front matter lacks {', '.join(missing)}", "Complete the card.", source=label)
    if values["name"] != name:
        raise InputError(f"it names the set {values['name']!r}", f"Write name: {name}.", source=label)
    counts = Counter(item.split for item in _read(path).items)
    texts = {field: str(values[field]).strip() for field in CARD_FIELDS}
    return SeedSet(**texts, counts=dict(counts), card=card)
