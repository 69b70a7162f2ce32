"""Aliases as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caa_registry.registry.records import Alias


def alias_json(alias: Alias) -> dict[str, Any]:
    """An alias, the version it points at and what it recommends."""
    return {
        "kind": alias.kind,
        "alias": alias.reference,
        "version": alias.target,
        "recommendation": alias.recommendation.as_json() if alias.recommendation else None,
        "updated_at": alias.updated_at.isoformat(),
    }
