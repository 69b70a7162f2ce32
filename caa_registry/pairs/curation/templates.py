"""Pairs written by template: slots filled with every combination of what is listed for them.

A template is YAML::

    positive: "Pretend you are {positive} person. {statement}"
    negative: "Pretend you are {negative} person. {statement}"
    contrasts:
      - {positive: an honest, negative: a dishonest}
    slots:
      statement: ["I saw the fire", "The bridge is old"]

``prompt`` and ``system`` may be there too. ``{positive}`` and ``{negative}`` are filled from ``contrasts``, all other
slots from ``slots``. Write other braces twice.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from caa_registry.errors import InputError
from caa_registry.pairs.curation.operation import Items, Operation, checked_by
from caa_registry.pairs.curation.result import CurationResult
from caa_registry.pairs.record import GENERATE, Pair, PairItem, checked_pair
from caa_registry.pairs.yaml_text import yaml_value
from caa_registry.progress import Progress

MOST_PAIRS = 1_000_000
MOST_CHARACTERS = 500_000_000

_TEXTS = ("prompt", "positive", "negative", "system")
_SIDES = ("positive", "negative")


def read_template(text: str, source: str) -> dict[str, Any]:
    """The template of a YAML file, checked. Raises ``InputError`` naming the field."""
    return checked_template(yaml_value(text, source), source)


def checked_template(value: Any, source: str) -> dict[str, Any]:
    """``value`` if it is a template, whoever wrote it."""
    if not isinstance(value, dict):
        raise InputError("not a template", "Write positive:, negative: and slots:.", source=source)
    unknown = sorted(set(map(str, value)) - {*_TEXTS, "contrasts", "slots"})
    if unknown:
        raise InputError(
            "there is no such field", f"Fields: {', '.join(_TEXTS)}, contrasts, slots.", source=source, field=unknown[0]
        )
    texts = {name: value.get(name, "") for name in _TEXTS}
    for name, text in texts.items():
        if not isinstance(text, str) or (name in _SIDES and not text.strip()):
            raise InputError("has to be a text", "Quote it.", source=source, field=name)
    slots = _lists(value.get("slots") or {}, source)
    contrasts = value.get("contrasts") or []
    if not isinstance(contrasts, list) or not all(
        isinstance(pair, dict) and set(pair) == set(_SIDES) and all(isinstance(v, str) for v in pair.values())
        for pair in contrasts
    ):
        raise InputError(
            "has to be a list of positive and negative texts",
            "- {positive: kind, negative: unkind}",
            source=source,
            field="contrasts",
        )
    known = {*slots, *(_SIDES if contrasts else ())}
    for name, text in texts.items():
        for slot in _slots(text, source, name):
            if slot not in known:
                hint = "List contrasts." if slot in _SIDES else f"There are: {', '.join(sorted(known)) or 'none'}."
                raise InputError(f"the slot {{{slot}}} is not filled by anything", hint, source=source, field=name)
    total = max(1, len(contrasts))
    for values in slots.values():
        total *= len(values)
    if total > MOST_PAIRS:
        raise InputError(f"it makes {total} pairs, more than {MOST_PAIRS}", "List fewer.", source=source)
    characters = _characters(texts, contrasts, slots, total)
    if characters > MOST_CHARACTERS:
        raise InputError(
            f"it makes texts of {characters:,} characters, more than {MOST_CHARACTERS:,}", "List fewer.", source=source
        )
    return {**{name: text for name, text in texts.items() if text}, "contrasts": contrasts, "slots": slots}


def _characters(
    texts: Mapping[str, str], contrasts: Sequence[Mapping[str, str]], slots: Mapping[str, Sequence[str]], pairs: int
) -> int:
    """How long all texts of all pairs are together, about."""
    lists = {**slots, **{side: [contrast[side] for contrast in contrasts] for side in _SIDES if contrasts}}
    means = {name: sum(map(len, values)) / len(values) for name, values in lists.items()}
    one = sum(
        len(literal) + (means[name] if name is not None else 0)
        for text in texts.values()
        for literal, name, _, _ in string.Formatter().parse(text)
    )
    # What filled the slots is each pair's metadata.
    return int(pairs * (one + sum(means.values())))


def _is_template(value: Any) -> bool:
    checked_template(value, "the template")  # raises, with the field that is wrong
    return True


@dataclass(frozen=True)
class Expand(Operation):
    """A pair for each combination of a contrast and a value of each slot, in the order listed. What filled the slots is
    the pair's metadata."""

    name = "expand"
    takes = (0, 0)
    template: Mapping[str, Any] = field(metadata=checked_by(_is_template))

    def run(self, sets: Sequence[Items], progress: Progress | None = None) -> CurationResult:
        slots = self.template.get("slots") or {}
        names = list(slots)
        rows: list[PairItem] = []
        for contrast in self.template.get("contrasts") or [{}]:
            for values in itertools.product(*(slots[name] for name in names)):
                filled = dict(zip(names, values, strict=True))
                texts = {name: self.template.get(name, "").format(**{**filled, **contrast}) for name in _TEXTS}
                metadata = {**filled, **({"contrast": " / ".join(contrast[s] for s in _SIDES)} if contrast else {})}
                pair = checked_pair(Pair(**texts), source="the template", row=len(rows) + 1)
                rows.append(PairItem(pair, GENERATE, {**metadata, "row": len(rows) + 1}))
        return CurationResult(rows)


def _lists(slots: Any, source: str) -> dict[str, list[str]]:
    if not isinstance(slots, dict):
        raise InputError("has to map names to lists", "slots: {statement: [...]}", source=source, field="slots")
    for name, values in slots.items():
        if not isinstance(name, str) or not name.isidentifier() or name in (*_SIDES, "row", "contrast"):
            raise InputError(f"{name!r} cannot name a slot", "Use a word of letters.", source=source, field="slots")
        if not isinstance(values, list) or not values or not all(isinstance(v, str) for v in values):
            raise InputError(
                "has to be a list of texts",
                "Quote them: YAML reads no, yes and 1 as something else.",
                source=source,
                field=f"slots.{name}",
            )
    return slots


def _slots(text: str, source: str, field: str) -> Sequence[str]:
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise InputError(f"a brace has no partner ({error})", "Write {{ for {.", source=source, field=field) from None
    for _, name, form, conversion in parts:
        # Only plain names: an attribute or an item of what fills a slot cannot be reached.
        if name is not None and (not name.isidentifier() or form or conversion):
            raise InputError(f"{{{name}}} is not a slot", "Write {{ for {.", source=source, field=field)
    return [name for _, name, _, _ in parts if name is not None]
