"""Vectors of other tools, from their files into the catalogue."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caa_registry.errors import ModelMismatchError, UsageError
from caa_registry.formats.imported import FINAL_NORM, ImportedVectors
from caa_registry.registry.models import ensure_model
from caa_registry.registry.provenance.runs import Activity, record_run
from caa_registry.registry.records import FileOrigin, VectorVersion
from caa_registry.registry.rows import vector_record
from caa_registry.registry.vectors.steering import check_shape
from caa_registry.registry.vectors.store import Making, add, find, known_name, store_bytes
from caa_registry.registry.workspace import Workspace
from caa_registry.vectors import DirectionSet, LayerVector

if TYPE_CHECKING:
    from caa_registry.models.folder.fingerprint import ModelInfo

# What no database takes: NUL, and halves of characters.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def check_numbers(found: ImportedVectors) -> None:
    """Raise ``UsageError`` for files that hold no vector at all."""
    if not all(numbers.size and numbers.ndim for numbers in found.directions.values()):
        raise UsageError(f"{found.files[0].name} holds no vector: {found.not_addable}", "Name the file of one.")


def store_imported(
    workspace: Workspace, name: str, found: ImportedVectors, model: ModelInfo | None, behavior: str, message: str = ""
) -> VectorVersion:
    """Store what the files say as a version of ``name``, or give the version that says the same. ``model``: which one
    the caller says that it is of; its width and layers are checked, and the run records who said so.

    Raises ``ModelMismatchError`` where it does not fit, or where the file claims something else.
    """
    if model is not None:
        check_model(found, model)
    origin = _origin(found, model, behavior)
    vectors = DirectionSet.of(LayerVector(layer, numbers) for layer, numbers in found.directions.items())
    making = Making("", model.fingerprint.digest if model else "", origin, vectors.tensor_digest)
    with workspace.database.read() as session:
        existing = find(session, name, making)
        if existing is not None:
            return vector_record(session, existing, existing=True)
        model_name = known_name(session, model) if model else ""
    names = _storable([Path(file.name).name for file in found.files])
    activity = Activity("import", workspace.actor, {"name": name, "files": names, "format": found.format, **found.said})
    stored = store_bytes(workspace.blobs, vectors, making, model_name)
    with workspace.database.write() as session:
        known = ensure_model(session, model)[0].id if model else None
        row, is_new = add(workspace, session, name, stored, None, known, message)
        if is_new:
            record_run(
                session,
                activity,
                inputs=[("model", known)] if known is not None else [],
                outputs=[("vector", row.id)],
                subject={"vector": f"{name}:v{row.number}", "digest": stored.digest},
            )
        return vector_record(session, row, existing=not is_new)


def _origin(found: ImportedVectors, model: ModelInfo | None, behavior: str) -> FileOrigin:
    n_layers = model.n_layers if model else found.claims.layers
    top = max(found.directions)
    if found.top_is_final_norm and n_layers is not None and top == n_layers - 1:
        found = replace(found, derived_at={**found.derived_at, top: FINAL_NORM})
    values = found.as_json()
    values["files"] = [file.sha256 for file in found.files]
    values["behavior"] = behavior
    return FileOrigin.from_json(_storable(values), found.files[0].name)


def check_model(found: ImportedVectors, model: ModelInfo) -> None:
    """Raise ``ModelMismatchError`` where ``model`` cannot be the model of what the files say."""
    claims, name = found.claims, found.files[0].name
    width = next(iter(found.directions.values())).shape[-1]
    check_shape(name, width, list(found.directions), model)
    if claims.layers is not None and claims.layers != model.n_layers:
        raise ModelMismatchError(
            f"{name} claims a model of {claims.layers} layers; {model.name} has {model.n_layers}",
            "Name the model that the vector is of, or leave --model out.",
        )
    fingerprint = claims.digests.get("model", "")
    if fingerprint and fingerprint != model.fingerprint.digest:
        raise ModelMismatchError(
            f"{name} claims the model with the fingerprint {fingerprint[:19]}; that of {model.name} is "
            f"{model.fingerprint.digest[:19]}",
            "Name the model that the vector is of, or leave --model out.",
        )


def _storable(value: Any) -> Any:
    """``value`` without what a database refuses within texts."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return value
