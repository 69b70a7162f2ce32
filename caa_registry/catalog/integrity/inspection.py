"""Whether a SQLite file holds what the migrations make and nothing else.

A registry may come from anybody, and SQLite runs what its schema says: a trigger on the next insert, a view instead of
a table, an expression in an index or a column. So the whole schema is compared before a row is read. Reading the
schema itself runs nothing of it.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Connection, StaticPool, create_engine, event

from caa_registry.catalog.schema import VERSION_TABLE, migrate, revisions
from caa_registry.digests import digest_object
from caa_registry.errors import RegistryError
from caa_registry.wording import with_article

SCHEMAS = "schemas.json"
"""In the migrations folder: of each revision the digest of the schema that the migrations make."""

Objects = Mapping[str, tuple[str, str, str]]
"""By name: type, table and normalized SQL of every object."""

# Strings and quoted names, which may hold brackets and commas; what is between brackets and commas; these.
_PIECES = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[^'"(),]+|.""")
_CONSTRAINTS = ("CONSTRAINT ", "PRIMARY KEY ", "FOREIGN KEY", "UNIQUE ", "CHECK ")

# What ANALYZE and PRAGMA optimize leave: figures for the planner.
_STATISTICS = {"sqlite_stat1", "sqlite_stat4"}
_HINT = "Do not use this file. Ask its sender for another copy."


def checked_revision(connection: Connection, shown: str, folder: Path) -> str | None:
    """The schema of a SQLite registry, ``None`` where it has none, once all of it is as the migrations make it.

    One statement and a digest where it is; else the migrations are run in memory to say what differs. Raises
    ``RegistryError`` naming the object. Of a schema that is not known here nothing is compared: it is refused as newer.
    """
    objects = read_objects(connection)
    table = objects.get(VERSION_TABLE)
    if table is None:
        return None
    digest, known = objects_digest(objects), revisions(folder)
    if table[0] != "table" or table[2] != _VERSION_TABLE_SQL:
        raise _refusal(shown, VERSION_TABLE, table[0])
    value = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()
    revision = None if value is None else str(value)
    if revision is None or digest == _digests(folder).get(revision):
        return revision
    if revision not in known:
        # It is refused as too new, after a look into this table.
        if not _is_plain(objects.get("meta")):
            raise _refusal(shown, "meta", "table")
        return revision
    _compare(objects, migrated_objects(folder, revision), shown)
    return revision


def read_objects(connection: Connection) -> Objects:
    """Everything in the schema of a SQLite database."""
    rows = connection.exec_driver_sql("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()
    objects: dict[str, tuple[str, str, str]] = {}
    for kind, name, table, sql in rows:
        if name in _STATISTICS and kind == "table" and _is_statistics(str(sql)):
            continue
        # A name comes twice only in a schema that was edited.
        name = str(name) if str(name) not in objects else f"{name} (again)"
        objects[name] = str(kind), str(table), _normalized(" ".join(str(sql or "").split()))
    return objects


def _normalized(sql: str) -> str:
    """A statement with the constraints of a table in alphabetical order, since a table made anew gets them in any."""
    start = sql.find("(")
    if not sql.startswith("CREATE TABLE") or start < 0 or not sql.endswith(")"):
        return sql
    parts, depth = [""], 0
    for piece in _PIECES.findall(sql[start + 1 : -1]):
        depth += (piece == "(") - (piece == ")")
        if piece == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece
    parts = [part.strip() for part in parts]
    columns = [part for part in parts if not part.startswith(_CONSTRAINTS)]
    constraints = sorted(part for part in parts if part.startswith(_CONSTRAINTS))
    return f"{sql[:start]}({', '.join([*columns, *constraints])})"


def objects_digest(objects: Objects) -> str:
    """One digest of all objects, in whatever order they were made."""
    return digest_object("sqlite-schema", {"objects": {name: list(parts) for name, parts in objects.items()}})


@functools.cache
def migrated_objects(folder: Path, revision: str) -> Objects:
    """What the migrations make of an empty database, up to ``revision``."""
    engine = create_engine("sqlite://", poolclass=StaticPool)

    @event.listens_for(engine, "connect")
    def prepare(connection: object, _record: object) -> None:
        connection.execute("PRAGMA legacy_alter_table=ON")  # type: ignore[attr-defined]

    try:
        with engine.begin() as connection:
            migrate(connection, folder, revision)
            return read_objects(connection)
    finally:
        engine.dispose()


def _is_plain(table: tuple[str, str, str] | None) -> bool:
    """Whether reading it runs nothing: no view, no virtual table, no column that is computed."""
    return table is not None and re.fullmatch(r"CREATE TABLE (?!.*\bAS\b).*", table[2], re.IGNORECASE) is not None


def _is_statistics(sql: str) -> bool:
    name, _, columns = sql.removeprefix("CREATE TABLE ").partition("(")
    return (name, columns) in {("sqlite_stat1", "tbl,idx,stat)"), ("sqlite_stat4", "tbl,idx,neq,nlt,ndlt,sample)")}


def _compare(objects: Objects, expected: Objects, shown: str) -> None:
    for name in sorted({*objects, *expected}):
        found = objects.get(name)
        if found is None:
            kind = expected[name][0]
            raise RegistryError(
                f"{shown} lacks the {kind} {name} that a registry of its schema has",
                "Something else changed the file. Restore a backup, or ask for another copy.",
            )
        if found != expected.get(name):
            raise _refusal(shown, name, found[0], changed=name in expected)


def _refusal(shown: str, name: str, kind: str, *, changed: bool = True) -> RegistryError:
    what = f"its {name} is not what" if changed else f"it holds {with_article(kind)} {name!r}, which is not what"
    return RegistryError(f"{shown} is not opened: {what} this program makes", _HINT)


@functools.cache
def _digests(folder: Path) -> Mapping[str, str]:
    path = folder / SCHEMAS
    digests: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return digests


_VERSION_TABLE_SQL = (
    f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL, "
    f"CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
)
