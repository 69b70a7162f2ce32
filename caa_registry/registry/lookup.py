"""From references and rows to records."""

from __future__ import annotations

import difflib
from typing import Any, Literal, overload

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.errors import NotFoundError, UsageError
from caa_registry.models.fingerprint import Fingerprint, ModelInfo
from caa_registry.references import Kind, Reference, parse, ranges
from caa_registry.registry.records import DatasetVersion, LayerRecord, Recipe, VectorVersion, behavior_of
from caa_registry.vectors import LayerQuality

_KINDS: tuple[Kind, ...] = ("dataset", "vector")

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
        raise NotFoundError(f"there is no {kind} {wanted.name}", _instead(session, wanted.name, kind))
    versions = select(table).where(owner_column == owner.id, table.deleted_at.is_(None))
    if wanted.alias is not None:
        found = _aliased(session, kind, owner.id, wanted, table)
        if found is None:
            raise NotFoundError(*no_alias(session, kind, owner.id, wanted))
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
        which = f"v{wanted.version}" if wanted.version is not None else wanted.digest or "at all"
        raise NotFoundError(
            f"{kind} {wanted.name} has no version {which}", f"It has {_versions(have)}." if have else ""
        )
    if wanted.digest is not None and not found.digest.startswith(wanted.digest):
        raise UsageError(
            f"{reference}: tag and digest disagree (v{found.number} is {found.digest[:19]})",
            "Give one of the two, or correct it.",
        )
    row: VersionRow = found
    return row


def references(session: Session, kind: Kind, condition: ColumnElement[bool]) -> tuple[str, ...]:
    """The references of all versions that meet ``condition`` and are not deleted, by name and number."""
    owner_table, table, owner_column = _tables(kind)
    query = (
        select(owner_table.name, table.number)
        .join(owner_table, owner_table.id == owner_column)
        .where(condition, table.deleted_at.is_(None))
        .order_by(owner_table.name, table.number)
    )
    return tuple(f"{name}:v{number}" for name, number in session.execute(query))


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


def _versions(numbers: list[int]) -> str:
    return ", ".join(f"v{part.replace('-', ' to v')}" for part in ranges(numbers).split(", "))


def no_alias(session: Session, kind: Kind, owner_id: int, wanted: Reference) -> tuple[str, str]:
    """Message and hint for an alias that does not exist."""
    query = select(t.Alias.name).where(t.Alias.kind == kind, t.Alias.owner_id == owner_id).order_by(t.Alias.name)
    have = list(session.scalars(query))
    hint = f"Its aliases: {', '.join(have)}." if have else f"It has none. Set one: caa alias set {wanted.name}:v1 NAME"
    return f"{kind} {wanted.name} has no alias {wanted.alias!r}", hint


def find_alias(session: Session, kind: Kind, owner_id: int, name: str) -> t.Alias | None:
    """The alias row of that name, or ``None``."""
    return session.scalar(
        select(t.Alias).where(t.Alias.kind == kind, t.Alias.owner_id == owner_id, t.Alias.name == name)
    )


def _instead(session: Session, name: str, kind: Kind) -> str:
    """What to try where there is no ``kind`` of that name."""
    other: Kind = "vector" if kind == "dataset" else "dataset"
    if _owner_id(session, other, name) is not None:
        return f"{name} is a {other}; a {kind} is wanted here (caa {kind} ls lists them)."
    close = _close(session, name, kind)
    return f"Did you mean {' or '.join(close)}?" if close else f"List them with: caa {kind} ls"


def _close(session: Session, name: str, kind: Kind) -> list[str]:
    names = list(session.scalars(select(_tables(kind)[0].name)))
    return difflib.get_close_matches(name, names, n=3, cutoff=0.5)


def _owner_id(session: Session, kind: Kind, name: str) -> int | None:
    owner_table = _tables(kind)[0]
    found: int | None = session.scalar(select(owner_table.id).where(owner_table.name == name))
    return found


def kind_of(session: Session, reference: str, *, prefer: Kind | None = None) -> Kind:
    """Whether ``reference`` names a dataset or a vector.

    Where both have the name, an alias or a digest that only one of them has decides, then ``prefer``. Version numbers
    do not: v2 may exist in one today and in both tomorrow. Raises ``UsageError`` where it could still be either.
    """
    wanted = parse(reference)
    if wanted.kind:
        return wanted.kind
    kinds: list[Kind] = [kind for kind in _KINDS if _owner_id(session, kind, wanted.name) is not None]
    if not kinds:
        close = sorted({name for kind in _KINDS for name in _close(session, wanted.name, kind)})
        raise NotFoundError(
            f"there is no dataset or vector {wanted.name}",
            f"Did you mean {' or '.join(close)}?" if close else "List them with: caa dataset ls, caa vector ls",
        )
    if len(kinds) > 1 and (wanted.alias or wanted.digest):
        kinds = [kind for kind in kinds if _fits(session, kind, wanted)]
        if not kinds:
            what = f"an alias {wanted.alias!r}" if wanted.alias else f"a version {wanted.digest}"
            raise NotFoundError(
                f"neither the dataset nor the vector {wanted.name} has {what}",
                "Look with: caa alias ls, caa dataset show, caa vector show",
            )
    if len(kinds) > 1 and prefer is None:
        raise UsageError(
            f"{wanted.name} is a dataset and a vector", f"Write dataset:{reference} or vector:{reference}."
        )
    return prefer if prefer in kinds else kinds[0]


def _fits(session: Session, kind: Kind, wanted: Reference) -> bool:
    owner_id = _owner_id(session, kind, wanted.name) or 0
    if wanted.alias is not None:
        return find_alias(session, kind, owner_id, wanted.alias) is not None
    _, table, owner_column = _tables(kind)
    fitting = select(table.id).where(owner_column == owner_id, table.digest.startswith(wanted.digest, autoescape=True))
    return session.scalar(fitting.limit(1)) is not None


def aliases_of(session: Session, kind: Kind, version_id: int) -> tuple[str, ...]:
    """The aliases that point at a version."""
    column = t.Alias.dataset_version_id if kind == "dataset" else t.Alias.vector_version_id
    return tuple(session.scalars(select(t.Alias.name).where(column == version_id).order_by(t.Alias.name)))


def dataset_record(session: Session, row: t.DatasetVersion, *, existing: bool = False) -> DatasetVersion:
    """A dataset version as a record."""
    owner = session.get_one(t.Dataset, row.dataset_id)
    parent = session.get(t.DatasetVersion, row.parent_id) if row.parent_id else None
    return DatasetVersion(
        id=row.id,
        name=owner.name,
        number=row.number,
        digest=row.digest,
        kind="pairs" if owner.kind == "pairs" else "questions",
        n_items=row.n_items,
        splits=_splits(session, row, owner.kind),
        source=row.source,
        licence=row.licence,
        message=row.message,
        parent=f"{owner.name}:v{parent.number}" if parent else None,
        created_at=row.created_at,
        aliases=aliases_of(session, "dataset", row.id),
        existing=existing,
    )


def of_pairs(version: DatasetVersion) -> DatasetVersion:
    """``version`` if it holds pairs. Raises ``UsageError``."""
    if version.kind != "pairs":
        raise UsageError(
            f"{version.reference} holds open-ended questions, not pairs", "Choose a dataset of contrastive pairs."
        )
    return version


def _splits(session: Session, row: t.DatasetVersion, kind: str) -> dict[str, int]:
    if row.statistics is not None:
        return {split["split"]: split["rows"] for split in row.statistics["splits"]}
    # A version that is older than its figures is counted.
    item = t.DatasetMember if kind == "pairs" else t.DatasetQuestion
    counts = session.execute(
        select(item.split, func.count()).where(item.version_id == row.id).group_by(item.split).order_by(item.split)
    )
    return {found[0]: found[1] for found in counts}


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


def _layer_record(row: t.VectorLayer) -> LayerRecord:
    quality = LayerQuality.from_json(row.quality) if row.quality else None
    return LayerRecord(row.layer, row.norm, row.residual_norm, row.sha256, quality)


def vector_record(session: Session, row: t.VectorVersion, *, existing: bool = False) -> VectorVersion:
    """A vector version as a record."""
    owner = session.get_one(t.Vector, row.vector_id)
    dataset = session.get_one(t.DatasetVersion, row.dataset_version_id)
    dataset_name = session.get_one(t.Dataset, dataset.dataset_id).name
    layers = session.scalars(
        select(t.VectorLayer).where(t.VectorLayer.version_id == row.id).order_by(t.VectorLayer.layer)
    )
    return VectorVersion(
        id=row.id,
        name=owner.name,
        number=row.number,
        digest=row.digest,
        tensor_digest=row.tensor_digest,
        dataset=f"{dataset_name}:v{dataset.number}",
        behavior=behavior_of(dataset_name, dataset.source),
        dataset_digest=dataset.digest,
        model=model_info(session.get_one(t.Model, row.model_id)),
        recipe=Recipe.from_json(row.recipe, f"{owner.name}:v{row.number}"),
        blob=row.blob_digest,
        layers=tuple(_layer_record(layer) for layer in layers),
        d_model=row.d_model,
        created_at=row.created_at,
        aliases=aliases_of(session, "vector", row.id),
        existing=existing,
    )
