"""The index of words: what each pair, question, model and version is found by.

It is made of other rows, in the transaction that writes these, and can be made again of them. SQLite keeps the words of
the entries in an FTS5 table, which is written here too: its schema must not run anything by itself. PostgreSQL keeps
them in an index of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, insert, select, text, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from caa_registry.catalog import filters
from caa_registry.catalog import models as t
from caa_registry.catalog.batches import among, batches
from caa_registry.catalog.search.words import indexed

Key = tuple[str, str | int, int | None]
"""Whose entry it is: the column that says so, what stands there, and the position of a question."""

OF_VERSION = -1
"""The position of the entry of a dataset version itself."""

_COLUMNS = ("pair_digest", "dataset_version_id", "position", "vector_version_id", "model_id")
_AT_ONCE = 1000


def pair_words(turns: Iterable[Mapping[str, Any]], *texts: str) -> str:
    """The words of a pair; ``turns``: chat messages; ``texts``: prompt, positive, negative and system."""
    return indexed(*texts, *(turn["content"] for turn in turns))


def add(session: Session, entries: Iterable[tuple[Key, str]]) -> None:
    """Add entries, but for what has one already."""
    rows = [_row(key, words) for key, words in entries]
    if not rows:
        return
    entry = t.SearchEntry
    before = session.scalar(select(func.max(entry.id))) or 0
    if _in_sqlite(session):
        from sqlalchemy.dialects import sqlite as dialect
    else:
        from sqlalchemy.dialects import postgresql as dialect  # type: ignore[no-redef]
    for part in batches(rows):
        session.execute(dialect.insert(entry).on_conflict_do_nothing(), list(part))
    if _in_sqlite(session):
        new = "INSERT INTO search_index (rowid, text) SELECT id, text FROM search_entry WHERE id > :before"
        session.execute(text(new), {"before": before})


def remove(session: Session, condition: ColumnElement[bool]) -> None:
    """Remove the entries that meet ``condition``."""
    entry = t.SearchEntry
    if _in_sqlite(session):
        old = [{"id": id, "old": words} for id, words in session.execute(select(entry.id, entry.text).where(condition))]
        _forget(session, old)
    session.execute(delete(entry).where(condition))


def refresh(session: Session, kind: str, versions: ColumnElement[bool]) -> None:
    """Write the entries of versions of a ``kind`` anew, of those that meet the condition ``versions``, and those of the
    vectors that were computed of these datasets: their behavior is that of their pairs."""
    session.flush()
    if kind == "dataset":
        _put(session, "dataset_version_id", dict(_datasets(session, versions)))
        ids = select(t.DatasetVersion.id).where(versions)
        versions = t.VectorVersion.dataset_version_id.in_(ids)
    _put(session, "vector_version_id", dict(_vectors(session, versions)))


def _put(session: Session, column: str, wanted: Mapping[int, str]) -> None:
    entry = t.SearchEntry
    mine = among(session, getattr(entry, column), list(wanted))
    if column == "dataset_version_id":
        mine &= entry.position == OF_VERSION
    known = {
        of: (id, words)
        for of, id, words in session.execute(select(getattr(entry, column), entry.id, entry.text).where(mine))
    }
    place = OF_VERSION if column == "dataset_version_id" else None
    changed = [
        {"id": known[of][0], "old": known[of][1], "text": words}
        for of, words in wanted.items()
        if of in known and known[of][1] != words
    ]
    if changed:
        if _in_sqlite(session):
            _forget(session, changed)
        session.execute(update(entry), [{"id": row["id"], "text": row["text"]} for row in changed])
        if _in_sqlite(session):
            session.execute(text("INSERT INTO search_index (rowid, text) VALUES (:id, :text)"), changed)
    add(session, [((column, of, place), words) for of, words in wanted.items() if of not in known])


def _forget(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    # FTS5 keeps no texts here, and has to be told which words it is to forget.
    if rows:
        out = "INSERT INTO search_index (search_index, rowid, text) VALUES ('delete', :id, :old)"
        session.execute(text(out), list(rows))


def expected(session: Session) -> Iterator[tuple[Key, str]]:
    """Every entry that there should be."""
    pair, question, model = t.Pair, t.DatasetQuestion, t.Model
    pairs = select(pair.digest, pair.turns, pair.prompt, pair.positive, pair.negative, pair.system)
    for digest, turns, *said in session.execute(pairs.execution_options(yield_per=_AT_ONCE)):
        yield ("pair_digest", digest, None), pair_words(turns or (), *said)
    questions = select(question.version_id, question.position, question.text)
    for version, position, words in session.execute(questions.execution_options(yield_per=_AT_ONCE)):
        yield ("dataset_version_id", version, position), indexed(words)
    for id, *names in session.execute(select(model.id, model.name, model.repo_id, model.architecture)):
        yield ("model_id", id, None), indexed(*names)
    for id, words in _datasets(session, t.DatasetVersion.id.is_not(None)):
        yield ("dataset_version_id", id, OF_VERSION), words
    for id, words in _vectors(session, t.VectorVersion.id.is_not(None)):
        yield ("vector_version_id", id, None), words


def stored(session: Session) -> Iterator[tuple[int, Key, str]]:
    """Every entry that there is, with its number."""
    entry = t.SearchEntry
    query = select(entry.id, *(getattr(entry, column) for column in _COLUMNS), entry.text)
    for id, *cells, words in session.execute(query.execution_options(yield_per=_AT_ONCE)):
        held = dict(zip(_COLUMNS, cells, strict=True))
        position = held.pop("position")
        column = next((column for column, cell in held.items() if cell is not None), "")
        yield id, (column, held.get(column, 0), position), words


def rebuild(session: Session) -> None:
    """Make all of the index anew of what there is."""
    rows = [_row(key, words) for key, words in expected(session)]
    session.execute(delete(t.SearchEntry))
    for first in range(0, len(rows), _AT_ONCE):
        session.execute(insert(t.SearchEntry), rows[first : first + _AT_ONCE])
    make_index(session)


def make_index(session: Session) -> None:
    """Have SQLite index the entries that there are. PostgreSQL always has."""
    if _in_sqlite(session):
        session.execute(text("INSERT INTO search_index (search_index) VALUES ('rebuild')"))


def found_by(session: Session, phrases: Sequence[Sequence[str]]) -> Select[int]:
    """The numbers of the entries that have every phrase; the last word of each may be the beginning of one. Words have
    ASCII letters and digits only, so none is an operator."""
    entry = t.SearchEntry
    if _in_sqlite(session):
        asked = " AND ".join(f'"{" ".join(phrase)}" *' for phrase in phrases)
        numbers = text("SELECT rowid AS id FROM search_index WHERE search_index MATCH :asked").bindparams(asked=asked)
        listed = numbers.columns(id=entry.__table__.columns.id.type).subquery()
        return select(entry.id).where(entry.id.in_(select(listed.c.id)))
    asked = " & ".join("(" + " <-> ".join([*phrase[:-1], f"{phrase[-1]}:*"]) + ")" for phrase in phrases)
    words = func.to_tsvector(text("'simple'"), entry.text)
    return select(entry.id).where(words.op("@@")(func.to_tsquery(text("'simple'"), asked)))


def index_words(session: Session) -> Iterator[tuple[str, int, int]]:
    """Every word that SQLite's index holds: the number of its entry, and its place in this. None on PostgreSQL."""
    if not _in_sqlite(session):
        return
    connection = session.connection()
    # To read an index word by word SQLite needs a table of the connection's own.
    connection.exec_driver_sql("PRAGMA query_only=OFF")
    connection.exec_driver_sql(
        "CREATE VIRTUAL TABLE temp.search_words USING fts5vocab('main', 'search_index', 'instance')"
    )
    try:
        connection.exec_driver_sql("PRAGMA query_only=ON")
        for row in connection.exec_driver_sql("SELECT term, doc, offset FROM temp.search_words"):
            yield row[0], row[1], row[2]
    finally:
        connection.exec_driver_sql("PRAGMA query_only=OFF")
        connection.exec_driver_sql("DROP TABLE temp.search_words")
        connection.exec_driver_sql("PRAGMA query_only=ON")


def _datasets(session: Session, condition: ColumnElement[bool]) -> Iterator[tuple[int, str]]:
    version = t.DatasetVersion
    tags = _tags(session, t.Tag.dataset_version_id, select(version.id).where(condition))
    query = (
        select(
            version.id, t.Dataset.name, filters.behavior(), filters.licence(), t.Dataset.description, version.message
        )
        .join(t.Dataset, t.Dataset.id == version.dataset_id)
        .where(condition)
    )
    for id, *texts in session.execute(query).all():
        yield id, indexed(*texts, *tags.get(id, ()))


def _vectors(session: Session, condition: ColumnElement[bool]) -> Iterator[tuple[int, str]]:
    version = t.VectorVersion
    tags = _tags(session, t.Tag.vector_version_id, select(version.id).where(condition))
    query = (
        select(
            version.id, t.Vector.name, filters.vector_behavior(), t.Model.name, t.Vector.description, version.message
        )
        .join(t.Vector, t.Vector.id == version.vector_id)
        .outerjoin(t.Model, t.Model.id == version.model_id)
        .outerjoin(t.DatasetVersion, t.DatasetVersion.id == version.dataset_version_id)
        .outerjoin(t.Dataset, t.Dataset.id == t.DatasetVersion.dataset_id)
        .where(condition)
    )
    for id, *texts in session.execute(query).all():
        yield id, indexed(*texts, *tags.get(id, ()))


def _tags(session: Session, column: InstrumentedAttribute[int | None], ids: Select[int]) -> dict[int | None, list[str]]:
    tags: dict[int | None, list[str]] = {}
    query = select(column, t.Tag.key, t.Tag.value).where(column.in_(ids)).order_by(t.Tag.key)
    for id, key, value in session.execute(query):
        tags.setdefault(id, []).append(f"{key}={value}")
    return tags


def _row(key: Key, words: str) -> dict[str, Any]:
    column, of, position = key
    return {**dict.fromkeys(_COLUMNS), column: of, "position": position, "text": words}


def _in_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"
