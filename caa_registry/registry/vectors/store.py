"""Versions of vectors in the catalogue: found by what they were made from, added whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from caa_registry.blobs.store import BlobStore, check_kept
from caa_registry.catalog import models as t
from caa_registry.catalog.events import append_event
from caa_registry.catalog.numbering import next_number
from caa_registry.digests import digest_object
from caa_registry.errors import UsageError
from caa_registry.references import check_new_name
from caa_registry.registry.models import ensure_model
from caa_registry.registry.provenance.runs import Activity, record_run
from caa_registry.registry.records import Reading, Recipe, VectorVersion
from caa_registry.registry.rows import LAYER, digest_of_parts, vector_record
from caa_registry.registry.vectors.computation import Computation
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.formats.safetensors_file import LayerPlace
    from caa_registry.vectors import VectorSet


@dataclass(frozen=True)
class Origin:
    """What a vector is made from: the pairs, the model, and how. Equal origins make one version of a name."""

    dataset_digest: str
    fingerprint: str
    recipe: Recipe

    @classmethod
    def of(cls, request: Computation) -> Origin:
        return cls(request.dataset.digest, request.model.info.fingerprint.digest, request.recipe)


@dataclass(frozen=True, eq=False)
class Stored:
    """Vectors whose bytes are in the blob store, and which no version names yet."""

    vectors: VectorSet
    origin: Origin
    digest: str
    blob: str
    places: Mapping[int, LayerPlace]


def store_bytes(blobs: BlobStore, vectors: VectorSet, origin: Origin, model_name: str) -> Stored:
    """Store the file of a version to come. The blob first: an orphan blob is allowed, a version without its bytes
    never."""
    from caa_registry.formats import safetensors_file
    from caa_registry.formats.safetensors_file import places

    identity = {
        "tensors": vectors.tensor_digest,
        "dataset": origin.dataset_digest,
        "model": origin.fingerprint,
        "recipe": origin.recipe.to_json(),
    }
    digest = digest_object("vector", identity)
    data = safetensors_file.write(vectors, {"digest": digest, "model_name": model_name, **identity})
    return Stored(vectors, origin, digest, blobs.put(data), places(data))


def find(session: Session, name: str, origin: Origin) -> t.VectorVersion | None:
    """The version of ``name`` that was made from the same. By content: the same pairs under another name are the
    same."""
    recipe = origin.recipe.to_json()
    return next((row for row in session.scalars(of_origin(name, origin)) if row.recipe == recipe), None)


def of_origin(name: str, origin: Origin) -> Select[t.VectorVersion]:
    """The versions of ``name`` that were made from the same pairs and model, by whatever recipe."""
    return (
        select(t.VectorVersion)
        .join(t.Vector, t.Vector.id == t.VectorVersion.vector_id)
        .join(t.Model, t.Model.id == t.VectorVersion.model_id)
        .join(t.DatasetVersion, t.DatasetVersion.id == t.VectorVersion.dataset_version_id)
        .where(
            t.Vector.name == name,
            t.DatasetVersion.digest == origin.dataset_digest,
            t.Model.fingerprint == origin.fingerprint,
            t.VectorVersion.deleted_at.is_(None),
        )
    )


def check_target(session: Session, name: str) -> None:
    """Raise ``UsageError`` unless a version of the vector ``name`` may be made: it exists, or the name is one that
    something new may have."""
    try:
        check_new_name(name)
    except UsageError:
        if session.scalar(select(t.Vector.id).where(t.Vector.name == name)) is None:
            raise


def add(
    workspace: Workspace, session: Session, name: str, stored: Stored, dataset_id: int, model_id: int
) -> tuple[t.VectorVersion, bool]:
    """The version of ``name`` in the caller's transaction, and whether it is new: another process may have made the
    same meanwhile, with other last digits where its BLAS differs, or the same was deleted and is there again."""
    owner = session.scalar(select(t.Vector).where(t.Vector.name == name).with_for_update())
    if owner is None:
        check_new_name(name)
        owner = t.Vector(name=name, created_at=datetime.now(UTC))
        session.add(owner)
        session.flush()
    existing = find(session, name, stored.origin)
    if existing is not None:
        return existing, False
    check_kept(workspace.blobs, stored.blob)
    deleted = session.scalar(
        select(t.VectorVersion).where(t.VectorVersion.vector_id == owner.id, t.VectorVersion.digest == stored.digest)
    )
    if deleted is not None:
        # The same again: its bytes were just stored.
        check_kept(workspace.blobs, deleted.blob_digest)
        pairs = session.get_one(t.DatasetVersion, deleted.dataset_version_id)
        if pairs.deleted_at is not None:
            of = session.get_one(t.Dataset, pairs.dataset_id).name
            raise UsageError(
                f"{name}:v{deleted.number}, which was deleted, has the same numbers, and is made from "
                f"{of}:v{pairs.number}, which is deleted too",
                f"First: caa undelete dataset:{of}:v{pairs.number}; or import its pairs as {of} again.",
            )
        deleted.deleted_at = None
        subject = {"vector": f"{name}:v{deleted.number}", "digest": deleted.digest}
        append_event(session, workspace.actor, "undelete", subject)
        return deleted, False
    rows = [
        t.VectorLayer(
            layer=vector.layer,
            offset=stored.places[vector.layer].offset,
            nbytes=stored.places[vector.layer].nbytes,
            sha256=vector.sha256,
            norm=vector.norm,
            residual_norm=vector.residual_norm,
            quality=vector.quality.as_json() if vector.quality else None,
        )
        for vector in stored.vectors.layers
    ]
    version = t.VectorVersion(
        vector_id=owner.id,
        number=next_number(session, t.VectorVersion, owner.id),
        digest=stored.digest,
        tensor_digest=stored.vectors.tensor_digest,
        dataset_version_id=dataset_id,
        model_id=model_id,
        recipe=stored.origin.recipe.to_json(),
        blob_digest=stored.blob,
        d_model=stored.vectors.d_model,
        layers_digest=digest_of_parts("vector_layer", LAYER, rows),
        created_at=datetime.now(UTC),
    )
    session.add(version)
    session.flush()
    for row in rows:
        row.version_id = version.id
    session.add_all(rows)
    session.flush()
    return version, True


def store(
    workspace: Workspace, name: str, request: Computation, vectors: VectorSet, reading: Reading, activity: Activity
) -> VectorVersion:
    """Write what was computed as a version of ``name``: its bytes, then rows, run and audit event together."""
    origin = Origin.of(request)
    with workspace.database.read() as session:
        # As the registry calls the model: the same vector has the same bytes, wherever the model's folder is now.
        known = session.scalar(select(t.Model.name).where(t.Model.fingerprint == origin.fingerprint))
    stored = store_bytes(workspace.blobs, vectors, origin, known or request.model.info.name)
    with workspace.database.write() as session:
        model, _ = ensure_model(session, request.model.info)
        row, is_new = add(workspace, session, name, stored, request.dataset.id, model.id)
        if is_new:
            record_run(
                session,
                replace(activity, parameters={**activity.parameters, "reading": reading.to_json()}),
                inputs=[("dataset", request.dataset.id), ("model", model.id)],
                outputs=[("vector", row.id)],
                subject={"vector": f"{name}:v{row.number}", "digest": stored.digest},
            )
        return replace(vector_record(session, row, existing=not is_new), reading=reading)
