"""The numbers of a vector version: read back from the blob store, checked, and compared with numbers computed anew."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from caa_registry.blobs.store import BlobStore, from_store
from caa_registry.digests import digest_bytes
from caa_registry.errors import IntegrityError, UsageError
from caa_registry.registry.records import Comparison, LayerRecord, RecomputedLayer, VectorVersion
from caa_registry.registry.workspace import Workspace
from caa_registry.wording import named_layers

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from caa_registry.vectors import DirectionSet, LayerVector, VectorSet


def load_set(blobs: BlobStore, version: VectorVersion, *, cached: bool = True) -> VectorSet:
    """All layers of a version, one vector each, checked against every digest; not ``cached``: as they lie in the store.
    Raises ``IntegrityError`` where one does
    not fit, ``UsageError`` for a version with several directions a layer."""
    from caa_registry.vectors import VectorSet

    if version.rank > 1:
        version.check_addable()
    return VectorSet(load_directions(blobs, version, cached=cached).layers)


def load_directions(blobs: BlobStore, version: VectorVersion, *, cached: bool = True) -> DirectionSet:
    """All layers of a version, whatever is to be done with them, checked as ``load_set`` does."""
    from caa_registry.formats import safetensors_file
    from caa_registry.vectors import DirectionSet, LayerVector

    stored = safetensors_file.read(checked_file(blobs, version, cached=cached))
    known = {record.layer: record for record in version.layers}
    for vector in stored.layers:
        if not _same_length(vector, known[vector.layer]):
            raise _other_layer(version, vector.layer)
    return DirectionSet.of(
        LayerVector(v.layer, v.values, known[v.layer].residual_norm, known[v.layer].quality) for v in stored.layers
    )


def checked_file(
    blobs: BlobStore, version: VectorVersion, session: Session | None = None, *, cached: bool = True
) -> bytes:
    """The file of a version, as ``session`` sees it, not ``cached``: as it lies in the store. Its layers have the
    digests of the rows, and together that of the version. Raises ``IntegrityError`` where one does not fit."""
    data = (blobs.get if cached else partial(from_store, blobs))(version.blob, session)
    check_bytes(data, version)
    return data


def check_bytes(data: bytes, version: VectorVersion) -> None:
    """Raise ``IntegrityError`` unless ``data`` is the file of a version, as ``checked_file`` says."""
    from caa_registry.formats.safetensors_file import places
    from caa_registry.vectors import tensor_digest

    stored = places(data)
    digests = {
        layer: digest_bytes(memoryview(data)[stored[layer].offset :][: stored[layer].nbytes])
        for layer in sorted(stored)
    }
    if tensor_digest(digests, version.d_model, version.rank) != version.tensor_digest:
        raise IntegrityError(f"the numbers stored for {version.reference} are not those that were computed")
    known = {record.layer: record.sha256 for record in version.layers}
    for layer in sorted(known.keys() | digests.keys()):
        if known.get(layer) != digests.get(layer):
            raise _other_layer(version, layer)


def load_layer(workspace: Workspace, version: VectorVersion, layer: int) -> LayerVector:
    """One layer of a version: one range read, checked against the layer's own digest, and that against the version's.

    Raises ``UsageError`` for a layer it does not have and a version with several directions a layer,
    ``IntegrityError``.
    """
    import numpy as np

    from caa_registry.vectors import LayerVector, tensor_digest

    check_layer(version, layer)
    if version.rank > 1:
        version.check_addable()
    # Whatever the rows say, these digests of these layers are what was computed.
    digests = {record.layer: record.sha256 for record in version.layers}
    if tensor_digest(digests, version.d_model, version.rank) != version.tensor_digest:
        raise _other_layer(version, layer)
    record = next(record for record in version.layers if record.layer == layer)
    data = workspace.blobs.read_range(version.blob, record.offset, record.nbytes, record.sha256)
    if digest_bytes(data) != record.sha256:
        raise IntegrityError(
            f"layer {layer} of {version.reference} does not match its digest", "Restore the registry from a backup."
        )
    vector = LayerVector(layer, np.frombuffer(data, dtype="<f4").astype(np.float32), record.residual_norm)
    if not _same_length(vector, record):
        raise _other_layer(version, layer)
    return vector


def check_layer(version: VectorVersion, layer: int) -> None:
    """Raise ``UsageError`` for a layer that the version does not have."""
    if layer not in version.layer_numbers:
        raise UsageError(f"{version.reference} has no layer {layer}", f"It has {named_layers(version.layer_numbers)}.")


def _same_length(vector: LayerVector, record: LayerRecord) -> bool:
    # Another machine's BLAS may add up the last digits in another order.
    return math.isclose(vector.norm, record.norm, rel_tol=1e-6)


def _other_layer(version: VectorVersion, layer: int) -> IntegrityError:
    return IntegrityError(
        f"the row of layer {layer} of {version.reference} does not fit its file", "Restore the registry from a backup."
    )


def compare(stored: VectorSet, computed: VectorSet) -> Comparison:
    """How far a computation done again is from what is stored, over the layers of both."""
    layers = list(compared(stored, computed))
    cosines = [layer.cosine for layer in layers if layer.cosine is not None]
    return Comparison(max(layer.difference for layer in layers), min(cosines, default=1.0))


def compared(stored: VectorSet, computed: VectorSet) -> Iterator[RecomputedLayer]:
    """The same, layer by layer."""
    import numpy as np

    largest = max(vector.norm for vector in stored.layers) or 1.0
    for old, new in zip(stored.layers, computed.layers, strict=True):
        a, b = old.values.astype(np.float64), new.values.astype(np.float64)
        norms = float(np.linalg.norm(a) * np.linalg.norm(b))
        # Where both sides are the same text up to a layer, its vector is zero and has no direction.
        cosine = float(a @ b) / norms if norms > 0 else None
        yield RecomputedLayer(old.layer, old.sha256 == new.sha256, cosine, float(np.abs(a - b).max()) / largest)
