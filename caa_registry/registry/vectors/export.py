"""Vectors of the catalogue, into the files of other tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from caa_registry.errors import UsageError
from caa_registry.formats.card import Card
from caa_registry.formats.writing import write_vectors
from caa_registry.registry.provenance.recalls import warn_of_vector
from caa_registry.registry.records import FileOrigin, VectorVersion, check_multiplier
from caa_registry.registry.vectors.tensors import load_set
from caa_registry.registry.workspace import Workspace
from caa_registry.vectors import VectorSet

if TYPE_CHECKING:
    from caa_registry.models.folder.fingerprint import ModelInfo


def export(
    workspace: Workspace,
    version: VectorVersion,
    path: Path,
    format: str | None,
    layers: Sequence[int] | None,
    multiplier: float,
    *,
    force: bool,
) -> list[Path]:
    """See ``StoredVectors.export``."""
    import numpy as np

    factor = np.float32(check_multiplier(multiplier))
    version.check_addable()
    warn_of_vector(workspace, version)
    whole = load_set(workspace.blobs, version)
    chosen = whole.layer_numbers if layers is None else sorted(set(layers))
    vectors = [whole[layer] for layer in chosen]
    if factor != 1:
        with np.errstate(over="ignore", under="ignore"):
            scaled = [replace(vector, values=vector.values * factor) for vector in vectors]
        for vector, times in zip(vectors, scaled, strict=True):
            if not np.isfinite(times.values).all() or (vector.values.any() and factor and not times.values.any()):
                raise UsageError(
                    f"times {multiplier:g}, layer {vector.layer} of {version.reference} is beyond what float32 holds",
                    "Choose another multiplier.",
                )
        vectors = scaled
    return write_vectors(VectorSet.of(vectors), path, _card(version, float(multiplier)), format=format, force=force)


def _card(version: VectorVersion, multiplier: float) -> Card:
    claims = version.origin.claims if isinstance(version.origin, FileOrigin) else None
    card = Card(
        reference=version.reference,
        digest=version.digest,
        dataset=version.dataset,
        dataset_digest=version.dataset_digest,
        method=version.recipe.method if version.recipe else claims.method if claims else "",
        multiplier="" if multiplier == 1 else repr(multiplier),
    )
    if version.model is not None:
        return _with_model(card, version.model)
    return replace(card, model=claims.model, revision=claims.revision, n_layers=claims.layers) if claims else card


def _with_model(card: Card, model: ModelInfo) -> Card:
    return replace(
        card,
        fingerprint=model.fingerprint.digest,
        model=model.repo_id or model.name,
        revision=model.revision or "",
        model_type=model.architecture,
        n_layers=model.n_layers,
    )
