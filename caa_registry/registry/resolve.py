"""From references and rows to records."""

from __future__ import annotations

import difflib
from typing import Any, Literal, overload

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.errors import NotFoundError, UsageError
from caa_registry.models.fingerprint import Fingerprint, ModelInfo
from caa_registry.references import Kind, Reference, parse
from caa_registry.registry.records import DatasetVersion, LayerRecord, VectorVersion

VersionRow = t.DatasetVersion | t.VectorVersion


@overload
def find_version(session: Session, reference: str, kind: Literal["dataset"]) -> t.DatasetVersion: ...
@overload
def find_version(session: Session, reference: str, kind: Literal["vector"]) -> t.VectorVersion: ...
def find_version(session: Session, reference: str, kind: Kind) -> VersionRow:
    """The version that ``reference`` names.

    Raises ``NotFoundError`` where there is none, ``UsageError`` where the reference is of the other kind or its tag
    and digest disagree.
    """
    wanted = parse(reference)
    if wanted.kind not in (None, kind):
        raise UsageError(f"{reference} names a {wanted.kind}; a {kind} is wanted here")
    owner_table, table, owner_column = _tables(kind)
    owner = session.scalar(select(owner_table).where(owner_table.name == wanted.name))
    if owner is None:
        names = list(session.scalars(select(owner_table.name)))
        raise NotFoundError(f"there is no {kind} {wanted.name}", _suggest(wanted.name, names, kind))
    versions = select(table).where(owner_column == owner.id, table.deleted_at.is_(None))
    if wanted.alias is not None:
        found = _aliased(session, kind, owner.id, wanted, table)
    elif wanted.version is not None:
        found = session.scalar(versions.where(table.number == wanted.version))
    elif wanted.digest is not None:
        matches = list(session.scalars(versions.where(table.digest.startswith(wanted.digest, autoescape=True))))
        if len(matches) > 1:
            numbers = ", ".join(f"v{row.number}" for row in matches)
            raise UsageError(f"{reference} fits several versions ({numbers})", "Give more digits.")
        found = matches[0] if matches else None
    else:
        found = session.scalar(versions.order_by(table.number.desc()).limit(1))
    if found is None:
        have = sorted(session.scalars(select(table.number).where(owner_column == owner.id)))
        raise NotFoundError(
            f"{kind} {wanted.name} has no version {str(wanted).removeprefix(wanted.name).lstrip(':@') or 'at all'}",
            f"It has {', '.join(f'v{number}' for number in have)}." if have else "",
        )
    if wanted.digest is not None and not found.digest.startswith(wanted.digest):
        raise UsageError(
            f"{reference}: tag and digest disagree (v{found.number} is {found.digest[:19]})",
            "Give one of the two, or correct it.",
        )
    row: VersionRow = found
    return row


def _tables(kind: Kind) -> tuple[Any, Any, Any]:
    if kind == "dataset":
        return t.Dataset, t.DatasetVersion, t.DatasetVersion.dataset_id
    return t.Vector, t.VectorVersion, t.VectorVersion.vector_id


def _aliased(session: Session, kind: Kind, owner_id: int, wanted: Reference, table: Any) -> Any:
    alias = find_alias(session, kind, owner_id, str(wanted.alias))
    if alias is None:
        return None
    target = alias.dataset_version_id if kind == "dataset" else alias.vector_version_id
    return session.get(table, target)


def find_alias(session: Session, kind: Kind, owner_id: int, name: str) -> t.Alias | None:
    """The alias row of that name, or ``None``."""
    return session.scalar(
        select(t.Alias).where(t.Alias.kind == kind, t.Alias.owner_id == owner_id, t.Alias.name == name)
    )


def _suggest(name: str, names: list[str], kind: str) -> str:
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"List them with: caa {kind} ls"


def kind_of(session: Session, reference: str) -> Kind:
    """Whether ``reference`` names a dataset or a vector. Raises ``UsageError`` where it could be either."""
    wanted = parse(reference)
    if wanted.kind:
        return wanted.kind
    is_dataset = session.scalar(select(t.Dataset.id).where(t.Dataset.name == wanted.name)) is not None
    is_vector = session.scalar(select(t.Vector.id).where(t.Vector.name == wanted.name)) is not None
    if is_dataset and is_vector:
        raise UsageError(
            f"{wanted.name} is a dataset and a vector", f"Write dataset:{reference} or vector:{reference}."
        )
    if not is_dataset and not is_vector:
        raise NotFoundError(
            f"there is no dataset or vector {wanted.name}", "List them with: caa dataset ls, caa vector ls"
        )
    return "dataset" if is_dataset else "vector"


def aliases_of(session: Session, kind: Kind, version_id: int) -> tuple[str, ...]:
    """The aliases that point at a version."""
    column = t.Alias.dataset_version_id if kind == "dataset" else t.Alias.vector_version_id
    return tuple(session.scalars(select(t.Alias.name).where(column == version_id).order_by(t.Alias.name)))


def dataset_record(session: Session, row: t.DatasetVersion, *, existing: bool = False) -> DatasetVersion:
    """A dataset version as a record."""
    owner = session.get_one(t.Dataset, row.dataset_id)
    parent = session.get(t.DatasetVersion, row.parent_id) if row.parent_id else None
    item = t.DatasetMember if owner.kind == "pairs" else t.DatasetQuestion
    counts = session.execute(
        select(item.split, func.count()).where(item.version_id == row.id).group_by(item.split).order_by(item.split)
    )
    return DatasetVersion(
        id=row.id,
        name=owner.name,
        number=row.number,
        digest=row.digest,
        kind="pairs" if owner.kind == "pairs" else "questions",
        n_items=row.n_items,
        splits={row[0]: row[1] for row in counts},
        source=row.source,
        licence=row.licence,
        message=row.message,
        parent=f"{owner.name}:v{parent.number}" if parent else None,
        created_at=row.created_at,
        aliases=aliases_of(session, "dataset", row.id),
        existing=existing,
    )


def model_info(row: t.Model) -> ModelInfo:
    """A model row as ``ModelInfo``."""
    return ModelInfo(
        name=row.name,
        fingerprint=Fingerprint(row.weights, row.config, row.tokenizer, row.chat_template),
        architecture=row.architecture,
        n_layers=row.n_layers,
        d_model=row.d_model,
        context_length=row.context_length,
        quantization=row.quantization or None,
        repo_id=row.repo_id,
        revision=row.revision,
        path=row.path,
    )


def vector_record(session: Session, row: t.VectorVersion, *, existing: bool = False) -> VectorVersion:
    """A vector version as a record."""
    owner = session.get_one(t.Vector, row.vector_id)
    dataset = session.get_one(t.DatasetVersion, row.dataset_version_id)
    layers = session.scalars(
        select(t.VectorLayer).where(t.VectorLayer.version_id == row.id).order_by(t.VectorLayer.layer)
    )
    return VectorVersion(
        id=row.id,
        name=owner.name,
        number=row.number,
        digest=row.digest,
        tensor_digest=row.tensor_digest,
        dataset=f"{session.get_one(t.Dataset, dataset.dataset_id).name}:v{dataset.number}",
        dataset_digest=dataset.digest,
        model=model_info(session.get_one(t.Model, row.model_id)),
        recipe=row.recipe,
        blob=row.blob_digest,
        layers=tuple(LayerRecord(layer.layer, layer.norm, layer.residual_norm, layer.sha256) for layer in layers),
        d_model=row.d_model,
        created_at=row.created_at,
        aliases=aliases_of(session, "vector", row.id),
        existing=existing,
    )
