"""``caa db``."""

from __future__ import annotations

import click

from caa_registry.cli.options import Settings, common
from caa_registry.cli.output import message, print_json


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
    from caa_registry.catalog.upgrade import upgrade as upgrade_registry

    before, after = upgrade_registry(where.registry_url(settings.registry))
    if settings.as_json:
        print_json({"before": before, "after": after})
    elif before == after:
        message(f"The registry is up to date (schema {after}).")
    else:
        message(f"Upgraded from schema {before} to {after}.")
