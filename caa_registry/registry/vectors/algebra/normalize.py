"""Several behaviors at one strength: the normalization of the CAA paper's experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from caa_registry.catalog import models as t
from caa_registry.errors import UsageError
from caa_registry.references import check_name
from caa_registry.registry.provenance.runs import Activity, record_run
from caa_registry.registry.records import VectorVersion
from caa_registry.registry.records.recipe import Normalized
from caa_registry.registry.rows import vector_record
from caa_registry.registry.vectors.store import Making, add, find, store_bytes
from caa_registry.registry.vectors.tensors import load_set
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.vectors import VectorSet


def normalized(sets: Sequence[VectorSet]) -> list[VectorSet]:
    """Each set with every layer at the mean norm of that layer over all sets::

        v_b  ->  v_b * (1/B * sum over b' of |v_b'|) / |v_b|

    as ``normalize_vectors.py`` of the paper's repository does (Rimsky et al., ACL 2024), so that one multiplier means
    one strength for all behaviors. Layers are not normalized among each other. A zero vector stays zero.
    """
    import numpy as np

    means = {layer: float(np.mean([s[layer].norm for s in sets])) for layer in sets[0].layer_numbers}
    return [
        type(vectors).of(
            replace(v, values=(v.values.astype(np.float64) * (means[v.layer] / v.norm)).astype(np.float32))
            if v.norm > 0
            else v
            for v in vectors.layers
        )
        for vectors in sets
    ]


def normalize(
    workspace: Workspace, versions: Sequence[VectorVersion], suffix: str, message: str
) -> list[VectorVersion]:
    """See ``Vectors.normalize``."""
    _check(versions)
    names = [check_name(f"{version.name}{suffix}") for version in versions]
    together = tuple(sorted(version.digest for version in versions))
    makings = [
        Making(
            v.dataset_digest,
            v.known_model().fingerprint.digest,
            replace(v.known_recipe(), normalized=Normalized(v.digest, together)),
        )
        for v in versions
    ]
    with workspace.database.read() as session:
        rows = [find(session, name, making) for name, making in zip(names, makings, strict=True)]
        if all(rows):
            return [vector_record(session, row, existing=True) for row in rows if row]
    activity = Activity("normalize", workspace.actor, {"vectors": [v.reference for v in versions], "suffix": suffix})
    sets = normalized([load_set(workspace.blobs, version) for version in versions])
    stored = [
        store_bytes(workspace.blobs, vectors, making, version.model_name)
        for vectors, making, version in zip(sets, makings, versions, strict=True)
    ]
    with workspace.database.write() as session:
        added = []
        for name, contents, version in zip(names, stored, versions, strict=True):
            source = session.get_one(t.VectorVersion, version.id)
            added.append(add(workspace, session, name, contents, source.dataset_version_id, source.model_id, message))
        new = [row for row, is_new in added if is_new]
        if new:
            record_run(
                session,
                activity,
                inputs=[("vector", version.id) for version in versions],
                outputs=[("vector", row.id) for row in new],
                subject={"vectors": [vector_record(session, row).reference for row in new]},
            )
        return [vector_record(session, row, existing=not is_new) for row, is_new in added]


def _check(versions: Sequence[VectorVersion]) -> None:
    if len({version.id for version in versions}) < 2:
        raise UsageError("normalizing takes at least two vectors", "It brings several behaviors to one strength.")
    first = versions[0]
    for version in versions:
        if version.known_recipe().normalized is not None:
            raise UsageError(f"{version.reference} is normalized already", "Give the vectors that it was made from.")
        if not version.known_model().fingerprint.same_weights(first.known_model().fingerprint):
            raise UsageError(f"{version.reference} and {first.reference} were computed on different models")
        if version.layer_numbers != first.layer_numbers:
            raise UsageError(f"{version.reference} and {first.reference} have different layers")
    if len({version.name for version in versions}) < len(versions):
        raise UsageError("two of these are versions of one vector", "Give each behavior once.")
