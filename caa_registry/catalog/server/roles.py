"""A reading and a writing role for a registry on PostgreSQL, as SQL for whoever looks after the server."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text

from caa_registry.catalog import models as t
from caa_registry.catalog.engines import REPORTED, explain, readers
from caa_registry.catalog.location import locate
from caa_registry.catalog.schema import VERSION_TABLE, current_revision, migrations_folder, needs_upgrade
from caa_registry.catalog.server.engine import postgres_engine
from caa_registry.errors import RegistryError, UsageError, one_line

# What a writer may change and remove, by table; the triggers keep the rest from everybody. Contents of what was deleted
# are removed by the owner alone (caa gc), so that the owner can take back whatever a writer does.
MAY_CHANGE = {
    "alias": "UPDATE, DELETE",
    "amendment": "UPDATE (licence, behavior, updated_at, row_digest)",
    "blob": "UPDATE (stored_at)",
    "dataset": "UPDATE (name, description, row_digest)",
    "dataset_version": "UPDATE (deleted_at)",
    "evaluation": "UPDATE (deleted_at)",
    "meta": "UPDATE (value)",
    "model": "UPDATE (tensors, path, adapter_path)",
    "search_entry": "UPDATE (text), DELETE",
    "tag": "UPDATE (value, updated_at, row_digest), DELETE",
    "vector": "UPDATE (name, description, row_digest)",
    "vector_version": "UPDATE (deleted_at)",
}

_LONGEST_NAME = 63 - len("_reader")
_PLACE = """
SELECT current_database(), nspname, pg_get_userbyid(relowner)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE pg_class.oid = to_regclass(:table)
"""


@dataclass(frozen=True)
class Roles:
    """The names of the two roles of a registry, and the SQL that makes them or brings them up to date."""

    reader: str
    writer: str
    sql: str


def roles(url: str) -> Roles:
    """The roles of the registry at ``url``, which is only read. Raises ``UsageError`` for a SQLite file,
    ``RegistryError`` where there is no registry or an older one."""
    location = locate(url)
    if location.path is not None:
        raise UsageError(
            f"{location.shown} is a file, which knows no users",
            "Who may use it is said by its permissions (caa init --shared); PostgreSQL has roles: caa copy",
        )
    engine = postgres_engine(location)
    try:
        with readers(engine).connect() as connection:
            if current_revision(connection) is None:
                raise RegistryError(f"no registry at {location.shown}", f"Run: caa init {location.option}")
            if needs_upgrade(connection, location.shown, migrations_folder()):
                raise RegistryError(
                    f"{location.shown} has an older schema", f"Back it up, then run: caa db upgrade {location.option}"
                )
            database, schema, owner = connection.execute(text(_PLACE), {"table": VERSION_TABLE}).one()
        # The names stand in comments of the SQL too.
        if len(database.encode()) > _LONGEST_NAME or not f"{database}{schema}{owner}".isprintable():
            raise UsageError(
                f"the database {one_line(database, 80)} has a name that is too long or not printable",
                "Rename it: its roles are called after it.",
            )
        reader, writer = f"{database}_reader", f"{database}_writer"
        quote = engine.dialect.identifier_preparer.quote
        sql = _sql(*(quote(name) for name in (database, schema, owner, reader, writer)))
        return Roles(reader, writer, sql)
    except REPORTED as error:
        raise explain(location, error) from location.cause(error)
    finally:
        engine.dispose()


def _sql(database: str, schema: str, owner: str, reader: str, writer: str) -> str:
    tables = sorted(t.Base.metadata.tables)
    every = ",\n    ".join(f"{schema}.{name}" for name in (VERSION_TABLE, *tables))
    added = ",\n    ".join(f"{schema}.{name}" for name in tables)
    changed = "\n".join(f"GRANT {what} ON {schema}.{name} TO {writer};" for name, what in MAY_CHANGE.items())
    make = "\n".join(
        f"    IF to_regrole({_literal(role)}) IS NULL THEN CREATE ROLE {role} NOLOGIN; END IF;"
        for role in (reader, writer)
    )
    return f"""\
-- A reading and a writing role for the CAA registry in the database {database}. Made by: caa db roles
--
-- Run this in that database, as {owner} if that user may make roles, else as an administrator. It can be run
-- again at any time, and is to be run again after each caa db upgrade.
--
-- Nobody can log in as one of the roles. A person gets a user who is a member of one:
--     CREATE USER ada PASSWORD '...' IN ROLE {writer};
--
-- A reader reads everything and changes nothing. A writer adds to every table, and changes what is no part of a
-- version: aliases, marks of deletion, the folder of a model, the head of the log. Neither owns anything, so
-- that triggers, tables and the schema stay as they are. caa gc and caa db upgrade are for {owner}.

BEGIN;

DO $$
BEGIN
{make}
END $$;

REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC;
GRANT USAGE ON SCHEMA {schema} TO {reader}, {writer};

-- What an earlier release granted and this one does not.
REVOKE ALL ON
    {every}
FROM {reader}, {writer};

GRANT SELECT ON
    {every}
TO {reader}, {writer};

GRANT INSERT ON
    {added}
TO {writer};

{changed}

-- The numbers of new rows.
GRANT SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {reader};
GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {writer};

-- Tables that {owner} adds later, by caa db upgrade.
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT SELECT ON TABLES TO {reader}, {writer};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT INSERT ON TABLES TO {writer};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT SELECT ON SEQUENCES TO {reader};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT SELECT, USAGE ON SEQUENCES TO {writer};

COMMIT;
"""


def _literal(identifier: str) -> str:
    return "'" + identifier.replace("'", "''") + "'"
