"""Which vectors point the same way: one against all of its model at one layer, and two against each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caa_registry.blobs.store import BlobPiece
from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.catalog.integrity.damage import damaged
from caa_registry.digests import digest_bytes
from caa_registry.errors import ModelMismatchError, UsageError
from caa_registry.models.folder.fingerprint import compare
from caa_registry.registry.records import LayerNearness, LayerRecord, Similar, VectorVersion
from caa_registry.registry.rows import model_info, vector_records
from caa_registry.registry.vectors.tensors import check_layer, load_set
from caa_registry.registry.workspace import Workspace
from caa_registry.wording import named_layers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from caa_registry.models.folder.fingerprint import ModelInfo

_AT_ONCE = 500
# Far above what float32 rounds a cosine by, and far below what anybody tells apart.
_ROUNDING = 1e-4


@dataclass(frozen=True, eq=False)
class LayerRows:
    """Every vector of some models at one layer, kept between calls: a version never changes. ``units``: float32
    ``(versions, d_model)``, each at length 1, or 0 where it is zero. ``event``: the last one before they were read:
    while there is none after it, no version was made, deleted or brought back."""

    models: tuple[int, ...]
    layer: int
    event: int | None
    ids: Sequence[int]
    units: NDArray[np.float32]

    @property
    def width(self) -> int:
        return int(self.units.shape[1])

    @cached_property
    def places(self) -> Mapping[int, int]:
        """By id of a version the place of its row."""
        return {id: place for place, id in enumerate(self.ids)}


def similar(
    workspace: Workspace, version: VectorVersion, layer: int, limit: int, known: LayerRows | None
) -> tuple[list[Similar], LayerRows]:
    """The ``limit`` versions nearest to ``version`` at ``layer``, by the size of the cosine, and what to hand in as
    ``known`` next time: then only what is new since is read."""
    import numpy as np

    model = version.known_model()
    check_layer(version, layer)
    if version.rank > 1:
        version.check_addable()
    with workspace.database.read() as session:
        models = _models(session, model)
        kept = known if known and (known.models, known.layer, known.width) == (models, layer, version.d_model) else None
        rows = _rows(workspace, session, models, layer, kept, version.d_model)
        if version.id not in rows.places:
            raise UsageError(f"{version.reference} was deleted", f"To bring it back: caa undelete {version.reference}")
        unit = rows.units[rows.places[version.id]]
        if not unit.any():
            raise UsageError(
                f"layer {layer} of {version.reference} is zero, and points nowhere", "Choose another layer."
            )
        cosines = rows.units @ unit
        cosines[rows.places[version.id]] = 0.0
        near = [rows.ids[place] for place in _nearest(np.abs(cosines), limit)]
        vectors = dict(_read(workspace, session, [version.id, *near], layer))
        own = vectors[version.id][0].astype(np.float64)
        exact = {id: _cosine(own, vectors[id][0].astype(np.float64)) for id in near}
        chosen = sorted(exact, key=lambda id: (-abs(exact[id] or 0.0), id))[:limit]
        records = {
            record.id: record
            for record in vector_records(
                session, select(t.VectorVersion.id).where(among(session, t.VectorVersion.id, chosen))
            )
        }
    found = []
    for id in chosen:
        cosine = exact[id]
        record = _layer(records[id], layer)
        if record.sha256 != vectors[id][1]:
            raise damaged(f"vector {records[id].reference}", f"layer {layer} is not what was stored")
        if cosine is not None:
            found.append(Similar(records[id], layer, cosine, _noise(record)))
    return found, rows


def compared(workspace: Workspace, one: VectorVersion, other: VectorVersion, *, transfer: bool) -> list[LayerNearness]:
    """Two versions at every layer that both have. ``transfer``: of two quantizations of one model, which have the same
    architecture and shape, else of one model.

    Raises ``ModelMismatchError`` for others, ``UsageError`` where they have no layer in common."""
    a, b = one.known_model(), other.known_model()
    verdict = compare(a, b)
    if verdict == "mismatch" or (verdict == "same-architecture" and not transfer):
        hint = "Compare vectors of one model." if transfer else "Of two quantizations of one model: --transfer."
        raise ModelMismatchError(f"{one.reference} is of {a.name}, and {other.reference} of {b.name}", hint)
    common = sorted(set(one.layer_numbers) & set(other.layer_numbers))
    if not common:
        raise UsageError(
            f"{one.reference} has {named_layers(one.layer_numbers)}, and {other.reference} has "
            f"{named_layers(other.layer_numbers)}",
            "Name vectors with a layer in common.",
        )
    first, second = load_set(workspace.blobs, one), load_set(workspace.blobs, other)
    found = []
    for layer in common:
        record, other_record = _layer(one, layer), _layer(other, layer)
        cosine = _cosine(first[layer].values.astype("float64"), second[layer].values.astype("float64"))
        found.append(LayerNearness(layer, cosine, record.norm, other_record.norm, _noise(record), _noise(other_record)))
    return found


def _models(session: Session, model: ModelInfo) -> tuple[int, ...]:
    rows = session.scalars(select(t.Model).where(t.Model.d_model == model.d_model).order_by(t.Model.id))
    return tuple(row.id for row in rows if model_info(row).fingerprint.same_weights(model.fingerprint))


def _rows(
    workspace: Workspace, session: Session, models: tuple[int, ...], layer: int, known: LayerRows | None, width: int
) -> LayerRows:
    """All rows of ``layer`` as ``session`` sees them; those that are ``known`` are not read again."""
    import numpy as np

    version, part = t.VectorVersion, t.VectorLayer
    there = (
        select(version.id)
        .join(part, part.version_id == version.id)
        .where(
            version.model_id.in_(models),
            version.deleted_at.is_(None),
            part.layer == layer,
            version.d_model == width,
            part.nbytes == 4 * width,
        )
        .order_by(version.id)
    )
    event = session.scalar(select(func.max(t.Event.id)))
    if known is not None and known.event == event:
        return known
    ids = list(session.connection().execute(there).scalars())
    if known is not None and ids == known.ids:
        return replace(known, event=event)
    places = known.places if known is not None else {}
    units = np.zeros((len(ids), width), np.float32)
    new = {}
    for place, id in enumerate(ids):
        if known is not None and id in places:
            units[place] = known.units[places[id]]
        else:
            new[id] = place
    for id, (values, _) in _read(workspace, session, list(new), layer):
        wide = values.astype(np.float64)
        units[new[id]] = wide / (np.linalg.norm(wide) or 1.0)
    return LayerRows(models, layer, event, ids, units)


def _read(
    workspace: Workspace, session: Session, ids: Sequence[int], layer: int
) -> Iterator[tuple[int, tuple[NDArray[np.float32], str]]]:
    """By id of a version its vector at ``layer`` and the digest that it was compared with."""
    import numpy as np

    version, part = t.VectorVersion, t.VectorLayer
    columns = part.version_id, version.blob_digest, part.offset, part.nbytes, part.sha256
    for begin in range(0, len(ids), _AT_ONCE):
        query = select(*columns).join(version, version.id == part.version_id).where(part.layer == layer)
        query = query.where(among(session, part.version_id, ids[begin : begin + _AT_ONCE]))
        found = session.connection().execute(query).all()
        pieces = workspace.blobs.read_ranges([BlobPiece(*row[1:]) for row in found], session)
        for (id, *_, sha256), data in zip(found, pieces, strict=True):
            if digest_bytes(data) != sha256:
                raise damaged(f"vector version {id}", f"the numbers of layer {layer} are not what was stored")
            yield id, (np.frombuffer(data, dtype="<f4"), sha256)


def _nearest(sizes: NDArray[np.float32], limit: int) -> list[int]:
    """The places of the ``limit`` largest, and of all that rounding does not tell from them."""
    import numpy as np

    if len(sizes) <= limit:
        return list(np.flatnonzero(sizes))
    least = np.partition(sizes, len(sizes) - limit)[len(sizes) - limit]
    return [int(place) for place in np.flatnonzero(sizes >= max(least - _ROUNDING, 1e-12))]


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    import numpy as np

    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths > 0 else None


def _layer(version: VectorVersion, layer: int) -> LayerRecord:
    return next(record for record in version.layers if record.layer == layer)


def _noise(record: LayerRecord) -> float | None:
    return record.quality.split_half_cosine if record.quality else None
