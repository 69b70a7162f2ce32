"""Searching names, behaviors, descriptions, messages, tags and licences of versions, models, pairs and questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among
from caa_registry.catalog.search import entries
from caa_registry.catalog.search.words import indexed, phrases, words
from caa_registry.errors import IntegrityError, RegistryError, UsageError, one_line
from caa_registry.registry.datasets.store import stored_pair
from caa_registry.registry.records import DatasetVersion, Hit, Listing, VectorVersion, check_limit
from caa_registry.registry.rows import dataset_records, model_info, vector_records
from caa_registry.registry.workspace import Workspace

_SHOWN = 100

Field = tuple[str, str]
"""Where something stands, such as ``description``, and what stands there."""


def search(workspace: Workspace, text: str, limit: int | None) -> Listing[Hit]:
    """What has the words of ``text``. See ``Registry.search``."""
    asked = phrases(text)
    if not asked:
        raise UsageError(f"there is no word to search for in {one_line(text, 100)!r}", "Give letters or digits.")
    check_limit(limit)
    try:
        with workspace.database.read() as session:
            return _search(session, asked, limit)
    except RegistryError as error:
        raise RegistryError(error.message, f"{error.hint} If only the index is damaged: caa fsck --repair") from error


def _search(session: Session, asked: Sequence[Sequence[str]], limit: int | None) -> Listing[Hit]:
    hits: list[Hit] = []
    total = 0
    found = entries.found_by(session, asked)
    for ids, load in _PARTS:
        query = ids(found)
        room = None if limit is None else limit - len(hits)
        there = list(session.scalars(query.limit(room)))
        hits += load(session, there, asked)
        total += len(there) if room is None else _count(session, query)
    return Listing(tuple(hits), total)


def _count(session: Session, query: Select[Any]) -> int:
    return session.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0


def _dataset_ids(found: Select[int]) -> Select[int]:
    """The newest version of each dataset that is found."""
    entry, version = t.SearchEntry, t.DatasetVersion
    return (
        select(func.max(version.id))
        .join(entry, entry.dataset_version_id == version.id)
        .join(t.Dataset, t.Dataset.id == version.dataset_id)
        .where(entry.id.in_(found), entry.position == entries.OF_VERSION, version.deleted_at.is_(None))
        .group_by(t.Dataset.name)
        .order_by(t.Dataset.name)
    )


def _vector_ids(found: Select[int]) -> Select[int]:
    """The newest version of each vector that is found."""
    entry, version = t.SearchEntry, t.VectorVersion
    return (
        select(func.max(version.id))
        .join(entry, entry.vector_version_id == version.id)
        .join(t.Vector, t.Vector.id == version.vector_id)
        .where(entry.id.in_(found), version.deleted_at.is_(None))
        .group_by(t.Vector.name)
        .order_by(t.Vector.name)
    )


def _model_ids(found: Select[int]) -> Select[Any]:
    entry = t.SearchEntry
    return select(entry.model_id).where(entry.id.in_(found), entry.model_id.is_not(None)).order_by(entry.model_id)


def _pair_ids(found: Select[int]) -> Select[Any]:
    """The entries of pairs that a version holds."""
    entry, member, version = t.SearchEntry, t.DatasetMember, t.DatasetVersion
    held = (
        select(member.version_id)
        .join(version, version.id == member.version_id)
        .where(member.pair_digest == entry.pair_digest, version.deleted_at.is_(None))
        .exists()
    )
    return select(entry.id).where(entry.id.in_(found), entry.pair_digest.is_not(None), held).order_by(entry.id)


def _question_ids(found: Select[int]) -> Select[int]:
    """The entries of questions, of several versions of a dataset that ask the same that of the newest."""
    entry, version = t.SearchEntry, t.DatasetVersion
    newest = func.max(entry.id)
    return (
        select(newest)
        .join(version, version.id == entry.dataset_version_id)
        .where(entry.id.in_(found), entry.position >= 0, version.deleted_at.is_(None))
        .group_by(version.dataset_id, entry.text)
        .order_by(newest)
    )


def _datasets(session: Session, ids: Sequence[int], asked: Sequence[Sequence[str]]) -> Iterator[Hit]:
    version = t.DatasetVersion
    records = dataset_records(session, select(version.id).where(among(session, version.id, ids)))
    texts = _texts(session, t.SearchEntry.dataset_version_id, ids)
    for record in records:
        fields = _of_version(record, ("licence", record.licence))
        yield _hit("dataset", record.reference, fields, asked, texts.get(record.id))


def _vectors(session: Session, ids: Sequence[int], asked: Sequence[Sequence[str]]) -> Iterator[Hit]:
    version = t.VectorVersion
    records = vector_records(session, select(version.id).where(among(session, version.id, ids)))
    texts = _texts(session, t.SearchEntry.vector_version_id, ids)
    for record in records:
        fields = _of_version(record, ("model", record.model.name if record.model else ""))
        yield _hit("vector", record.reference, fields, asked, texts.get(record.id))


def _of_version(version: DatasetVersion | VectorVersion, more: Field) -> list[Field]:
    """What a version is found by, in the order in which it is indexed."""
    return [
        ("name", version.name),
        ("behavior", version.behavior),
        more,
        ("description", version.description),
        ("message", version.message),
        *(("tag", f"{key}={value}") for key, value in version.tags.items()),
    ]


def _models(session: Session, ids: Sequence[int], asked: Sequence[Sequence[str]]) -> Iterator[Hit]:
    texts = _texts(session, t.SearchEntry.model_id, ids)
    for row in session.scalars(select(t.Model).where(among(session, t.Model.id, ids)).order_by(t.Model.id)):
        info = model_info(row)
        fields = [("name", info.name), ("repository", info.repo_id or ""), ("architecture", info.architecture)]
        yield _hit("model", info.name, fields, asked, texts.get(row.id))


def _pairs(session: Session, ids: Sequence[int], asked: Sequence[Sequence[str]]) -> Iterator[Hit]:
    entry, pair = t.SearchEntry, t.Pair
    query = select(entry.text, pair).join(pair, pair.digest == entry.pair_digest).where(among(session, entry.id, ids))
    rows = session.execute(query.order_by(entry.id)).all()
    within = _holding(session, [row.digest for _, row in rows])
    for text, row in rows:
        found = stored_pair(row.digest, row.turns, row.prompt, row.positive, row.negative, row.system)
        fields = [(name, getattr(found, name)) for name in ("prompt", "positive", "negative", "system")]
        fields += [("turn", turn.text) for turn in found.turns]
        yield _hit("pair", row.digest, fields, asked, text, within.get(row.digest, ()))


def _holding(session: Session, digests: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """By pair the newest version of each dataset that holds it."""
    member, version = t.DatasetMember, t.DatasetVersion
    query = (
        select(member.pair_digest, t.Dataset.name, func.max(version.number))
        .join(version, version.id == member.version_id)
        .join(t.Dataset, t.Dataset.id == version.dataset_id)
        .where(among(session, member.pair_digest, digests), version.deleted_at.is_(None))
        .group_by(member.pair_digest, t.Dataset.name)
        .order_by(t.Dataset.name)
    )
    held: dict[str, tuple[str, ...]] = {}
    for digest, name, number in session.execute(query):
        held[digest] = (*held.get(digest, ()), f"{name}:v{number}")
    return held


def _questions(session: Session, ids: Sequence[int], asked: Sequence[Sequence[str]]) -> Iterator[Hit]:
    entry, question, version = t.SearchEntry, t.DatasetQuestion, t.DatasetVersion
    query = (
        select(entry.text, question.text, t.Dataset.name, version.number)
        .join(version, version.id == entry.dataset_version_id)
        .join(t.Dataset, t.Dataset.id == version.dataset_id)
        .join(question, (question.version_id == version.id) & (question.position == entry.position))
        .where(among(session, entry.id, ids))
        .order_by(entry.id)
    )
    for text, said, name, number in session.execute(query):
        yield _hit("question", f"{name}:v{number}", [("text", said)], asked, text)


def _texts(session: Session, column: Any, ids: Sequence[int]) -> dict[int, str]:
    """By version or model the words of its entry."""
    entry = t.SearchEntry
    query = select(column, entry.text).where(among(session, column, ids))
    if column is entry.dataset_version_id:
        query = query.where(entry.position == entries.OF_VERSION)
    return {of: text for of, text in session.execute(query)}  # noqa: C416 - rows are no pairs to mypy


def _hit(
    kind: Any,
    reference: str,
    fields: Sequence[Field],
    asked: Sequence[Sequence[str]],
    text: str | None,
    within: Sequence[str] = (),
) -> Hit:
    """A hit, once its entry is what it should be. Raises ``IntegrityError`` where the index is not."""
    if indexed(*(said for _, said in fields)) != text:
        raise IntegrityError(
            f"the index of words to search is not that of {kind} {reference}", "Make it anew: caa fsck --repair"
        )
    best = max(fields, key=lambda field: sum(_has(words(field[1]), phrase) for phrase in asked))
    return Hit(kind, reference, best[0], _shortened(best[1], asked), within)


def _has(there: Sequence[str], phrase: Sequence[str]) -> bool:
    """Whether ``phrase`` stands in words, the last of it perhaps as the beginning of one."""
    size = len(phrase)
    return any(
        list(there[i : i + size - 1]) == list(phrase[:-1]) and there[i + size - 1].startswith(phrase[-1])
        for i in range(len(there) - size + 1)
    )


def _shortened(text: str, asked: Sequence[Sequence[str]]) -> str:
    """``text`` in one line, of a long one what is around the first word that was asked for."""
    line = " ".join(text.split())
    if len(line) <= _SHOWN:
        return line
    places = [line.lower().find(phrase[0]) for phrase in asked]
    first = max(min((place for place in places if place >= 0), default=0) - _SHOWN // 3, 0)
    part = line[first : first + _SHOWN]
    return f"{'... ' if first else ''}{part}{' ...' if first + _SHOWN < len(line) else ''}"


_Load = Callable[[Session, Sequence[Any], Sequence[Sequence[str]]], Iterator[Hit]]
_PARTS: tuple[tuple[Callable[[Select[int]], Select[Any]], _Load], ...] = (
    (_dataset_ids, _datasets),
    (_vector_ids, _vectors),
    (_model_ids, _models),
    (_pair_ids, _pairs),
    (_question_ids, _questions),
)
