"""Vectors that are in the registry: found, listed, read and written for other tools.

A listing needs little of this, so what one method needs is imported by that method.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from caa_registry.catalog import models as t
from caa_registry.catalog.filters import of_model, of_vector_behavior, tagged
from caa_registry.errors import UsageError
from caa_registry.registry.lookup import find_version
from caa_registry.registry.provenance import deprecations
from caa_registry.registry.provenance.recalls import mark_vectors
from caa_registry.registry.records import Listing, VectorVersion, check_limit
from caa_registry.registry.rows import vector_record, vector_records
from caa_registry.registry.workspace import Workspace
from caa_registry.wording import named_layers

if TYPE_CHECKING:
    from caa_registry.evaluation.token_projection import TokenProjection
    from caa_registry.models.model import Model
    from caa_registry.models.rendering.prompts import TemplateName
    from caa_registry.registry.records import LayerNearness, Similar
    from caa_registry.registry.vectors.algebra.similar import LayerRows
    from caa_registry.vectors import DirectionSet, LayerVector, VectorSet

_log = logging.getLogger(__name__)


class StoredVectors:
    """The vectors that a registry has."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._near: LayerRows | None = None

    def get(self, reference: str | VectorVersion) -> VectorVersion:
        """The version that ``reference`` names."""
        if isinstance(reference, VectorVersion):
            return reference
        with self._workspace.database.read() as session:
            (version,) = mark_vectors(session, [vector_record(session, find_version(session, reference, "vector"))])
            (version,) = deprecations.marked(session, "vector", [version])
        deprecations.warn(version)
        return version

    def ls(
        self,
        *,
        behavior: str | None = None,
        model: str | None = None,
        tags: Mapping[str, str] | None = None,
        all_versions: bool = False,
        limit: int | None = None,
    ) -> Listing[VectorVersion]:
        """The newest version of every vector, or all versions, by name; the first ``limit`` of them.

        ``behavior``: only vectors for that behavior; ``model``: only vectors computed on that model (its name, or the
        beginning of its fingerprint); ``tags``: only versions that have all of these. Of a name the newest version that
        fits is given.
        """
        check_limit(limit)
        version = t.VectorVersion
        query = select(version.id).where(version.deleted_at.is_(None), tagged(tags, version))
        if behavior is not None:
            query = (
                query.outerjoin(t.DatasetVersion, t.DatasetVersion.id == version.dataset_version_id)
                .outerjoin(t.Dataset, t.Dataset.id == t.DatasetVersion.dataset_id)
                .where(of_vector_behavior(behavior))
            )
        if model is not None:
            query = query.where(version.model_id.in_(select(t.Model.id).where(of_model(model))))
        if not all_versions:
            query = query.with_only_columns(func.max(version.id)).group_by(version.vector_id)
        page = query
        if limit is not None:
            page = (
                select(version.id)
                .join(t.Vector, t.Vector.id == version.vector_id)
                .where(version.id.in_(query))
                .order_by(t.Vector.name, version.number)
                .limit(limit)
            )
        with self._workspace.database.read() as session:
            versions = mark_vectors(session, vector_records(session, page))
            versions = deprecations.marked(session, "vector", versions)
            total = len(versions)
            if limit is not None:
                total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
        return Listing(tuple(versions), total)

    def log(self, name: str) -> Listing[VectorVersion]:
        """The versions of a vector, newest first."""
        with self._workspace.database.read() as session:
            vector = find_version(session, name, "vector").vector_id
            version = t.VectorVersion
            ids = select(version.id).where(version.vector_id == vector, version.deleted_at.is_(None))
            versions = mark_vectors(session, vector_records(session, ids))
            versions = deprecations.marked(session, "vector", versions)
        return Listing.whole(versions[::-1])

    def load(self, reference: str | VectorVersion) -> VectorSet:
        """All layers of a version, checked against every digest. Raises ``IntegrityError`` where one does not fit."""
        from caa_registry.registry.vectors.tensors import load_set

        return load_set(self._workspace.blobs, self.get(reference))

    def directions(self, reference: str | VectorVersion) -> DirectionSet:
        """As ``load``, also of a version with several directions a layer, which is kept and never added."""
        from caa_registry.registry.vectors.tensors import load_directions

        return load_directions(self._workspace.blobs, self.get(reference))

    def layer(self, reference: str | VectorVersion, layer: int) -> LayerVector:
        """One layer of a version: one range read, checked against the layer's own digest."""
        from caa_registry.registry.vectors.tensors import load_layer

        return load_layer(self._workspace, self.get(reference), layer)

    def tokens(
        self,
        vector: str | VectorVersion,
        model: Model,
        prompt: str,
        *,
        completion: str = "",
        layer: int,
        template: TemplateName | None = None,
    ) -> Listing[TokenProjection]:
        """How far each token of a prompt, and of a completion after it, points along the vector of ``layer``.

        Raises ``ModelMismatchError`` for another model than the vector's own."""
        from caa_registry.evaluation.token_projection import token_projections
        from caa_registry.registry.vectors.steering import check_model

        version = self.get(vector)
        check_model(version, model, allow_mismatch=False)
        rendered = model.template(template or version.template)
        values = self.layer(version, layer).values
        return Listing.whole(token_projections(model, rendered, prompt, completion, layer, values))

    def similar(self, reference: str | VectorVersion, *, layer: int | None = None, limit: int = 20) -> Listing[Similar]:
        """The versions of any vector of the same model nearest to one at ``layer``, by the size of the cosine, those
        that point the other way too; by default at its only layer.

        The rows of that layer stay in memory with this registry, 4 bytes a number, until another layer or model is
        asked for: asked again, only what is new is read. Raises ``UsageError`` where the layer is open or not there.
        """
        from caa_registry.registry.vectors.algebra.similar import similar

        check_limit(limit)
        version = self.get(reference)
        if layer is None and len(version.layers) > 1:
            raise UsageError(
                f"{version.reference} has {named_layers(version.layer_numbers)}", "Say which to compare: --layer."
            )
        at = version.layer_numbers[0] if layer is None else layer
        found, self._near = similar(self._workspace, version, at, limit, self._near)
        return Listing.whole(found)

    def compare(
        self, one: str | VectorVersion, other: str | VectorVersion, *, transfer: bool = False
    ) -> Listing[LayerNearness]:
        """Two versions of one model at every layer that both have: the cosine, and how long each is. ``transfer``: also
        of two quantizations of one model. Raises ``ModelMismatchError`` for other models, ``UsageError`` where they
        have no layer in common."""
        from caa_registry.registry.vectors.algebra.similar import compared

        return Listing.whole(compared(self._workspace, self.get(one), self.get(other), transfer=transfer))

    def export(
        self,
        reference: str | VectorVersion,
        path: Path,
        *,
        format: str | None = None,
        layers: Sequence[int] | None = None,
        multiplier: float = 1.0,
        force: bool = False,
    ) -> list[Path]:
        """Write a version to ``path`` for another tool, and give the files written; whole or not at all.

        ``format``: a name in ``formats.format.FORMATS``, else by the suffix of ``path``. ``layers``: which (default:
        all). ``multiplier``: what every number is multiplied by. Where a format has a file a layer, ``path`` is a
        folder for several. The reference and the digests of the version stand in the file where the format has room
        for them.

        Raises ``UsageError`` for what the format cannot hold, a layer that is not there, a version that must not be
        added, and a file that exists, unless ``force`` is set; ``WriteError``.
        """
        from caa_registry.registry.vectors.export import export

        return export(self._workspace, self.get(reference), path, format, layers, multiplier, force=force)


def noted(version: VectorVersion, message: str) -> VectorVersion:
    """``version``; where it was there already, without the message that was given, that is told."""
    if version.existing and message and message != version.message:
        _log.warning(
            "%s was there already, and keeps %s. To say more: caa describe vector:%s --text ...",
            version.reference,
            f"the message {version.message!r}" if version.message else "no message",
            version.name,
        )
    return version
