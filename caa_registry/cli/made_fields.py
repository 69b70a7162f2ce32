"""What a vector was made from, as the fields of ``caa vector show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caa_registry.digests import short
from caa_registry.wording import count

if TYPE_CHECKING:
    from caa_registry.registry.records import FileOrigin, Recipe, VectorVersion


def made_fields(version: VectorVersion) -> dict[str, str | None]:
    """By name what is known: of the pairs and the recipe, of the file and what it claims, or of the other vectors."""
    from caa_registry.registry.records import FileOrigin

    if version.recipe is not None:
        return _recipe_fields(version, version.recipe)
    if isinstance(version.origin, FileOrigin):
        return _file_fields(version.origin)
    assert version.origin is not None
    terms = ", ".join(f"{short(term.digest)} times {term.weight:g}" for term in version.origin.terms)
    return {"made from": version.made_from, "vectors": terms, "behavior": version.behavior}


def _recipe_fields(version: VectorVersion, recipe: Recipe) -> dict[str, str | None]:
    return {
        "dataset": f"{version.dataset} ({recipe.split}, {count(recipe.pairs, 'pair')})",
        "left out": f"{count(recipe.skipped_too_long, 'pair')}, too long" if recipe.skipped_too_long else None,
        "method": recipe.method,
        "normalized": f"with {len(recipe.normalized.together) - 1} others" if recipe.normalized else None,
        "read": recipe.read,
        "template": recipe.template,
        "computed in": recipe.dtype,
    }


def _file_fields(origin: FileOrigin) -> dict[str, str | None]:
    claims, files = origin.claims, origin.files
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    claimed = {"model": claims.model, "pairs": claims.data, "method": claims.method, "version": claims.reference}
    strengths = sorted(set(origin.strengths.values()) - {1.0})
    return {
        "made from": f"{origin.source}{', untested' if origin.untested else ''}",
        "file": f"{short(files[0])}{more}",
        "behavior": origin.behavior,
        "claimed": "; ".join(f"{name} {value}" for name, value in claimed.items() if value) or "nothing",
        "layers mean": origin.layer_rule,
        "measured": origin.measured_elsewhere or None,
        "scale": origin.scale,
        "operation": origin.operation,
        "not applied": origin.not_addable or None,
        "strength": ", ".join(f"{strength:g}" for strength in strengths) + " (not folded in)" if strengths else None,
    }
