"""What is done to a registry while something goes wrong, and what a registry then says."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What differs from one time to the next.
_TIMES = frozenset(
    ("created_at", "started_at", "finished_at", "at", "stored_at", "updated_at", "unchecked_before", "row_digest")
)
_LEFT_OUT: Mapping[str, frozenset[str]] = {
    "event": frozenset({"digest", "previous"}),
    "run": frozenset({"environment"}),
    "blob": frozenset({"data"}),
}
_RECORDED = ("run", "run_io", "event", "meta", "sqlite_sequence")

Said = dict[str, list[str]]
"""By table its rows as text, without times and without blobs that nothing refers to."""


@dataclass(frozen=True)
class Operation:
    """A command and what comes of it.

    ``arguments``: ``{work}`` is the folder. ``before`` and ``prepare``: what makes what it starts from. ``target``: the
    file that it writes, which may be none yet; ``source``: one that must stay as it is. ``again``: what it says where
    it was done already. ``rounded``: other last digits may come of it when it goes on where it was, since what is read
    together with what then differs. ``repeats``: done twice it is there twice.
    """

    name: str
    arguments: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    target: str = "registry.db"
    source: str = ""
    again: str = ""
    prepare: Callable[[Path], None] | None = None
    rounded: bool = False
    repeats: bool = False


def _old(work: Path) -> None:
    older_file(work / "old.db", "0005", work / "registry.db")
    (work / "registry.db").unlink()


# A registry of the same, whose blobs are in a folder.
APART = ("--registry", "{work}/apart.db")
_MOVED = (
    ("backup", "{work}/backup.db"),
    ("restore", "{work}/backup.db", *APART, "--blobs", "{work}/apart"),
)
EVALUATE = ("--layers", "1", "--multipliers=-1,1", "--draws", "19", "--model", "demo")
OPERATIONS = (
    Operation("import", ("dataset", "import", "{work}/more.jsonl", "--name", "team/more")),
    Operation("import, next version", ("dataset", "import", "{work}/more.jsonl", "--name", "team/dishes")),
    Operation("curate", ("dataset", "filter", "team/dishes:v1", "split == 'generate'", "--name", "team/some")),
    Operation("recall", ("dataset", "recall", "team/dishes:v2", "--why", "wrong"), again="recalled already"),
    Operation(
        "compute", ("vector", "compute", "team/new", "--dataset", "team/dishes:v1", "--model", "demo"), rounded=True
    ),
    Operation("evaluate", ("eval", "propensity", "team/praise:v2", *EVALUATE), rounded=True, repeats=True),
    Operation("set alias", ("alias", "set", "vector:team/praise:v1", "main")),
    Operation("move alias", ("alias", "set", "vector:team/praise:v2", "best")),
    Operation("tag", ("tag", "set", "vector:team/praise:v2", "status=new", "owner=bea")),
    Operation(
        "describe", ("describe", "dataset:team/dishes:v2", "--text", "x", "--licence", "MIT", "--behavior", "taste")
    ),
    Operation("rename", ("rename", "dataset:team/dishes", "team/meals"), again="it was renamed"),
    Operation(
        "deprecate",
        ("deprecate", "team/dishes:v1", "--why", "old", "--successor", "team/dishes:v2"),
        again="deprecated already",
    ),
    Operation("delete", ("delete", "vector:team/praise:v2", "--why", "wrong"), again="has no version v2"),
    Operation(
        "undelete", ("undelete", "evaluation:3"), (("delete", "evaluation:3"),), again="nothing that was deleted"
    ),
    Operation(
        "gc",
        ("gc", "--grace", "0"),
        (("delete", "vector:team/praise:v2"), ("delete", "evaluation:2"), ("delete", "dataset:team/dishes:v2")),
    ),
    Operation("backup", ("backup", "{work}/backup.db"), target="backup.db", source="registry.db", again="exists"),
    Operation(
        "restore",
        ("restore", "{work}/backup.db", "--registry", "{work}/new.db"),
        (("backup", "{work}/backup.db"),),
        target="new.db",
        source="backup.db",
        again="there is a registry at",
    ),
    Operation(
        "copy",
        ("copy", "{work}/registry.db", "{work}/new.db"),
        target="new.db",
        source="registry.db",
        again="there is a registry at",
    ),
    Operation("init", ("init", "--registry", "{work}/deep/new.db"), target="deep/new.db", again="registry is at"),
    Operation(
        "init with a folder",
        ("init", "--registry", "{work}/deep/new.db", "--blobs", "{work}/deep/apart"),
        target="deep/new.db",
        again="registry is at",
    ),
    Operation(
        "restore into a folder",
        ("restore", "{work}/backup.db", "--registry", "{work}/new.db", "--blobs", "{work}/new"),
        (("backup", "{work}/backup.db"),),
        target="new.db",
        source="backup.db",
        again="there is a registry at",
    ),
    Operation(
        "compute into a folder",
        ("vector", "compute", "team/new", "--dataset", "team/dishes:v1", "--model", "demo", *APART),
        _MOVED,
        target="apart.db",
        rounded=True,
    ),
    Operation(
        "gc in a folder",
        ("gc", "--grace", "0", *APART),
        (*_MOVED, ("delete", "vector:team/praise:v2", *APART), ("delete", "evaluation:2", *APART)),
        target="apart.db",
    ),
    Operation(
        "backup from a folder",
        ("backup", "{work}/whole.db", *APART),
        _MOVED,
        target="whole.db",
        source="apart.db",
        again="exists",
    ),
    Operation("upgrade", ("db", "upgrade", "--registry", "{work}/old.db"), target="old.db", prepare=_old),
)


def older_file(path: Path, revision: str, source: Path) -> None:
    """A registry of an earlier schema, with what ``source``, one of today, holds of what it knew."""
    from sqlalchemy import create_engine

    from caa_registry.catalog.engines import APPLICATION_ID
    from caa_registry.catalog.schema import migrate, migrations_folder

    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
        connection.exec_driver_sql("PRAGMA legacy_alter_table=ON")
        migrate(connection, migrations_folder(), revision)
    engine.dispose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("ATTACH DATABASE ? AS new", (str(source),))
        tables = [row[0] for row in connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")]
        for table in tables:
            if table.startswith(("sqlite_", "caa_", "meta")):
                continue
            known = {row[1] for row in connection.execute(f"PRAGMA new.table_info({table})")}
            own = [row[1] for row in connection.execute(f"PRAGMA main.table_info({table})") if row[1] in known]
            columns = ", ".join(f'"{name}"' for name in own)
            connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}")
        connection.commit()


def said(place: str | Path) -> Said:
    """What a registry holds, in a file or on a server, read without caa."""
    if isinstance(place, Path):
        with closing(sqlite3.connect(f"file:{place}?mode=rw", uri=True)) as connection:
            # But for the index of the words in search_entry: its tables also say in which order they came.
            query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'search_index%'"
            names = [row[0] for row in connection.execute(query)]
            found = {name: list(_rows(connection.execute(f'SELECT * FROM "{name}"'))) for name in names}
    else:
        import psycopg

        with psycopg.connect(place.replace("+psycopg", "")) as server:
            names = [
                row[0]
                for row in server.execute(
                    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
                )
            ]
            found = {name: list(_rows(server.execute(f'SELECT * FROM "{name}"'))) for name in names}
    referred = {
        row[column]
        for table, column in (("vector_version", "blob_digest"), ("evaluation", "measurements"))
        for row in found.get(table, ())
        if column in row
    }
    if "blob" in found:
        found["blob"] = [row for row in found["blob"] if row["digest"] in referred]
    return {name: sorted(_text(name, row) for row in rows) for name, rows in found.items()}


def _rows(cursor: Any) -> Iterator[dict[str, Any]]:
    columns = [column[0] for column in cursor.description]
    return (dict(zip(columns, row, strict=True)) for row in cursor)


def _text(table: str, row: Mapping[str, Any]) -> str:
    left_out = _TIMES | _LEFT_OUT.get(table, frozenset())
    kept = {name: value for name, value in row.items() if name not in left_out}
    if "deleted_at" in kept:
        kept["deleted_at"] = kept["deleted_at"] is not None
    if table == "meta" and kept["key"] == "audit_head":
        kept["value"] = ""
    if table == "event" and kept.get("action") == "gc":
        kept["subject"] = ""
    if table == "run":
        # What was read before and kept is not read again.
        said = kept["parameters"] if isinstance(kept["parameters"], dict) else json.loads(kept["parameters"])
        kept["parameters"] = {name: value for name, value in said.items() if name != "reading"}
    return repr(kept)


def content(of: Said) -> Said:
    """The same without what records who did what."""
    return {name: rows for name, rows in of.items() if name not in _RECORDED}


def sizes(of: Said) -> dict[str, int]:
    """By table how many rows."""
    return {name: len(rows) for name, rows in of.items()}


def faults(place: str | Path) -> list[str]:
    """What fsck finds wrong; orphan blobs are no fault."""
    import caa_registry as caa

    with caa.open(str(place), create=False) as registry:
        return [f"{each.check}: {each.thing}: {each.problem}" for each in registry.fsck().damage]


def differences(one: Said, other: Said) -> str:
    """Where they differ, in a few words."""
    found = []
    for table in sorted(one.keys() | other.keys()):
        a, b = one.get(table, []), other.get(table, [])
        if a != b:
            found.append(f"{table}: -{sorted(set(a) - set(b))[:2]} +{sorted(set(b) - set(a))[:2]}")
    return "; ".join(found)[:600]


if __name__ == "__main__":
    sys.exit("this is a part of check_faults.py")
