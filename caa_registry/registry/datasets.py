"""Datasets in the registry: import, list, read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.numbering import next_number
from caa_registry.errors import UsageError
from caa_registry.pairs.record import (
    Imported,
    Pair,
    PairItem,
    QuestionItem,
    checked_text,
    dataset_digest,
)
from caa_registry.pairs.sources import load, load_splits
from caa_registry.references import check_name
from caa_registry.registry.records import DatasetVersion
from caa_registry.registry.resolve import dataset_record, find_version
from caa_registry.registry.runs import Activity, record_run

if TYPE_CHECKING:
    from caa_registry.registry.registry import Registry

_ROWS_AT_ONCE = 500


class Datasets:
    """The datasets of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def import_(
        self,
        source: str | Mapping[str, str],
        *,
        name: str,
        split: str | None = None,
        columns: Mapping[str, str] | None = None,
        format: str | None = None,
        licence: str = "",
        behavior: str = "",
        message: str = "",
    ) -> DatasetVersion:
        """Import a source as a new version of dataset ``name``.

        ``source`` is a path, ``hf:ORG/NAME[@REVISION][/FILE]``, ``seed:NAME`` or ``lines:POSITIVE,NEGATIVE``; or a
        mapping of split to source, imported as one version. All rows are read and checked before anything is
        written. The same rows again return the version that exists. ``behavior`` says what the pairs contrast; else it
        is what a seed set's card says, or the last part of ``name``.

        Raises ``InputError`` naming file and row, ``UsageError`` for a bad name, ``HubError``, ``NotFoundError``.
        """
        check_name(name)
        imported = read_source(source, split=split, columns=columns, format=format, licence=licence)
        return self.register(imported, name=name, behavior=behavior, message=message)

    def get(self, reference: str | DatasetVersion) -> DatasetVersion:
        """The version that ``reference`` names."""
        if isinstance(reference, DatasetVersion):
            return reference
        with self._registry.database.read() as session:
            return dataset_record(session, find_version(session, reference, "dataset"))

    def ls(self) -> list[DatasetVersion]:
        """The newest version of every dataset, by name."""
        newest = (
            select(func.max(t.DatasetVersion.id))
            .where(t.DatasetVersion.deleted_at.is_(None))
            .group_by(t.DatasetVersion.dataset_id)
        )
        query = (
            select(t.DatasetVersion)
            .join(t.Dataset, t.Dataset.id == t.DatasetVersion.dataset_id)
            .where(t.DatasetVersion.id.in_(newest))
            .order_by(t.Dataset.name)
        )
        with self._registry.database.read() as session:
            return [dataset_record(session, row) for row in session.scalars(query)]

    def pairs(self, reference: str | DatasetVersion, split: str | None = None) -> list[PairItem]:
        """The pairs of a version in the order of its source, of one split or of all.

        Raises ``UsageError`` for a dataset of questions or a split it does not have.
        """
        version = self.get(reference)
        if version.kind != "pairs":
            raise UsageError(
                f"{version.reference} holds open-ended questions, not pairs", "Choose a dataset of contrastive pairs."
            )
        query = (
            select(t.DatasetMember, t.Pair)
            .join(t.Pair, t.Pair.digest == t.DatasetMember.pair_digest)
            .where(t.DatasetMember.version_id == version.id)
            .order_by(t.DatasetMember.position)
        )
        if split is not None:
            check_split(version, split)
            query = query.where(t.DatasetMember.split == split)
        with self._registry.database.read() as session:
            return [
                PairItem(Pair(pair.prompt, pair.positive, pair.negative, pair.system), member.split, member.details)
                for member, pair in session.execute(query)
            ]

    def questions(self, reference: str | DatasetVersion) -> list[QuestionItem]:
        """The open-ended questions of a version. Raises ``UsageError`` for a dataset of pairs."""
        version = self.get(reference)
        if version.kind != "questions":
            raise UsageError(
                f"{version.reference} holds pairs, not open-ended questions", "Choose a dataset of questions."
            )
        query = (
            select(t.DatasetQuestion)
            .where(t.DatasetQuestion.version_id == version.id)
            .order_by(t.DatasetQuestion.position)
        )
        with self._registry.database.read() as session:
            return [QuestionItem(row.text, row.split, row.details) for row in session.scalars(query)]

    def register(self, imported: Imported, *, name: str, behavior: str = "", message: str = "") -> DatasetVersion:
        """Store what ``read_source`` gave as a new version of dataset ``name``."""
        check_name(name)
        for field, text in (("message", message), ("licence", imported.licence)):
            checked_text(text, field=field)
        activity = Activity("import", self._registry.actor, {"name": name})
        digest = dataset_digest(imported.kind, imported.items)
        source = {**imported.source, "notes": list(imported.notes)}
        if behavior:
            source["behavior"] = check_name(behavior)
        with self._registry.database.write() as session:
            dataset = session.scalar(select(t.Dataset).where(t.Dataset.name == name).with_for_update())
            if dataset is None:
                dataset = t.Dataset(name=name, kind=imported.kind, created_at=datetime.now(UTC))
                session.add(dataset)
                session.flush()
            elif dataset.kind != imported.kind:
                raise UsageError(
                    f"dataset {name} holds {dataset.kind}; this source gives {imported.kind}", "Choose another name."
                )
            same = select(t.DatasetVersion).where(
                t.DatasetVersion.dataset_id == dataset.id, t.DatasetVersion.digest == digest
            )
            found = session.scalar(same)
            if found is not None:
                return dataset_record(session, found, existing=True)
            parent = session.scalar(
                select(t.DatasetVersion)
                .where(t.DatasetVersion.dataset_id == dataset.id)
                .order_by(t.DatasetVersion.number.desc())
                .limit(1)
            )
            version = t.DatasetVersion(
                dataset_id=dataset.id,
                number=next_number(session, t.DatasetVersion, dataset.id),
                digest=digest,
                parent_id=parent.id if parent else None,
                message=message,
                source=source,
                licence=imported.licence,
                n_items=len(imported.items),
                created_at=datetime.now(UTC),
            )
            session.add(version)
            session.flush()
            _insert_items(session, version.id, imported.items)
            record_run(
                session,
                activity,
                outputs=[("dataset", version.id)],
                subject={"dataset": f"{name}:v{version.number}", "digest": digest},
            )
            return dataset_record(session, version)


def read_source(
    source: str | Mapping[str, str],
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,
    licence: str = "",
) -> Imported:
    """Read and check all rows of one source, or of several by split. Touches no registry."""
    if isinstance(source, str):
        return load(source, split=split, columns=columns, format=format, licence=licence)
    return load_splits(source, columns=columns, format=format, licence=licence)


def check_split(version: DatasetVersion, split: str) -> None:
    """Raise ``UsageError`` where the version has no such split."""
    if split not in version.splits:
        have = ", ".join(f"{name} ({count})" for name, count in version.splits.items())
        raise UsageError(f"{version.reference} has no split {split!r}", f"It has: {have}.")


def _insert_items(session: Session, version_id: int, items: Sequence[PairItem] | Sequence[QuestionItem]) -> None:
    for first in range(0, len(items), _ROWS_AT_ONCE):
        part = items[first : first + _ROWS_AT_ONCE]
        pairs = [item for item in part if isinstance(item, PairItem)]
        if pairs:
            _insert_pairs(session, [item.pair for item in pairs])
            members = [
                {"pair_digest": item.digest, **_place(version_id, first + i, item)} for i, item in enumerate(pairs)
            ]
            session.execute(insert(t.DatasetMember), members)
        else:
            questions = [item for item in part if isinstance(item, QuestionItem)]
            rows = [{"text": item.text, **_place(version_id, first + i, item)} for i, item in enumerate(questions)]
            session.execute(insert(t.DatasetQuestion), rows)


def _place(version_id: int, position: int, item: PairItem | QuestionItem) -> dict[str, Any]:
    return {
        "version_id": version_id,
        "position": position,
        "split": item.split,
        "details": dict(item.metadata),
    }


def _insert_pairs(session: Session, pairs: Sequence[Pair]) -> None:
    """Insert the pairs that are not there yet: pairs are shared between versions."""
    rows = {
        pair.digest: {
            "digest": pair.digest,
            "prompt": pair.prompt,
            "positive": pair.positive,
            "negative": pair.negative,
            "system": pair.system,
        }
        for pair in pairs
    }
    dialect_insert = postgresql_insert if session.get_bind().dialect.name == "postgresql" else sqlite_insert
    session.execute(dialect_insert(t.Pair).on_conflict_do_nothing(), list(rows.values()))
