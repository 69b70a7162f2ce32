"""``caa db``."""

from __future__ import annotations

import click

from caa_registry.cli.options import Settings, common
from caa_registry.cli.output import document, message, print_json
from caa_registry.errors import UsageError


@click.group()
def db() -> None:
    """The registry's database."""


@db.command(epilog="Example: caa db upgrade --registry postgresql://team-db/caa")
@common
def upgrade(settings: Settings) -> None:
    """Upgrade an older registry to the schema of this version of caa.

    A SQLite registry is also upgraded whenever it is opened, after a backup next to the file. A PostgreSQL registry is
    upgraded only by this command.
    """
    from caa_registry import settings as where
    from caa_registry.catalog.location import locate
    from caa_registry.catalog.upgrade import upgrade as upgrade_registry

    if settings.read_only:
        raise UsageError("a registry cannot be upgraded with --read-only", "Leave it out.")
    url = where.registry_url(settings.registry)
    before, after = upgrade_registry(url)
    if settings.as_json:
        print_json({"before": before, "after": after})
    elif before == after:
        message(f"The registry is up to date (schema {after}).")
    else:
        message(f"Upgraded from schema {before} to {after}.")
        if locate(url).path is None:
            message("If its readers and writers have roles, bring these up to date: caa db roles")


@db.command(epilog="Example: caa db roles --registry postgresql://team-db/caa")
@common
def roles(settings: Settings) -> None:
    """Print SQL that makes a reading and a writing role for a PostgreSQL registry.

    Nothing is changed. Whoever looks after the server reads the SQL and runs it, such as by psql. The roles are called
    after the database: caa_reader and caa_writer for one called caa. It can be run again at any time, and is to be run
    again after an upgrade. docs/team.md shows the whole way.
    """
    from caa_registry import settings as where
    from caa_registry.catalog.server.roles import roles as roles_of

    made = roles_of(where.registry_url(settings.registry))
    if settings.as_json:
        print_json({"reader": made.reader, "writer": made.writer, "sql": made.sql})
    else:
        document(made.sql)
