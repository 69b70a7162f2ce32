"""Aliases, tags, and what a search finds, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caa_registry.registry.records import Alias, AliasMove, Hit, Tag


def alias_json(alias: Alias) -> dict[str, Any]:
    """An alias, the version it points at and what it recommends."""
    return {
        "kind": alias.kind,
        "alias": alias.reference,
        "version": alias.target,
        "recommendation": alias.recommendation.as_json() if alias.recommendation else None,
        "protected": alias.protected,
        "updated_at": alias.updated_at.isoformat(),
    }


def move_json(move: AliasMove) -> dict[str, Any]:
    """One move of an alias: from where to where, by whom, and what it recommends since."""
    return {
        "at": move.at.isoformat(),
        "by": move.actor,
        "kind": move.kind,
        "alias": f"{move.name}:{move.alias}",
        "from": move.before or None,
        "to": move.after or None,
        "recommendation": move.recommendation.as_json() if move.recommendation else None,
    }


def tag_json(tag: Tag) -> dict[str, Any]:
    """A tag and the version that it is of."""
    return {"reference": tag.reference, "key": tag.key, "value": tag.value, "updated_at": tag.updated_at.isoformat()}


def hit_json(hit: Hit) -> dict[str, Any]:
    """Something that was found, and where its words stand."""
    return {
        "kind": hit.kind,
        "reference": hit.reference,
        "field": hit.field,
        "text": hit.text,
        "within": list(hit.within),
    }
