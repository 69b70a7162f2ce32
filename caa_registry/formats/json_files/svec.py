"""What the two ``.svec`` layouts share: ``{"model_type": ..., "directions": {"13": [...]}}`` in JSON."""

from __future__ import annotations

import re
from typing import Any

from caa_registry.errors import InputError, one_line
from caa_registry.formats import card as cards
from caa_registry.formats.card import Card
from caa_registry.formats.claims import Claims
from caa_registry.formats.imported import statements
from caa_registry.formats.text import json_file, looks_like_json
from caa_registry.formats.values import Values, listed
from caa_registry.formats.vector_file import VectorFile
from caa_registry.vectors import VectorSet

_LAYER = re.compile("0|[1-9][0-9]{0,3}")


def depth(file: VectorFile) -> int:
    """How deep the lists of such a file are nested: 1 or 2; 0 where it is none, or cannot be read."""
    if not looks_like_json(file):
        return 0
    try:
        said = file.once(json_file)
    except InputError:
        return 0
    directions = said.get("directions")
    if "model_type" not in said or not isinstance(directions, dict) or not directions:
        return 0
    first = next(iter(directions.values()))
    if not isinstance(first, list):
        return 0
    return 2 if first and isinstance(first[0], list) else 1


def directions_of(file: VectorFile) -> dict[int, Values]:
    """The directions by the file's own index. Raises ``InputError``; also where ``explained_variances`` are of other
    layers."""
    said = file.once(json_file)
    directions = said.get("directions")
    if not isinstance(directions, dict):
        raise file.error("it has no directions by layer", "Name a .svec file.", field="directions")
    found = {}
    for key, numbers in directions.items():
        if not _LAYER.fullmatch(key):
            raise file.error(f"{one_line(key, 60)!r} is no layer", "Correct the file.", field="directions")
        found[int(key)] = listed(file, f"directions.{key}", numbers)
    for heads in ("num_heads", "head_dim"):
        if said.get(heads) is not None:
            raise file.error("its directions are of attention heads, and no block's output", field=heads)
    variances = said.get("explained_variances")
    if isinstance(variances, dict) and variances and set(variances) != set(directions):
        raise file.error(
            f"it has the layers {one_line(', '.join(variances), 200)}, and directions has "
            f"{one_line(', '.join(directions), 200)}",
            "One of the two is wrong.",
            field="explained_variances",
        )
    return found


def claims_of(file: VectorFile) -> Claims:
    """What the file says besides. Raises ``InputError`` for a card that is none."""
    said = file.once(json_file)
    own = said.get(cards.KEY)
    if isinstance(own, dict):
        return cards.claims_of(file, cards.compact(own).decode())
    rest = {key: value for key, value in said.items() if key != "directions"}
    return Claims(model_type=str(said.get("model_type", ""))[:200], statements=statements(rest))


def written(vectors: VectorSet, card: Card, directions: dict[str, Any], rest: dict[str, Any]) -> bytes:
    """The bytes of a file, with the card as a key of its own."""
    own = {cards.KEY: card.as_json(vectors.tensor_digest)}
    return cards.compact({"model_type": card.model_type or "unknown", "directions": directions, **rest, **own})
