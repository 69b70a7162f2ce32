"""Vectors in the registry: compute, store, read back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from sqlalchemy import func, select

from caa_registry.catalog import models as t
from caa_registry.digests import digest_bytes
from caa_registry.engine.processes import wait_for_all
from caa_registry.errors import IntegrityError, RegistryError, UsageError
from caa_registry.extraction.methods import Method
from caa_registry.models.read_position import ReadPosition
from caa_registry.progress import Progress, silent
from caa_registry.references import check_name, ranges
from caa_registry.registry.evaluations.evidence import Evidence, Statistic, best
from caa_registry.registry.lookup import find_version, vector_record
from caa_registry.registry.models import ensure_model
from caa_registry.registry.provenance.recalls import mark_vectors
from caa_registry.registry.provenance.runs import Activity, record_run
from caa_registry.registry.records import Comparison, DatasetVersion, Reading, VectorVersion
from caa_registry.registry.vectors.computation import Plan, plan
from caa_registry.registry.vectors.normalize import DEFAULT_SUFFIX, normalize
from caa_registry.registry.vectors.steering import check_model
from caa_registry.registry.vectors.store import Origin, add, find, store_bytes

if TYPE_CHECKING:
    from caa_registry.evaluation.token_projection import TokenProjection
    from caa_registry.models.model import Model
    from caa_registry.models.prompts import TemplateName
    from caa_registry.registry.registry import Registry
    from caa_registry.vectors import LayerVector, VectorSet


class Vectors:
    """The steering vectors of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def compute(
        self,
        name: str,
        *,
        dataset: str | DatasetVersion,
        model: str | Path | Model,
        split: str | None = None,
        method: Method = "mean-difference",
        read: ReadPosition | None = None,
        layers: Sequence[int] | Literal["all"] = "all",
        template: TemplateName | None = None,
        force: bool = False,
        progress: Progress = silent,
        measuring: Progress = silent,
    ) -> VectorVersion:
        """Compute vectors from the pairs of a dataset and store them as a new version of ``name``.

        ``method``: ``mean-difference`` (the paper), ``pca``, ``logistic`` or ``lda`` (``extraction/estimators``).
        ``split`` defaults to ``generate``, or to the only split there is. ``read`` defaults to ``answer`` for letters
        and Yes/No, ``last`` for free text; ``template`` to the model's chat template, else ``plain``. The same recipe
        under the same name returns the version that exists, and nothing is computed; with ``force`` all is read and
        computed again and the version comes back with a ``comparison`` of the two.

        Activations are kept in a cache on disk (``settings.activation_cache``): another method on the same pairs reads
        none of them again, and what was interrupted goes on where it was. ``progress`` counts activations,
        ``measuring`` the layers whose vectors are made and measured. Nothing is written to the registry before all is
        computed; the version then appears whole or not at all.

        In processes that ``mlx.launch`` or MPI started, each reads a part of the pairs and the first stores the
        version. All of them must reach the registry.
        """
        check_name(name)
        made = plan(self._registry, dataset, model, split, method, read, layers, template)
        origin = Origin(made.dataset.digest, made.model.info.fingerprint.digest, made.recipe)
        existing = self._find(name, origin)
        if existing is not None and not force:
            return existing
        activity = Activity("compute", self._registry.actor, {"name": name, **made.recipe.to_json()})
        vectors, reading = made.run(fresh=force, reading=progress, measuring=measuring)
        try:
            if vectors is None:
                stored = None
            elif existing is not None:
                stored = replace(existing, reading=reading, comparison=_compare(self.load(existing), vectors))
            else:
                stored = self._store(name, made, origin, vectors, reading, activity)
        finally:
            wait_for_all()
        # Of several processes only the first stores; the others find it there.
        stored = stored or self._find(name, origin)
        if stored is None:
            raise RegistryError("the first process stored no version", "Its own message says why.")
        return stored

    def normalize(self, vectors: Sequence[str | VectorVersion], *, suffix: str = DEFAULT_SUFFIX) -> list[VectorVersion]:
        """The paper's normalization of several behaviors: every layer of each at the mean norm of that layer over all.

        Each result is a version of the vector's name with ``suffix``, with the same pairs and model and one common
        run. The same vectors again give the versions that exist. Raises ``UsageError`` for fewer than two vectors,
        and for different models or layers.
        """
        return normalize(self._registry, vectors, suffix)

    def get(self, reference: str | VectorVersion) -> VectorVersion:
        """The version that ``reference`` names."""
        if isinstance(reference, VectorVersion):
            return reference
        with self._registry.database.read() as session:
            (version,) = mark_vectors(session, [vector_record(session, find_version(session, reference, "vector"))])
        return version

    def ls(
        self, *, behavior: str | None = None, model: str | None = None, all_versions: bool = False
    ) -> list[VectorVersion]:
        """The newest version of every vector, or all versions, by name: those for a behavior, and on a model (its name,
        or the beginning of its fingerprint)."""
        newest = (
            select(func.max(t.VectorVersion.id))
            .where(t.VectorVersion.deleted_at.is_(None))
            .group_by(t.VectorVersion.vector_id)
        )
        query = (
            select(t.VectorVersion)
            .join(t.Vector, t.Vector.id == t.VectorVersion.vector_id)
            .where(t.VectorVersion.deleted_at.is_(None) if all_versions else t.VectorVersion.id.in_(newest))
            .order_by(t.Vector.name, t.VectorVersion.number)
        )
        with self._registry.database.read() as session:
            found = mark_vectors(session, [vector_record(session, row) for row in session.scalars(query)])
        return [
            version
            for version in found
            if (behavior is None or version.behavior == behavior)
            and (model is None or model == version.model.name or _begins(version.model.fingerprint.digest, model))
        ]

    def evidence(self, vectors: Sequence[VectorVersion], metric: Statistic = "steerability") -> dict[str, Evidence]:
        """By digest of each of ``vectors`` what its newest evaluation says. See ``registry.evidence.best``."""
        return best(self._registry, vectors, metric)

    def load(self, reference: str | VectorVersion) -> VectorSet:
        """All layers of a version, checked against every digest. Raises ``IntegrityError`` where one does not fit."""
        from caa_registry.formats.safetensors_file import from_bytes
        from caa_registry.vectors import LayerVector, VectorSet

        version = self.get(reference)
        stored = from_bytes(self._registry.blobs.get(version.blob))
        if stored.tensor_digest != version.tensor_digest:
            raise IntegrityError(f"the numbers stored for {version.reference} are not those that were computed")
        known = {record.layer: record for record in version.layers}
        return VectorSet.of(
            LayerVector(v.layer, v.values, known[v.layer].residual_norm, known[v.layer].quality) for v in stored.layers
        )

    def layer(self, reference: str | VectorVersion, layer: int) -> LayerVector:
        """One layer of a version: one range read, checked against the layer's own digest."""
        from caa_registry.vectors import LayerVector

        version = self.get(reference)
        if layer not in version.layer_numbers:
            raise UsageError(
                f"{version.reference} has no layer {layer}", f"Its layers are {ranges(version.layer_numbers)}."
            )
        with self._registry.database.read() as session:
            row = session.get_one(t.VectorLayer, (version.id, layer))
        data = self._registry.blobs.read_range(version.blob, row.offset, row.nbytes)
        if digest_bytes(data) != row.sha256:
            raise IntegrityError(
                f"layer {layer} of {version.reference} does not match its digest", "Restore the registry from a backup."
            )
        return LayerVector(layer, np.frombuffer(data, dtype="<f4").astype(np.float32), row.residual_norm)

    def tokens(
        self,
        vector: str | VectorVersion,
        model: Model,
        prompt: str,
        *,
        completion: str = "",
        layer: int,
        template: TemplateName | None = None,
    ) -> list[TokenProjection]:
        """How far each token of a prompt, and of a completion after it, points along the vector of ``layer``.

        Raises ``ModelMismatchError`` for another model than the vector's own."""
        from caa_registry.evaluation.token_projection import token_projections

        version = self.get(vector)
        check_model(version, model, allow_mismatch=False)
        rendered = model.template(template or version.recipe.template)
        return token_projections(model, rendered, prompt, completion, layer, self.layer(version, layer).values)

    def _find(self, name: str, origin: Origin) -> VectorVersion | None:
        with self._registry.database.read() as session:
            row = find(session, name, origin)
            return vector_record(session, row, existing=True) if row else None

    def _store(
        self, name: str, made: Plan, origin: Origin, vectors: VectorSet, reading: Reading, activity: Activity
    ) -> VectorVersion:
        stored = store_bytes(self._registry.blobs, vectors, origin, made.model.info.name)
        with self._registry.database.write() as session:
            model, _ = ensure_model(session, made.model.info)
            row, new = add(session, name, stored, made.dataset.id, model.id)
            if new:
                record_run(
                    session,
                    replace(activity, parameters={**activity.parameters, "reading": asdict(reading)}),
                    inputs=[("dataset", made.dataset.id), ("model", model.id)],
                    outputs=[("vector", row.id)],
                    subject={"vector": f"{name}:v{row.number}", "digest": stored.digest},
                )
            return replace(vector_record(session, row, existing=not new), reading=reading)


def _begins(digest: str, beginning: str) -> bool:
    wanted = beginning.removeprefix("sha256:")
    return len(wanted) >= 8 and digest.removeprefix("sha256:").startswith(wanted)


def _compare(stored: VectorSet, computed: VectorSet) -> Comparison:
    largest = max(vector.norm for vector in stored.layers) or 1.0
    difference = 0.0
    cosine = 1.0
    for old, new in zip(stored.layers, computed.layers, strict=True):
        a, b = old.values.astype(np.float64), new.values.astype(np.float64)
        difference = max(difference, float(np.abs(a - b).max()) / largest)
        norms = float(np.linalg.norm(a) * np.linalg.norm(b))
        # Where both sides are the same text up to a layer, its vector is zero and has no direction.
        if norms > 0:
            cosine = min(cosine, float(a @ b) / norms)
    return Comparison(difference, cosine)
