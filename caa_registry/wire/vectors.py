"""Vector versions, and what steering with them gives, as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caa_registry.evaluation.token_projection import TokenProjection
    from caa_registry.models.folder.fingerprint import ModelInfo
    from caa_registry.models.generation import NextToken
    from caa_registry.registry.records import (
        FollowedLock,
        LayerNearness,
        Lock,
        NextTokenTable,
        Similar,
        Steering,
        VectorVersion,
        Verification,
    )


def vector_json(version: VectorVersion) -> dict[str, Any]:
    """A vector version."""
    return {
        "name": version.name,
        "version": version.number,
        "reference": version.reference,
        "digest": version.digest,
        "tensor_digest": version.tensor_digest,
        "dataset": version.dataset,
        "dataset_digest": version.dataset_digest,
        "behavior": version.behavior,
        "model": version.model_name,
        "fingerprint": version.model.fingerprint.digest if version.model else None,
        "layers": version.layer_numbers,
        "d_model": version.d_model,
        "recipe": version.recipe.to_json() if version.recipe else None,
        "origin": version.origin.to_json() if version.origin else None,
        "norms": [
            {"layer": layer.layer, "norm": layer.norm, "residual_norm": layer.residual_norm} for layer in version.layers
        ],
        "quality": [{"layer": layer.layer, **layer.quality.as_json()} for layer in version.layers if layer.quality],
        "description": version.description,
        "message": version.message,
        "by": version.actor,
        "aliases": list(version.aliases),
        "tags": dict(version.tags),
        "quarantined": version.quarantined,
        "deprecated": version.deprecated,
        "created_at": version.created_at.isoformat(),
        "unchecked_before": version.unchecked_before.isoformat() if version.unchecked_before else None,
    }


def computed_json(version: VectorVersion) -> dict[str, Any]:
    """A version that was just computed or normalized: also whether it was there, what reading took, and how a
    recomputation compares with what is stored."""
    document = {**vector_json(version), "existing": version.existing}
    if version.reading:
        document["reading"] = version.reading.to_json()
    comparison = version.comparison
    if comparison:
        document["comparison"] = {
            "max_difference": comparison.max_difference,
            "min_cosine": comparison.min_cosine,
            "holds": comparison.holds,
        }
    return document


def similar_json(found: Similar) -> dict[str, Any]:
    """Another vector at the same layer, and how near it is."""
    return {
        "vector": found.version.reference,
        "digest": found.version.digest,
        "layer": found.layer,
        "cosine": found.cosine,
        "noise": found.noise,
    }


def nearness_json(found: LayerNearness) -> dict[str, Any]:
    """Two vectors at one layer."""
    return dataclasses.asdict(found)


def projection_json(tokens: Sequence[TokenProjection]) -> list[dict[str, Any]]:
    """The tokens of a text and how far each points along a vector."""
    return [{"token": token.text, "dot": token.dot, "cosine": token.cosine} for token in tokens]


def plan_json(plan: Steering | None) -> dict[str, Any]:
    """What is applied: versions, layers and multipliers. ``None`` where nothing is."""
    if plan is None:
        return {"vectors": [], "additions": [], "positions": None}
    return {
        "vectors": [version.reference for version in plan.vectors],
        "additions": [{"layer": addition.layer, "multiplier": addition.multiplier} for addition in plan.additions],
        "positions": plan.positions,
    }


def next_tokens_json(tokens: Sequence[NextToken]) -> list[dict[str, Any]]:
    """Candidates for the next token, in the order in which they were asked for."""
    return [
        {"id": token.id, "text": token.text, "probability": token.probability, "logit": token.logit} for token in tokens
    ]


def next_token_table_json(table: NextTokenTable) -> dict[str, Any]:
    """The next tokens without steering, and at every layer and multiplier, as ``results_json`` has them."""
    applied = {"vectors": [table.vector.reference], "positions": table.positions}
    results = [{**plan_json(None), "tokens": next_tokens_json(table.unsteered)}]
    results += [
        {
            **applied,
            "additions": [{"layer": layer, "multiplier": multiplier}],
            "tokens": next_tokens_json(tokens),
        }
        for layer, row in table.layers.items()
        for multiplier, tokens in zip(table.multipliers, row, strict=True)
    ]
    return results_json(table.prompt, table.model, results)


def results_json(prompt: str, info: ModelInfo, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a model makes of a prompt: a result for each strength, each with its ``plan_json``."""
    return {"prompt": prompt, "model": info.name, "fingerprint": info.fingerprint.digest, "results": list(results)}


def lock_json(locked: Lock) -> dict[str, Any]:
    """What a lock is of; the lock itself has a JSON of its own."""
    return {
        "lock": locked.digest,
        "vector": locked.reference,
        "digest": locked.version_digest,
        "dataset": locked.dataset.reference,
        "dataset_digest": locked.dataset.digest,
        "model": locked.model.name,
        "fingerprint": locked.model.fingerprint.digest,
    }


def followed_json(followed: FollowedLock) -> dict[str, Any]:
    """What following a lock came to. ``stored`` is the vector version, ``null`` where it came out otherwise."""
    found = followed.found
    return {
        **lock_json(followed.lock),
        "verdict": "same bits" if found.same_bits else "within tolerance" if found.holds else "differs",
        "stored": computed_json(followed.version) if followed.version else None,
        "stored_dataset": followed.dataset.reference if followed.dataset else None,
        "verification": verification_json(found),
    }


def verification_json(found: Verification) -> dict[str, Any]:
    """What checking a version again found."""
    return {
        "vector": found.reference,
        "holds": found.holds,
        "pairs": found.pairs,
        "differences": list(found.differences),
        "environment": list(found.environment),
        "layers": [
            {
                "layer": each.layer,
                "same_bits": each.same_bits,
                "cosine": each.cosine,
                "difference": each.difference,
                "holds": each not in found.apart,
            }
            for each in found.layers
        ],
        "tolerance": found.tolerance if found.layers else None,
        "run": found.run,
    }
