"""From rows to records. A row is compared with its digests before anything is made of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from caa_registry.catalog import models as t
from caa_registry.catalog.filters import behavior as contrasted
from caa_registry.catalog.integrity.damage import damaged
from caa_registry.catalog.integrity.row_digests import check_row, digest_of_rows
from caa_registry.digests import digest_object
from caa_registry.models.folder.fingerprint import Fingerprint, ModelInfo
from caa_registry.registry.records import LayerRecord, Recipe, VectorVersion, origin_of
from caa_registry.vectors import LayerQuality

if TYPE_CHECKING:
    from caa_registry.registry.records import DatasetVersion


def dataset_record(session: Session, row: t.DatasetVersion, *, existing: bool = False) -> DatasetVersion:
    """A dataset version as a record."""
    (version,) = dataset_records(session, select(t.DatasetVersion.id).where(t.DatasetVersion.id == row.id))
    return replace(version, existing=existing)


def dataset_records(session: Session, ids: Select[int]) -> list[DatasetVersion]:
    """The dataset versions whose ids ``ids`` selects, by name and number, in at most six statements however many they
    are."""
    from caa_registry.registry.records import DatasetVersion, source_of  # listings of vectors do without

    version, parent = t.DatasetVersion, aliased(t.DatasetVersion)
    rows = session.execute(
        select(version, t.Dataset, parent)
        .outerjoin(t.Dataset, t.Dataset.id == version.dataset_id)
        .outerjoin(parent, parent.id == version.parent_id)
        .where(version.id.in_(ids))
        .order_by(t.Dataset.name, version.number)
    ).all()
    aliases = _aliases(session, t.Alias.dataset_version_id, ids)
    amended = _amendments(session, t.Amendment.dataset_version_id, ids)
    tags = _tags(session, t.Tag.dataset_version_id, ids)
    for row, dataset, _ in rows:
        if dataset is None:
            raise damaged(f"dataset version {row.id}", "the dataset that it belongs to is missing")
    uncounted = {dataset.kind for row, dataset, _ in rows if row.statistics is None}
    splits = {id: counts for kind in sorted(uncounted) for id, counts in _counted(session, ids, kind).items()}
    return [
        DatasetVersion(
            id=row.id,
            name=dataset.name,
            number=row.number,
            digest=row.digest,
            kind="pairs" if dataset.kind == "pairs" else "questions",
            n_items=row.n_items,
            splits=splits.get(row.id, {}) if row.statistics is None else _stored_splits(row.statistics),
            source=source_of(row.source, f"{dataset.name}:v{row.number}"),
            licence=_licence(amended.get(row.id), row.licence),
            stated_behavior=_stated(amended.get(row.id)),
            description=dataset.description or "",
            message=row.message,
            actor=row.actor or "",
            parent=None if older is None else f"{dataset.name}:v{older.number}",
            created_at=row.created_at,
            aliases=tuple(aliases[row.id]),
            tags=tags[row.id],
            unchecked_before=row.unchecked_before,
        )
        for row, dataset, older in rows
    ]


def _stored_splits(statistics: Mapping[str, Any]) -> dict[str, int]:
    return {split["split"]: split["rows"] for split in statistics["splits"]}


def _counted(session: Session, ids: Select[int], kind: str) -> dict[int, dict[str, int]]:
    """By version the rows of its splits, of versions that are older than their figures."""
    item = t.DatasetMember if kind == "pairs" else t.DatasetQuestion
    older = select(t.DatasetVersion.id).where(t.DatasetVersion.id.in_(ids), t.DatasetVersion.statistics.is_(None))
    query = (
        select(item.version_id, item.split, func.count())
        .where(item.version_id.in_(older))
        .group_by(item.version_id, item.split)
        .order_by(item.version_id, item.split)
    )
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    for id, split, rows in session.execute(query):
        counts[id][split] = rows
    return counts


def model_info(row: t.Model) -> ModelInfo:
    """A model row as ``ModelInfo``."""
    return ModelInfo(
        name=row.name,
        fingerprint=Fingerprint(
            row.weights, row.config, row.tokenizer, row.chat_template, row.tensors, row.files, row.adapter
        ),
        architecture=row.architecture,
        n_layers=row.n_layers,
        d_model=row.d_model,
        context_length=row.context_length,
        quantization=row.quantization or None,
        repo_id=row.repo_id,
        revision=row.revision,
        path=row.path,
        adapter_path=row.adapter_path,
    )


def vector_record(session: Session, row: t.VectorVersion, *, existing: bool = False) -> VectorVersion:
    """A vector version as a record."""
    (version,) = vector_records(session, select(t.VectorVersion.id).where(t.VectorVersion.id == row.id))
    return replace(version, existing=existing)


def vector_records(session: Session, ids: Select[int]) -> list[VectorVersion]:
    """The vector versions whose ids ``ids`` selects, by name and number, in eight statements however many they are."""
    versions, models, datasets = t.VectorVersion, t.Model, t.DatasetVersion
    columns = versions.__table__.columns
    rows = session.execute(
        select(t.Vector, *columns)
        .outerjoin(t.Vector, t.Vector.id == versions.vector_id)
        .where(versions.id.in_(ids))
        .order_by(t.Vector.name, versions.number)
    ).all()
    layers = parts_of(session, t.VectorLayer.version_id, LAYER, ids)
    aliases = _aliases(session, t.Alias.vector_version_id, ids)
    amended = _amendments(session, t.Amendment.vector_version_id, ids)
    tags = _tags(session, t.Tag.vector_version_id, ids)
    of_models = select(versions.model_id).where(versions.id.in_(ids))
    infos = {model.id: model_info(model) for model in session.scalars(select(models).where(models.id.in_(of_models)))}
    of_datasets = select(versions.dataset_version_id).where(versions.id.in_(ids))
    origins = {
        version.id: (f"{dataset.name}:v{version.number}", version.digest, behavior)
        for version, dataset, behavior in session.execute(
            select(datasets, t.Dataset, contrasted())
            .join(t.Dataset, t.Dataset.id == datasets.dataset_id)
            .where(datasets.id.in_(of_datasets))
        )
    }
    records = []
    for row in rows:
        if row.Vector is None:
            raise damaged(f"vector version {row.id}", "the vector that it belongs to is missing")
        reference = f"{row.Vector.name}:v{row.number}"
        check_row(versions, {column.name: getattr(row, column.name) for column in columns}, session)
        if row.layers_digest != digest_of_rows("vector_layer", layers[row.id]):
            raise damaged(f"vector {reference}", "its layers are not those that were stored")
        dataset, dataset_digest, behavior = origins.get(row.dataset_version_id, ("", "", ""))
        model = infos.get(row.model_id) if row.model_id is not None else None
        fingerprint = model.fingerprint.digest if model else ""
        identity = vector_identity(row.tensor_digest, dataset_digest, fingerprint, row.recipe, row.origin)
        missing = model is None and (row.model_id is not None or row.origin is None)
        if missing or row.digest != digest_object("vector", identity):
            what = "its origin and model" if row.origin else "its pairs, model and recipe"
            raise damaged(f"vector {reference}", f"{what} are not those of its digest")
        origin = origin_of(row.origin, reference) if row.origin else None
        records.append(
            VectorVersion(
                id=row.id,
                name=row.Vector.name,
                number=row.number,
                digest=row.digest,
                tensor_digest=row.tensor_digest,
                dataset=dataset,
                behavior=_stated(amended.get(row.id)) or (origin.behavior if origin else behavior),
                description=row.Vector.description or "",
                message=row.message or "",
                actor=row.actor or "",
                dataset_digest=dataset_digest,
                model=model,
                recipe=Recipe.from_json(row.recipe, reference) if row.recipe is not None else None,
                origin=origin,
                blob=row.blob_digest,
                layers=tuple(_layer(cells) for cells in layers[row.id]),
                d_model=row.d_model,
                created_at=row.created_at,
                aliases=tuple(aliases[row.id]),
                tags=tags[row.id],
                unchecked_before=row.unchecked_before,
            )
        )
    return records


def vector_identity(
    tensors: str,
    dataset: str,
    fingerprint: str,
    recipe: Mapping[str, Any] | None,
    origin: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What the digest of a vector version covers: its numbers with the pairs, the model and the recipe; or with its
    origin, and the model or null where it is not known."""
    if origin is None:
        return {"tensors": tensors, "dataset": dataset, "model": fingerprint, "recipe": recipe}
    return {"tensors": tensors, "model": fingerprint or None, "origin": origin}


# What the digest of rows that belong together covers, in this order; by the first they are sorted.
LAYER = ("layer", "offset", "nbytes", "sha256", "norm", "residual_norm", "quality")
SCORE = ("position", "condition", "layer", "multiplier", "metric", "value", "ci_low", "ci_high", "n")
RESPONSE = ("position", "question", "multiplier", "text", "finish", "coherence")


def digest_of_parts(table: str, columns: Sequence[str], rows: Iterable[object]) -> str:
    """The digest of rows that are to be stored."""
    return digest_of_rows(table, sorted([getattr(row, column) for column in columns] for row in rows))


def parts_of(
    session: Session, owner: InstrumentedAttribute[int], columns: Sequence[str], ids: Select[int]
) -> Mapping[int, list[Sequence[Any]]]:
    """By the id in the column ``owner``, one of ``ids``, the ``columns`` of the rows that belong to it."""
    cell = owner.class_.__table__.columns
    query = select(owner, *(cell[column] for column in columns)).where(owner.in_(ids)).order_by(owner, cell[columns[0]])
    parts: dict[int, list[Sequence[Any]]] = defaultdict(list)
    # By the connection: the session's own way takes half as long again.
    for id, *cells in session.connection().execute(query):
        parts[id].append(cells)
    return parts


def _layer(cells: Sequence[Any]) -> LayerRecord:
    number, offset, nbytes, sha256, norm, residual_norm, quality = cells
    measured = LayerQuality.from_json(quality) if quality else None
    return LayerRecord(number, norm, residual_norm, sha256, offset, nbytes, measured)


def _aliases(
    session: Session, column: InstrumentedAttribute[int | None], ids: Select[int]
) -> Mapping[int | None, list[str]]:
    """By version, which ``column`` of an alias names, its aliases."""
    aliases: dict[int | None, list[str]] = defaultdict(list)
    for alias in session.scalars(select(t.Alias).where(column.in_(ids)).order_by(t.Alias.name)):
        aliases[getattr(alias, column.key)].append(alias.name)
    return aliases


def _amendments(
    session: Session, column: InstrumentedAttribute[int | None], ids: Select[int]
) -> Mapping[int, t.Amendment]:
    """By version, which ``column`` names, what counts of it in place of what it was stored with."""
    rows = session.scalars(select(t.Amendment).where(column.in_(ids)))
    return {getattr(row, column.key): row for row in rows}


def _stated(amendment: t.Amendment | None) -> str:
    return (amendment.behavior if amendment is not None else None) or ""


def _licence(amendment: t.Amendment | None, stored: str) -> str:
    said = amendment.licence if amendment is not None else None
    return stored if said is None else said


def _tags(
    session: Session, column: InstrumentedAttribute[int | None], ids: Select[int]
) -> Mapping[int | None, dict[str, str]]:
    """By version, which ``column`` of a tag names, its tags."""
    tags: dict[int | None, dict[str, str]] = defaultdict(dict)
    for tag in session.scalars(select(t.Tag).where(column.in_(ids)).order_by(t.Tag.key)):
        tags[getattr(tag, column.key)][tag.key] = tag.value
    return tags
