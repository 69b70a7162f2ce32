"""``caa remote``."""

from __future__ import annotations

import click

from caa_registry.cli import output
from caa_registry.cli.options import Settings, common
from caa_registry.wire.transfer import remote_json


@click.group()
def remote() -> None:
    """Other registries by name, for push, pull and diff.

    They are kept in ~/.caa/remotes.toml, for you alone and without passwords.
    """


@remote.command(epilog="Example: caa remote add team postgresql://ada@db.example.org/caa")
@click.argument("name")
@click.argument("url")
@click.option("--replace", is_flag=True, help="Give NAME to another registry.")
@common
def add(settings: Settings, name: str, url: str, replace: bool) -> None:
    """Give the registry at URL a name. URL is the path of a SQLite file, or a PostgreSQL URL.

    A password does not belong in it: PostgreSQL takes that from PGPASSWORD or ~/.pgpass.
    """
    from caa_registry.registry.transfer.remotes import Remotes

    made = Remotes().add(name, url, replace=replace)
    if settings.as_json:
        output.print_json(remote_json(made))
    else:
        output.message(f"{made.name} is {made.url}.")


@remote.command(epilog="Example: caa remote ls")
@common
def ls(settings: Settings) -> None:
    """List the registries that have names."""
    from caa_registry.registry.transfer.remotes import Remotes

    listed = Remotes().ls()
    if settings.as_json:
        output.print_json([remote_json(each) for each in listed])
        return
    rows = [(each.name, each.url) for each in listed]
    output.table(["name", "registry"], rows, empty="No remotes yet. Name one: caa remote add NAME URL")


@remote.command(epilog="Example: caa remote rm team")
@click.argument("name")
@common
def rm(settings: Settings, name: str) -> None:
    """Forget NAME. The registry stays."""
    from caa_registry.registry.transfer.remotes import Remotes

    Remotes().remove(name)
    if settings.as_json:
        output.print_json({"removed": name})
    else:
        output.message(f"Removed {name}.")
