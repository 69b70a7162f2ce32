"""A PostgreSQL server: who may what, how long anything waits, and connections that end."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from catalog.catalog_rows import NOW
from psycopg import errors
from sqlalchemy import select, text

import caa_registry as caa
from caa_registry.catalog.database import Database
from caa_registry.catalog.models import Base, Vector
from caa_registry.catalog.schema import VERSION_TABLE, migrations_folder
from caa_registry.catalog.server import engine as server_engine
from caa_registry.catalog.server.roles import MAY_CHANGE, roles
from caa_registry.catalog.upgrade import upgrade
from caa_registry.errors import RegistryError, UsageError

if TYPE_CHECKING:
    from support.team_server import TeamServer

MEMBERS = ("ada", "bob", "eve")


@pytest.fixture(scope="module")
def shared(team: TeamServer) -> str:
    """A registry with its roles; nothing is written to it."""
    return team.registry()


@pytest.fixture
def own(team: TeamServer) -> str:
    return team.registry()


@pytest.fixture
def database(team: TeamServer, own: str) -> Iterator[Database]:
    with Database.open(team.member(own, "ada"), create=False) as opened:
        yield opened


def add(database: Database, name: str) -> None:
    with database.write() as session:
        session.add(Vector(name=name, created_at=NOW))


def names(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(Vector.name).order_by(Vector.id)))


def has(team: TeamServer, name: str, user: str, privileges: str, table: str) -> bool:
    with psycopg.connect(team.owner(name)) as connection:
        query = "SELECT has_table_privilege(%s, %s, %s)"
        row = connection.execute(query, (f"{name}_{user}", table, privileges)).fetchone()
    assert row is not None
    return bool(row[0])


def changeable(team: TeamServer, name: str, user: str) -> set[tuple[str, str]]:
    """The columns that a user may change."""
    query = (
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' "
        "AND has_column_privilege(%s, table_name::regclass, column_name, 'UPDATE')"
    )
    with psycopg.connect(team.owner(name)) as connection:
        return {(row[0], row[1]) for row in connection.execute(query, (f"{name}_{user}",))}


def test_a_reader_reads_and_a_writer_adds(team: TeamServer, shared: str) -> None:
    for table in (VERSION_TABLE, *Base.metadata.tables):
        assert has(team, shared, "ada", "SELECT", table) and has(team, shared, "bob", "SELECT", table), table
        assert has(team, shared, "ada", "INSERT", table) == (table != VERSION_TABLE), table
        assert has(team, shared, "ada", "DELETE", table) == (table in ("alias", "tag", "search_entry")), table
        nothing = "TRUNCATE, REFERENCES, TRIGGER"
        for user, more in (
            ("ada", ""),
            ("bob", ", INSERT, UPDATE, DELETE"),
            ("eve", ", SELECT, INSERT, UPDATE, DELETE"),
        ):
            assert not has(team, shared, user, nothing + more, table), (user, table)
    assert changeable(team, shared, "bob") == changeable(team, shared, "eve") == set()


def test_a_writer_changes_only_what_no_trigger_keeps(team: TeamServer, shared: str) -> None:
    """The triggers and the rights say the same of every column."""
    kept = (
        "SELECT relname, attname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
        "JOIN pg_attribute ON attrelid = tgrelid AND attnum > 0 "
        "AND (attnum = ANY (tgattr) OR cardinality(tgattr::int[]) = 0) "
        "WHERE NOT tgisinternal AND tgname LIKE '%\\_update' AND tgqual IS NULL"
    )
    with psycopg.connect(team.owner(shared)) as connection:
        immutable = {(row[0], row[1]) for row in connection.execute(kept)}
    may = changeable(team, shared, "ada")
    assert {table for table, _ in may} == set(MAY_CHANGE) and may & immutable == set() and len(immutable) > 100
    every = {(table.name, column.name) for table in Base.metadata.tables.values() for column in table.columns}
    # What neither says is whose words an entry has, and what a fact is called.
    assert {table for table, _ in every - may - immutable} <= {"search_entry", "meta"}


def test_a_writer_says_what_versions_are(team: TeamServer, shared: str) -> None:
    with caa.open(team.member(shared, "ada"), create=False) as registry:
        registry.datasets.add("team/set", pairs=[("q", "a", "b")])
        for said in ("one", "other"):
            registry.describe("team/set", text=said, licence=said, behavior=said)
            registry.tags.set("team/set", {"status": said})
        registry.tags.remove("team/set", "status")
        registry.rename("team/set", "team/new")
        with registry.database.write() as session:
            session.execute(text("UPDATE search_entry SET text = 'x'"))
        registry.repair(registry.fsck())
        assert registry.fsck().faults == () and len(registry.search("other")) == 1


FORBIDDEN = [
    "UPDATE pair SET prompt = 'x'",
    "UPDATE dataset_version SET digest = 'x'",
    "UPDATE score SET value = 0",
    "UPDATE event SET actor = 'nobody'",
    f"UPDATE {VERSION_TABLE} SET version_num = '0'",
    f"INSERT INTO {VERSION_TABLE} VALUES ('0')",
    "DELETE FROM blob",
    "DELETE FROM pair",
    "DELETE FROM event",
    "TRUNCATE event",
    "DROP TABLE event",
    "DROP TRIGGER keep_event_delete ON event",
    "ALTER TABLE event DISABLE TRIGGER ALL",
    "ALTER TABLE event ADD COLUMN x integer",
    "CREATE TABLE mine (id integer)",
    "CREATE FUNCTION caa_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER mine BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION caa_refuse('x')",
    "CREATE SCHEMA mine",
    "SET session_replication_role = replica",
    "SELECT setval('event_id_seq', 1)",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_no_member_gets_round_the_rules(team: TeamServer, shared: str, statement: str) -> None:
    for user in MEMBERS:
        with psycopg.connect(team.member(shared, user)) as connection, pytest.raises(errors.InsufficientPrivilege):
            connection.execute(statement)  # type: ignore[call-overload]


@pytest.mark.parametrize("statement", ["INSERT INTO vector (name) VALUES ('x')", "SELECT nextval('event_id_seq')"])
def test_a_reader_adds_nothing(team: TeamServer, shared: str, statement: str) -> None:
    with psycopg.connect(team.member(shared, "bob")) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement)  # type: ignore[call-overload]


def test_what_a_user_may_not_is_one_sentence(team: TeamServer, shared: str) -> None:
    with Database.open(team.member(shared, "bob"), create=False) as database:
        for ask in (database.check_writable, lambda: add(database, "a")):
            with pytest.raises(RegistryError, match="this user may only read it") as caught:
                ask()
            assert "caa db roles" in caught.value.hint and "member-pw" not in str(caught.value)
        assert names(database) == []
    with pytest.raises(RegistryError, match="permission denied for table caa_alembic_version") as caught:
        Database.open(team.member(shared, "eve"), create=False)
    assert "caa db roles" in caught.value.hint and "member-pw" not in str(caught.value)


def test_what_a_writer_may_not_is_one_sentence(database: Database) -> None:
    add(database, "a")
    with (
        pytest.raises(RegistryError, match="permission denied for table vector") as caught,
        database.write() as session,
    ):
        session.add(Vector(name="b", created_at=NOW))
        session.execute(text("DELETE FROM vector"))
    assert "Nothing was changed" in caught.value.hint and names(database) == ["a"]


def test_tables_that_come_later_are_covered(team: TeamServer, own: str, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    shutil.copytree(migrations_folder(), folder)
    newest = sorted(folder.glob("versions/0*.py"))[-1].name[:4]
    (folder / "versions" / "9999_later.py").write_text(
        f"from alembic import op\nimport sqlalchemy as sa\nrevision, down_revision = '9999', '{newest}'\n"
        "branch_labels = depends_on = None\n"
        "def upgrade():\n"
        "    op.create_table('later', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('x', sa.Text()))\n"
    )
    upgrade(team.owner(own), migrations=folder)
    with psycopg.connect(team.member(own, "ada"), autocommit=True) as connection:
        connection.execute("INSERT INTO later (x) VALUES ('y')")
        for statement in ("UPDATE later SET x = 'z'", "DELETE FROM later"):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(statement)  # type: ignore[call-overload]
    with psycopg.connect(team.member(own, "bob"), autocommit=True) as connection:
        assert connection.execute("SELECT x FROM later").fetchall() == [("y",)]
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("INSERT INTO later (x) VALUES ('y')")


def test_the_script_takes_back_what_it_does_not_give(team: TeamServer, own: str) -> None:
    made = roles(team.owner(own))
    team.run(team.owner(own), f"GRANT ALL ON blob TO {made.writer}; GRANT UPDATE (digest) ON pair TO {made.reader};")
    assert has(team, own, "ada", "DELETE", "blob") and changeable(team, own, "bob") != set()
    team.run(team.owner(own), made.sql)
    assert not has(team, own, "ada", "DELETE", "blob") and changeable(team, own, "bob") == set()
    assert ("blob", "stored_at") in changeable(team, own, "ada")


def test_roles_are_called_after_the_database(team: TeamServer) -> None:
    odd = 'the-"Team\'s"-db'
    quoted = '"' + odd.replace('"', '""') + '"'
    team.administer(f"CREATE DATABASE {quoted}")
    url = team.url("postgres", "adm1n-pa55-w0rd", odd)
    Database.open(url, create=True).close()
    made = roles(url)
    assert (made.reader, made.writer) == (f"{odd}_reader", f"{odd}_writer")
    team.run(url, made.sql)
    team.administer(f"CREATE USER odd PASSWORD 'member-pw' IN ROLE \"{made.reader.replace(chr(34), chr(34) * 2)}\"")
    with Database.open(team.url("odd", "member-pw", odd), create=False) as database:
        assert names(database) == []
    long = "x" * 60
    team.administer(f"CREATE DATABASE {long}")
    Database.open(team.url("postgres", "adm1n-pa55-w0rd", long), create=True).close()
    with pytest.raises(UsageError, match="has a name that is too long"):
        roles(team.url("postgres", "adm1n-pa55-w0rd", long))


def test_roles_are_of_a_registry_on_a_server(team: TeamServer, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a file, which knows no users"):
        roles(f"sqlite:///{tmp_path}/a.db")
    with pytest.raises(RegistryError, match="no registry at"):
        roles(team.owner(team.database()))


def bounds(url: str) -> tuple[str, str, str]:
    with Database.open(url, create=False) as database, database.read() as session:
        shown = [
            str(session.scalar(text(f"SHOW {name}")))
            for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        ]
    return shown[0], shown[1], shown[2]


def test_waiting_is_bounded_unless_somebody_says_otherwise(team: TeamServer, own: str) -> None:
    url = team.member(own, "bob")
    assert bounds(url) == ("10min", "30s", "10min")
    assert bounds(f"{url}?options=-c%20statement_timeout%3D0") == ("0", "30s", "10min")
    team.administer(f"ALTER ROLE {own}_bob SET lock_timeout = '5s'")
    assert bounds(f"{url}?options=-c%20statement_timeout%3D7s") == ("7s", "5s", "10min")


def test_a_statement_ends_in_time(team: TeamServer, shared: str) -> None:
    url = f"{team.member(shared, 'bob')}?options=-c%20statement_timeout%3D50"
    with Database.open(url, create=False) as database:
        with pytest.raises(RegistryError, match="statement timeout") as caught, database.read() as session:
            session.execute(text("SELECT pg_sleep(60)"))
        assert "statement_timeout" in caught.value.hint and "member-pw" not in str(caught.value)
        assert names(database) == []


def test_who_sleeps_in_a_transaction_keeps_nobody_from_writing(team: TeamServer, own: str, database: Database) -> None:
    url = f"{team.member(own, 'ada')}?options=-c%20idle_in_transaction_session_timeout%3D50"
    with Database.open(url, create=False) as sleeper:
        with pytest.raises(RegistryError, match=r"idle-in-transaction|connection was lost"), sleeper.write() as session:
            session.add(Vector(name="lost", created_at=NOW))
            session.flush()
            add(database, "kept")  # it waits until the server has ended the other
            session.execute(text("SELECT 1"))
        add(sleeper, "after")
    assert names(database) == ["kept", "after"]


def test_between_transactions_it_goes_on(team: TeamServer, own: str, database: Database) -> None:
    add(database, "a")
    assert team.end_connections(own) > 0
    assert names(database) == ["a"]
    assert team.end_connections(own) > 0
    add(database, "b")
    team.stop()
    team.start()
    add(database, "c")
    assert names(database) == ["a", "b", "c"]


def test_a_server_that_restarts_is_waited_for(team: TeamServer, database: Database) -> None:
    add(database, "a")
    team.stop()
    writer = threading.Thread(target=add, args=(database, "b"))
    try:
        writer.start()
    finally:
        team.start()
    writer.join()
    assert names(database) == ["a", "b"]


def test_a_connection_that_is_lost_as_soon_as_it_is_made_is_made_anew(
    team: TeamServer, own: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it is said to be a wrong URL or password."""
    team.administer("CREATE SEQUENCE tried; GRANT USAGE ON tried TO PUBLIC", database=own)
    ends = "CASE WHEN nextval('tried') = 1 THEN pg_terminate_backend(pg_backend_pid()) END"
    monkeypatch.setattr(server_engine, "_BOUND", f"SELECT {ends} WHERE %s::text IS NOT NULL")
    team.end_connections(own)
    with database.read() as session:
        assert session.scalar(text("SELECT currval('tried')")) == 2


def test_a_connection_that_is_lost_while_a_registry_is_opened_is_called_lost(
    team: TeamServer, shared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(connection: psycopg.Connection[Any]) -> None:
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
        connection.execute("SELECT 1")

    monkeypatch.setattr(server_engine, "_bound", cut)
    with pytest.raises(RegistryError, match="the connection was lost") as caught:
        Database.open(team.member(shared, "ada"), create=False)
    assert "Do the same again" in caught.value.hint and "member-pw" not in str(caught.value)


def test_a_server_that_does_not_come_back(
    team: TeamServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_engine, "RESTART_SECONDS", 0.0)
    team.stop()
    try:
        with pytest.raises(RegistryError, match="connection failed") as caught:
            names(database)
    finally:
        team.start()
    assert "that the server runs" in caught.value.hint and "member-pw" not in str(caught.value)
    add(database, "a")
    assert names(database) == ["a"]


@pytest.mark.parametrize("where", ["at the next statement", "at the end"])
def test_inside_a_transaction_it_says_so_and_nothing_is_half_written(
    team: TeamServer, own: str, database: Database, where: str
) -> None:
    add(database, "a")
    with pytest.raises(RegistryError, match="the connection was lost") as caught, database.write() as session:
        session.add(Vector(name="b", created_at=NOW))
        session.flush()
        assert team.end_connections(own) > 0
        if where == "at the next statement":
            session.add(Vector(name="c", created_at=NOW))
            session.flush()
    assert "nothing is stored twice" in caught.value.hint and "member-pw" not in str(caught.value)
    assert names(database) == ["a"]
    add(database, "d")
    assert names(database) == ["a", "d"]


def test_a_lost_reader_says_so_too(team: TeamServer, own: str, database: Database) -> None:
    with pytest.raises(RegistryError, match="the connection was lost"), database.read() as session:
        session.execute(text("SELECT 1"))
        assert team.end_connections(own) > 0
        session.execute(text("SELECT 1"))
    assert names(database) == []


def test_more_connections_than_the_pool_has(team: TeamServer, database: Database) -> None:
    pool = database._engine.pool
    pool._timeout = 0.0  # type: ignore[attr-defined]
    held = [database._engine.connect() for _ in range(15)]
    try:
        with pytest.raises(RegistryError, match="as many connections as it may") as caught:
            names(database)
        assert caught.value.hint
    finally:
        for connection in held:
            connection.close()
    assert names(database) == []


def test_a_server_that_takes_no_changes(database: Database) -> None:
    with pytest.raises(RegistryError, match="read-only transaction") as caught, database.write() as session:
        session.execute(text("SET TRANSACTION READ ONLY"))
        session.add(Vector(name="a", created_at=NOW))
    assert "takes no changes" in caught.value.hint and names(database) == []


def test_a_server_that_follows_another_is_read_and_copied(team: TeamServer, shared: str, tmp_path: Path) -> None:
    with team.follower() as port:
        url = team.member(shared, "ada").replace(f":{team.port}/", f":{port}/")
        with Database.open(url, create=False) as database:
            assert names(database) == []
            with pytest.raises(RegistryError, match="follows another server") as caught:
                add(database, "a")
            assert "Nothing was changed" in caught.value.hint
        caa.copy(url, tmp_path / "copy.db").close()
    assert (tmp_path / "copy.db").is_file()


def test_encryption_is_asked_for_in_the_url(team: TeamServer, shared: str) -> None:
    url = team.member(shared, "bob")
    with Database.open(f"{url}?sslmode=disable", create=False) as database:
        assert names(database) == []
    with pytest.raises(RegistryError, match="SSL"):
        Database.open(f"{url}?sslmode=require", create=False)
    with pytest.raises(RegistryError, match=r"root\.crt"):
        Database.open(f"{url}?sslmode=verify-full&sslrootcert=/nowhere/root.crt", create=False)
