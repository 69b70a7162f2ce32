"""Tags and what a search finds, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caa_registry.registry.records import Hit, Tag


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
