"""Vectors in the registry: compute, store, read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.numbering import next_number
from caa_registry.digests import digest_bytes, digest_object
from caa_registry.errors import InputError, IntegrityError, UsageError
from caa_registry.progress import Progress, silent
from caa_registry.references import check_name, ranges
from caa_registry.registry.datasets import check_split
from caa_registry.registry.models import ensure_model
from caa_registry.registry.records import Comparison, DatasetVersion, VectorVersion
from caa_registry.registry.resolve import find_version, vector_record
from caa_registry.registry.runs import Activity, record_run
from caa_registry.vectors.read_position import ReadPosition, check_read

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.models.prompts import TemplateName
    from caa_registry.registry.registry import Registry
    from caa_registry.vectors.vector_set import LayerVector, VectorSet

Method = Literal["mean-difference"]
METHODS: tuple[Method, ...] = ("mean-difference",)


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
    ) -> VectorVersion:
        """Compute vectors from the pairs of a dataset and store them as a new version of ``name``.

        ``split`` defaults to ``generate``, or to the only split there is. ``read`` defaults to ``answer`` for letters
        and Yes/No, ``last`` for free text; ``template`` to the model's chat template, else ``plain``. The same recipe
        under the same name returns the version that exists, and nothing is computed; with ``force`` all is computed
        again and the version comes back with a ``comparison`` of the two.

        Nothing is written before all is computed; the version then appears whole or not at all.
        """
        check_name(name)
        plan = self._plan(dataset, model, split, method, read, layers, template)
        existing = self._same_recipe(name, plan)
        if existing is not None and not force:
            return existing
        activity = Activity("compute", self._registry.actor, {"name": name, **plan.recipe})
        vectors = plan.run(progress)
        if existing is not None:
            return replace(existing, comparison=_compare(self.load(existing), vectors))
        return self._store(name, plan, vectors, activity)

    def get(self, reference: str | VectorVersion) -> VectorVersion:
        """The version that ``reference`` names."""
        if isinstance(reference, VectorVersion):
            return reference
        with self._registry.database.read() as session:
            return vector_record(session, find_version(session, reference, "vector"))

    def ls(self) -> list[VectorVersion]:
        """The newest version of every vector, by name."""
        newest = (
            select(func.max(t.VectorVersion.id))
            .where(t.VectorVersion.deleted_at.is_(None))
            .group_by(t.VectorVersion.vector_id)
        )
        query = (
            select(t.VectorVersion)
            .join(t.Vector, t.Vector.id == t.VectorVersion.vector_id)
            .where(t.VectorVersion.id.in_(newest))
            .order_by(t.Vector.name)
        )
        with self._registry.database.read() as session:
            return [vector_record(session, row) for row in session.scalars(query)]

    def load(self, reference: str | VectorVersion) -> VectorSet:
        """All layers of a version, checked against every digest. Raises ``IntegrityError`` where one does not fit."""
        from caa_registry.vectors.formats.safetensors_file import from_bytes
        from caa_registry.vectors.vector_set import LayerVector, VectorSet

        version = self.get(reference)
        stored = from_bytes(self._registry.blobs.get(version.blob))
        if stored.tensor_digest != version.tensor_digest:
            raise IntegrityError(f"the numbers stored for {version.reference} are not those that were computed")
        norms = {record.layer: record.residual_norm for record in version.layers}
        return VectorSet.of(LayerVector(v.layer, v.values, norms[v.layer]) for v in stored.layers)

    def layer(self, reference: str | VectorVersion, layer: int) -> LayerVector:
        """One layer of a version: one range read, checked against the layer's own digest."""
        from caa_registry.vectors.vector_set import LayerVector

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

    def _plan(
        self,
        dataset: str | DatasetVersion,
        model: str | Path | Model,
        split: str | None,
        method: Method,
        read: ReadPosition | None,
        layers: Sequence[int] | Literal["all"],
        template: TemplateName | None,
    ) -> _Plan:
        from caa_registry.vectors.mean_difference import mean_difference
        from caa_registry.vectors.reading import default_read, encode_pairs

        if method not in METHODS:
            raise UsageError(f"there is no method {method!r}", f"Choose one of {', '.join(METHODS)}.")
        if read is not None:
            check_read(read)
        version = self._registry.datasets.get(dataset)
        chosen_split = split or default_split(version)
        check_split(version, chosen_split)
        pairs = [item.pair for item in self._registry.datasets.pairs(version, chosen_split)]
        loaded = self._registry.models.load(model) if isinstance(model, str | Path) else model
        wanted = list(range(loaded.n_layers)) if layers == "all" else sorted(set(layers))
        if not wanted:
            raise UsageError("no layer is given", "For example --layers 0-3,7, or all.")
        loaded.check_layers(wanted)
        rendered = loaded.template(template)
        position = read or default_read(pairs)
        kept, too_long = encode_pairs(pairs, rendered, loaded)
        if not kept:
            raise InputError(
                f"all {len(pairs)} pairs of {version.reference} are longer than the {loaded.info.context_length} "
                f"tokens that {loaded.info.name} reads",
                "Choose shorter pairs or a model with a longer context.",
            )
        recipe = {
            "method": method,
            "split": chosen_split,
            "read": position,
            "template": rendered.name,
            "template_digest": rendered.digest,
            "layers": wanted,
            "dtype": loaded.dtype,
            "pairs": len(kept),
            "skipped_too_long": len(too_long),
        }
        return _Plan(
            version, loaded, recipe, lambda progress: mean_difference(loaded, kept, wanted, position, progress)
        )

    def _same_recipe(self, name: str, plan: _Plan) -> VectorVersion | None:
        with self._registry.database.read() as session:
            row = self._find_recipe(session, name, plan)
            return vector_record(session, row, existing=True) if row else None

    @staticmethod
    def _find_recipe(session: Session, name: str, plan: _Plan) -> t.VectorVersion | None:
        query = (
            select(t.VectorVersion)
            .join(t.Vector, t.Vector.id == t.VectorVersion.vector_id)
            .join(t.Model, t.Model.id == t.VectorVersion.model_id)
            .join(t.DatasetVersion, t.DatasetVersion.id == t.VectorVersion.dataset_version_id)
            .where(
                t.Vector.name == name,
                # By content: the same pairs under another name give the same vector.
                t.DatasetVersion.digest == plan.dataset.digest,
                t.Model.fingerprint == plan.model.info.fingerprint.digest,
                t.VectorVersion.deleted_at.is_(None),
            )
        )
        return next((row for row in session.scalars(query) if row.recipe == plan.recipe), None)

    def _store(self, name: str, plan: _Plan, vectors: VectorSet, activity: Activity) -> VectorVersion:
        from caa_registry.vectors.formats.safetensors_file import places, to_bytes

        identity = {
            "tensors": vectors.tensor_digest,
            "dataset": plan.dataset.digest,
            "model": plan.model.info.fingerprint.digest,
            "recipe": plan.recipe,
        }
        digest = digest_object("vector", identity)
        data = to_bytes(vectors, {"digest": digest, "model_name": plan.model.info.name, **identity})
        where = places(data)
        # The blob first: an orphan blob is allowed, a version without its bytes never.
        blob = self._registry.blobs.put(data)
        with self._registry.database.write() as session:
            owner = session.scalar(select(t.Vector).where(t.Vector.name == name).with_for_update())
            if owner is None:
                owner = t.Vector(name=name, created_at=datetime.now(UTC))
                session.add(owner)
                session.flush()
            # Another process may have computed the same meanwhile, with other last digits where its BLAS differs.
            found = self._find_recipe(session, name, plan)
            if found is not None:
                return vector_record(session, found, existing=True)
            model, _ = ensure_model(session, plan.model.info)
            version = t.VectorVersion(
                vector_id=owner.id,
                number=next_number(session, t.VectorVersion, owner.id),
                digest=digest,
                tensor_digest=vectors.tensor_digest,
                dataset_version_id=plan.dataset.id,
                model_id=model.id,
                recipe=dict(plan.recipe),
                blob_digest=blob,
                d_model=vectors.d_model,
                created_at=datetime.now(UTC),
            )
            session.add(version)
            session.flush()
            session.add_all(
                t.VectorLayer(
                    version_id=version.id,
                    layer=vector.layer,
                    offset=where[vector.layer].offset,
                    nbytes=where[vector.layer].nbytes,
                    sha256=vector.sha256,
                    norm=vector.norm,
                    residual_norm=vector.residual_norm,
                )
                for vector in vectors.layers
            )
            record_run(
                session,
                activity,
                inputs=[("dataset", plan.dataset.id), ("model", model.id)],
                outputs=[("vector", version.id)],
                subject={"vector": f"{name}:v{version.number}", "digest": digest},
            )
            return vector_record(session, version)


@dataclass(frozen=True)
class _Plan:
    dataset: DatasetVersion
    model: Model
    recipe: Mapping[str, Any]
    run: Callable[[Progress], VectorSet]


def default_split(version: DatasetVersion) -> str:
    """``generate``, or the only split there is. Raises ``UsageError`` where the choice is open."""
    if "generate" in version.splits:
        return "generate"
    if len(version.splits) == 1:
        return next(iter(version.splits))
    raise UsageError(f"{version.reference} has no split 'generate'", f"Choose a split: {', '.join(version.splits)}.")


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
