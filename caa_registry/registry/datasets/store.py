"""How a dataset version is written and read: the items in their order, the run, the audit event."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, exists, func, insert, or_, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import batches
from caa_registry.catalog.events import append_event
from caa_registry.catalog.filters import tagged
from caa_registry.catalog.integrity.damage import damaged
from caa_registry.catalog.integrity.row_digests import digest_of_rows
from caa_registry.catalog.numbering import next_number
from caa_registry.catalog.search import entries
from caa_registry.catalog.search.words import indexed
from caa_registry.errors import UsageError
from caa_registry.pairs.record import (
    DatasetKind,
    Imported,
    Pair,
    PairItem,
    QuestionItem,
    checked_text,
    dataset_digest,
)
from caa_registry.pairs.statistics import statistics_json
from caa_registry.pairs.turns import is_turns_json, turns_json, turns_of
from caa_registry.references import check_name, check_new_name
from caa_registry.registry.provenance.runs import Activity, record_run
from caa_registry.registry.records import DatasetVersion
from caa_registry.registry.rows import dataset_record, dataset_records
from caa_registry.registry.workspace import Workspace

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NewVersion:
    """What is to be stored as a version of dataset ``name``. ``activity`` says what made the items, and ``inputs``, as
    (kind, id), what of."""

    imported: Imported
    activity: Activity
    name: str
    behavior: str = ""
    message: str = ""
    inputs: Sequence[tuple[str, int]] = ()


def register(workspace: Workspace, new: NewVersion) -> DatasetVersion:
    """Store items as a new version of a dataset, or return the version of that dataset that holds the same.

    Raises ``UsageError`` for a bad name, and for a dataset that holds the other kind of item.
    """
    imported = new.imported
    name = check_name(new.name)
    for field, text in (("message", new.message), ("licence", imported.licence)):
        checked_text(text, field=field)
    digest = dataset_digest(imported.kind, imported.items)
    items_digest = digest_of_items(imported.items)
    figures = statistics_json(imported.items)
    words = _words(imported.items)
    source = replace(imported.source, notes=tuple(imported.notes))
    if new.behavior:
        source = replace(source, behavior=check_new_name(new.behavior))
    with workspace.database.write() as session:
        dataset = owner(session, name, imported.kind)
        existing = session.scalar(
            select(t.DatasetVersion).where(t.DatasetVersion.dataset_id == dataset.id, t.DatasetVersion.digest == digest)
        )
        if existing is not None:
            if existing.deleted_at is not None:
                bring_back(session, workspace.actor, name, existing, imported.items)
            found = dataset_record(session, existing, existing=True)
            _say_without_effect(found, existing, new)
            return found
        version = t.DatasetVersion(
            dataset_id=dataset.id,
            digest=digest,
            message=new.message,
            source=source.to_json(),
            licence=imported.licence,
            statistics=figures,
            items_digest=items_digest,
            actor=new.activity.actor,
            created_at=datetime.now(UTC),
        )
        add(session, version, imported.items, words)
        record_run(
            session,
            new.activity,
            inputs=new.inputs,
            outputs=[("dataset", version.id)],
            subject={"dataset": f"{name}:v{version.number}", "digest": digest},
        )
        return dataset_record(session, version)


def _say_without_effect(found: DatasetVersion, row: t.DatasetVersion, new: NewVersion) -> None:
    """Tell what was given for a version that is there already, and is not what counts of it."""
    given = [
        ("licence", new.imported.licence, (row.licence, found.licence)),
        ("behavior", new.behavior, (found.behavior,)),
    ]
    for field, value, known in given:
        if value and value not in known:
            _log.warning(
                "%s was there already, and its %s stays %s. To change it: caa describe dataset:%s --%s %s",
                found.reference,
                field,
                repr(getattr(found, field)) if getattr(found, field) else "unknown",
                found.reference,
                field,
                shlex.quote(value),
            )
    if new.message and new.message != found.message:
        _log.warning(
            "%s was there already, and keeps %s. To say more: caa describe dataset:%s --text ...",
            found.reference,
            f"the message {found.message!r}" if found.message else "no message",
            found.name,
        )


def owner(session: Session, name: str, kind: DatasetKind) -> t.Dataset:
    """The dataset of that name, made where there is none. Raises ``UsageError`` for a name that nothing new may have,
    and where it holds the other kind of item."""
    dataset = session.scalar(select(t.Dataset).where(t.Dataset.name == name))
    if dataset is None:
        check_new_name(name)
        dataset = t.Dataset(name=name, kind=kind, created_at=datetime.now(UTC))
        session.add(dataset)
        session.flush()
    elif dataset.kind != kind:
        raise UsageError(f"dataset {name} holds {dataset.kind}; this source gives {kind}", "Choose another name.")
    return dataset


def add(
    session: Session,
    version: t.DatasetVersion,
    items: Sequence[PairItem] | Sequence[QuestionItem],
    words: Sequence[str] | None = None,
) -> None:
    """Add ``version`` as the next of its dataset, behind the newest there is, with its items. ``words``: what each is
    found by, where that is known already."""
    newest = (
        select(t.DatasetVersion.id)
        .where(t.DatasetVersion.dataset_id == version.dataset_id)
        .order_by(t.DatasetVersion.number.desc())
        .limit(1)
    )
    version.number = next_number(session, t.DatasetVersion, version.dataset_id)
    version.parent_id = session.scalar(newest)
    version.n_items = len(items)
    session.add(version)
    session.flush()
    _insert_items(session, version.id, items, words)
    entries.refresh(session, "dataset", t.DatasetVersion.id == version.id)


def bring_back(
    session: Session,
    actor: str,
    name: str,
    version: t.DatasetVersion,
    items: Sequence[PairItem] | Sequence[QuestionItem],
) -> None:
    """Take the mark of its deletion from a version that is stored again, with its rows where they were removed.

    Raises ``UsageError`` where those were others: the same pairs in another order, or with other metadata.
    """
    if not has_items(session, version.id):
        if version.items_digest != digest_of_items(items):
            raise UsageError(
                f"{name}:v{version.number} was deleted and its rows removed; it holds these in another order, or with "
                "other metadata",
                "Import the file that it was made from, or choose another name.",
            )
        _insert_items(session, version.id, items)
    version.deleted_at = None
    append_event(session, actor, "undelete", {"dataset": f"{name}:v{version.number}", "digest": version.digest})


def any_items(version: Any = t.DatasetVersion.id) -> ColumnElement[bool]:
    """That a dataset version, by default that of the enclosing statement, still has rows: ``caa gc`` removes those of
    one that was deleted."""
    return or_(*(exists().where(item.version_id == version) for item in (t.DatasetMember, t.DatasetQuestion)))


def has_items(session: Session, version: int) -> bool:
    """Whether that dataset version still has rows."""
    return bool(session.scalar(select(any_items(version))))


def listed_versions(
    session: Session, tags: Mapping[str, str] | None = None, limit: int | None = None, *, all_versions: bool = False
) -> tuple[list[DatasetVersion], int]:
    """The newest version of every dataset, or all versions, that have ``tags``, by name; the first ``limit`` of them,
    and how many there are."""
    version = t.DatasetVersion
    query = select(version.id).where(version.deleted_at.is_(None), tagged(tags, version))
    if not all_versions:
        query = query.with_only_columns(func.max(version.id)).group_by(version.dataset_id)
    page = query
    if limit is not None:
        page = (
            select(version.id)
            .join(t.Dataset, t.Dataset.id == version.dataset_id)
            .where(version.id.in_(query))
            .order_by(t.Dataset.name, version.number)
            .limit(limit)
        )
    versions = dataset_records(session, page)
    total = len(versions) if limit is None else session.scalar(select(func.count()).select_from(query.subquery())) or 0
    return versions, total


def load_pairs(
    session: Session, version_id: int, split: str | None = None, *, limit: int | None = None
) -> list[PairItem]:
    """The pairs of a version in the order of its source, of one split or of all; the first ``limit`` of them.

    Raises ``IntegrityError`` where a pair is not what its digest says or, without a ``limit``, where the version does
    not hold the rows that were stored.
    """
    member, pair = t.DatasetMember, t.Pair
    query = (
        select(
            member.pair_digest,
            pair.turns,
            pair.prompt,
            pair.positive,
            pair.negative,
            pair.system,
            member.split,
            member.details,
        )
        .outerjoin(pair, pair.digest == member.pair_digest)
        .where(member.version_id == version_id)
        .order_by(member.position)
        .limit(limit)
    )
    if split is not None and limit is not None:
        query = query.where(member.split == split)
    items = [PairItem(stored_pair(*row[:6]), row[6], row[7]) for row in session.execute(query)]
    if limit is None:
        _check_items(session, version_id, items)
    return items if split is None else [item for item in items if item.split == split]


def load_questions(
    session: Session, version_id: int, split: str | None = None, *, limit: int | None = None
) -> list[QuestionItem]:
    """The open-ended questions of a version in the order of its source; the first ``limit`` of them. Raises
    ``IntegrityError`` as ``load_pairs`` does."""
    question = t.DatasetQuestion
    query = (
        select(question.text, question.split, question.details)
        .where(question.version_id == version_id)
        .order_by(question.position)
        .limit(limit)
    )
    if split is not None and limit is not None:
        query = query.where(question.split == split)
    items = [QuestionItem(*row) for row in session.execute(query)]
    if limit is None:
        _check_items(session, version_id, items)
    return items if split is None else [item for item in items if item.split == split]


def stored_pair(digest: str, turns: Any, *texts: str | None) -> Pair:
    """The pair of that digest from its row: its turns as JSON, and its four texts. Raises ``IntegrityError`` where the
    row is missing or says something else."""
    if None in texts:
        raise damaged(f"pair {digest}", "it is missing")
    if turns is not None and not is_turns_json(turns):
        raise damaged(f"pair {digest}", "its turns cannot be read")
    prompt, positive, negative, system = (str(text) for text in texts)
    pair = Pair(prompt, positive, negative, system, turns_of(turns))
    if pair.digest != digest:
        raise damaged(f"pair {digest}", "its texts are not those that were stored")
    return pair


def check_rows(session: Session, version: DatasetVersion) -> None:
    """Raise ``IntegrityError`` unless a version of pairs holds the rows that were stored. Reads no texts."""
    member = t.DatasetMember
    query = (
        select(member.position, member.pair_digest, member.split, member.details)
        .where(member.version_id == version.id)
        .order_by(member.position)
    )
    stored = session.get_one(t.DatasetVersion, version.id).items_digest
    if stored != digest_of_rows(member.__tablename__, session.execute(query)):
        raise damaged(f"dataset {version.reference}", "its pairs are not those that were stored")


def _check_items(session: Session, version_id: int, items: Sequence[PairItem] | Sequence[QuestionItem]) -> None:
    """Raise ``IntegrityError`` unless ``items`` are all that a version holds, as it was stored."""
    version = session.get_one(t.DatasetVersion, version_id)
    dataset = session.get_one(t.Dataset, version.dataset_id)
    kind: DatasetKind = "pairs" if dataset.kind == "pairs" else "questions"
    if version.items_digest != digest_of_items(items) or version.digest != dataset_digest(kind, items):
        raise damaged(f"dataset {dataset.name}:v{version.number}", f"its {kind} are not those that were stored")


def digest_of_items(items: Sequence[PairItem | QuestionItem]) -> str:
    """The digest of the rows of a version, in their order and with their metadata."""
    questions = bool(items) and isinstance(items[0], QuestionItem)
    rows = (
        (place, item.text if isinstance(item, QuestionItem) else item.digest, item.split, item.metadata)
        for place, item in enumerate(items)
    )
    return digest_of_rows("dataset_question" if questions else "dataset_member", rows)


def load_items(session: Session, version: DatasetVersion) -> list[PairItem] | list[QuestionItem]:
    """All that a version holds, in the order of its source."""
    return load_pairs(session, version.id) if version.kind == "pairs" else load_questions(session, version.id)


def _words(items: Sequence[PairItem | QuestionItem]) -> list[str]:
    """What each item is found by."""
    return [
        indexed(item.text)
        if isinstance(item, QuestionItem)
        else entries.pair_words(
            turns_json(item.pair.turns), item.pair.prompt, item.pair.positive, item.pair.negative, item.pair.system
        )
        for item in items
    ]


def _insert_items(
    session: Session,
    version_id: int,
    items: Sequence[PairItem] | Sequence[QuestionItem],
    words: Sequence[str] | None = None,
) -> None:
    words = _words(items) if words is None else words
    for part in batches(list(enumerate(items))):
        pairs = [(place, item) for place, item in part if isinstance(item, PairItem)]
        if pairs:
            _insert_pairs(session, [item.pair for _, item in pairs])
            entries.add(session, [(("pair_digest", item.digest, None), words[place]) for place, item in pairs])
            members = [{"pair_digest": item.digest, **_place(version_id, place, item)} for place, item in pairs]
            session.execute(insert(t.DatasetMember), members)
        else:
            questions = [(place, item) for place, item in part if isinstance(item, QuestionItem)]
            rows = [{"text": item.text, **_place(version_id, place, item)} for place, item in questions]
            session.execute(insert(t.DatasetQuestion), rows)
            entries.add(session, [(("dataset_version_id", version_id, place), words[place]) for place, _ in questions])


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
            "turns": turns_json(pair.turns) if pair.turns else None,
        }
        for pair in pairs
    }
    if session.get_bind().dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql as dialect
    else:
        from sqlalchemy.dialects import sqlite as dialect  # type: ignore[no-redef]
    session.execute(dialect.insert(t.Pair).on_conflict_do_nothing(), list(rows.values()))
