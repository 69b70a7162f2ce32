"""Versions of vectors in the catalogue: found by what they were made from, added whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from caa_registry.blobs.store import BlobStore, check_kept
from caa_registry.catalog import models as t
from caa_registry.catalog.events import append_event
from caa_registry.catalog.numbering import next_number
from caa_registry.catalog.search import entries
from caa_registry.digests import digest_object
from caa_registry.errors import UsageError
from caa_registry.references import check_new_name
from caa_registry.registry.models import ensure_model
from caa_registry.registry.provenance.lineage import deleted_sources
from caa_registry.registry.provenance.runs import Activity, record_run
from caa_registry.registry.records import Origin, Reading, Recipe, VectorVersion
from caa_registry.registry.rows import LAYER, digest_of_parts, vector_identity, vector_record
from caa_registry.registry.vectors.computation import Computation
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.formats.safetensors_file import LayerPlace
    from caa_registry.models.folder.fingerprint import ModelInfo
    from caa_registry.vectors import DirectionSet, VectorSet


@dataclass(frozen=True)
class Making:
    """What a vector is made from. Equal ones make one version of a name.

    Of one that is computed: the digest of its pairs, the fingerprint of its model, and its recipe. Of any other: its
    origin, the digest of its numbers, and the fingerprint where its model is known; ``dataset_digest`` is empty.
    """

    dataset_digest: str
    fingerprint: str
    how: Recipe | Origin
    tensors: str = ""

    @classmethod
    def of(cls, request: Computation) -> Making:
        return cls(request.dataset.digest, request.model.info.fingerprint.digest, request.recipe)

    @property
    def recipe(self) -> dict[str, Any] | None:
        """The JSON of the recipe, where there is one."""
        return self.how.to_json() if isinstance(self.how, Recipe) else None

    @property
    def origin(self) -> dict[str, Any] | None:
        """The JSON of the origin, where there is one."""
        return None if isinstance(self.how, Recipe) else self.how.to_json()


@dataclass(frozen=True, eq=False)
class Stored:
    """Vectors whose bytes are in the blob store, and which no version names yet."""

    vectors: DirectionSet
    making: Making
    digest: str
    blob: str
    places: Mapping[int, LayerPlace]


def store_bytes(blobs: BlobStore, vectors: DirectionSet, making: Making, model_name: str) -> Stored:
    """Store the file of a version to come. The blob first: an orphan blob is allowed, a version without its bytes
    never."""
    from caa_registry.formats import safetensors_file
    from caa_registry.formats.safetensors_file import places

    identity = vector_identity(
        vectors.tensor_digest, making.dataset_digest, making.fingerprint, making.recipe, making.origin
    )
    digest = digest_object("vector", identity)
    data = safetensors_file.write(vectors, {"digest": digest, "model_name": model_name, **identity})
    return Stored(vectors, making, digest, blobs.put(data), places(data))


def find(session: Session, name: str, making: Making) -> t.VectorVersion | None:
    """The version of ``name`` that was made from the same. By content: the same pairs under another name are the
    same."""
    recipe, origin = making.recipe, making.origin
    rows = session.scalars(made_from(name, making))
    same = (row for row in rows if (row.recipe, row.origin) == (recipe, origin))
    return next((row for row in same if not making.tensors or row.tensor_digest == making.tensors), None)


def made_from(name: str, making: Making) -> Select[t.VectorVersion]:
    """The versions of ``name`` that were made from the same pairs and model, by whatever recipe; of those with an
    origin, the versions of the same model."""
    version = t.VectorVersion
    return (
        select(version)
        .join(t.Vector, t.Vector.id == version.vector_id)
        .outerjoin(t.Model, t.Model.id == version.model_id)
        .outerjoin(t.DatasetVersion, t.DatasetVersion.id == version.dataset_version_id)
        .where(
            t.Vector.name == name,
            func.coalesce(t.DatasetVersion.digest, "") == making.dataset_digest,
            func.coalesce(t.Model.fingerprint, "") == making.fingerprint,
            version.deleted_at.is_(None),
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
    workspace: Workspace,
    session: Session,
    name: str,
    stored: Stored,
    dataset_id: int | None,
    model_id: int | None,
    message: str = "",
) -> tuple[t.VectorVersion, bool]:
    """The version of ``name`` in the caller's transaction, and whether it is new: another process may have made the
    same meanwhile, with other last digits where its BLAS differs, or the same was deleted and is there again."""
    owner = owner_of(session, name)
    existing = find(session, name, stored.making)
    if existing is not None:
        return existing, False
    check_kept(workspace.blobs, stored.blob)
    deleted = session.scalar(
        select(t.VectorVersion).where(t.VectorVersion.vector_id == owner.id, t.VectorVersion.digest == stored.digest)
    )
    if deleted is not None:
        # The same again: its bytes were just stored.
        check_kept(workspace.blobs, deleted.blob_digest)
        sources = deleted_sources(session, [("vector", deleted.id)])
        if sources:
            raise UsageError(
                f"{name}:v{deleted.number}, which was deleted, has the same numbers, and was made from "
                f"{', '.join(sources)}, which is deleted too",
                f"First: {'; '.join(f'caa undelete {source}' for source in sources)}; or make that again.",
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
        digest=stored.digest,
        tensor_digest=stored.vectors.tensor_digest,
        dataset_version_id=dataset_id,
        model_id=model_id,
        recipe=stored.making.recipe,
        origin=stored.making.origin,
        blob_digest=stored.blob,
        d_model=stored.vectors.d_model,
        message=message or None,
        actor=workspace.actor,
        created_at=datetime.now(UTC),
    )
    add_rows(session, version, rows)
    return version, True


def owner_of(session: Session, name: str) -> t.Vector:
    """The vector of that name, made where there is none. Raises ``UsageError`` for a name that nothing new may have."""
    owner = session.scalar(select(t.Vector).where(t.Vector.name == name))
    if owner is None:
        check_new_name(name)
        owner = t.Vector(name=name, created_at=datetime.now(UTC))
        session.add(owner)
        session.flush()
    return owner


def add_rows(session: Session, version: t.VectorVersion, rows: Sequence[t.VectorLayer]) -> None:
    """Add ``version`` as the next of its vector, with the rows of its layers."""
    version.number = next_number(session, t.VectorVersion, version.vector_id)
    version.layers_digest = digest_of_parts("vector_layer", LAYER, rows)
    session.add(version)
    session.flush()
    for row in rows:
        row.version_id = version.id
    session.add_all(rows)
    entries.refresh(session, "vector", t.VectorVersion.id == version.id)


def known_name(session: Session, model: ModelInfo) -> str:
    """What the registry calls a model: the same vector has the same bytes, wherever the model's folder is now."""
    name = session.scalar(select(t.Model.name).where(t.Model.fingerprint == model.fingerprint.digest))
    return name or model.name


def store(
    workspace: Workspace,
    name: str,
    request: Computation,
    vectors: VectorSet,
    reading: Reading,
    activity: Activity,
    message: str = "",
) -> VectorVersion:
    """Write what was computed as a version of ``name``: its bytes, then rows, run and audit event together."""
    making = Making.of(request)
    with workspace.database.read() as session:
        known = known_name(session, request.model.info)
    stored = store_bytes(workspace.blobs, vectors, making, known)
    with workspace.database.write() as session:
        model, _ = ensure_model(session, request.model.info)
        row, is_new = add(workspace, session, name, stored, request.dataset.id, model.id, message)
        if is_new:
            record_run(
                session,
                replace(activity, parameters={**activity.parameters, "reading": reading.to_json()}),
                inputs=[("dataset", request.dataset.id), ("model", model.id)],
                outputs=[("vector", row.id)],
                subject={"vector": f"{name}:v{row.number}", "digest": stored.digest},
            )
        return replace(vector_record(session, row, existing=not is_new), reading=reading)
