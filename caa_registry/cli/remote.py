"""``caa remote``."""

from __future__ import annotations

from pathlib import Path

import click

from caa_registry.cli import output
from caa_registry.cli.options import Settings, common
from caa_registry.wire.transfer import remote_json


@click.group()
def remote() -> None:
    """Other registries, shared folders and repositories of the hub by name, for push, pull and diff.

    They are kept in ~/.caa/remotes.toml, for you alone and without passwords.
    """


@remote.command(epilog="Example: caa remote add team postgresql://ada@db.example.org/caa")
@click.argument("name")
@click.argument("url")
@click.option("--replace", is_flag=True, help="Let NAME mean another place.")
@common
def add(settings: Settings, name: str, url: str, replace: bool) -> None:
    """Give the registry, the folder or the repository at URL a name.

    URL is the path of a SQLite file, a PostgreSQL URL, the path of a folder that holds bundles, or hf:ORG/NAME[@REV]. A
    folder that does not exist yet is written with a slash at its end (/mnt/share/vectors/), and made; another path
    that does not exist yet is a SQLite file.

    A password does not belong in it: PostgreSQL takes that from PGPASSWORD or ~/.pgpass.
    """
    from caa_registry.registry.transfer.remotes import Remotes

    made = Remotes().add(name, url, replace=replace)
    if settings.as_json:
        output.print_json(remote_json(made))
    else:
        what = {"registry": made.url, "folder": f"the folder {made.url}", "hub": f"{made.url} on the hub"}
        output.message(f"{made.name} is {what[made.kind]}.")
        if made.kind == "registry" and "://" not in made.url and not Path(made.url).exists():
            output.message(
                "That is a SQLite file which is not there yet; a new folder is written with a slash at its end."
            )


@remote.command(epilog="Example: caa remote ls")
@common
def ls(settings: Settings) -> None:
    """List the registries, folders and repositories that have names."""
    from caa_registry.registry.transfer.remotes import Remotes

    listed = Remotes().ls()
    if settings.as_json:
        output.print_json([remote_json(each) for each in listed])
        return
    rows = [(each.name, each.kind, each.url) for each in listed]
    output.table(["name", "kind", "where"], rows, empty="No remotes yet. Name one: caa remote add NAME URL")


@remote.command(epilog="Example: caa remote rm team")
@click.argument("name")
@common
def rm(settings: Settings, name: str) -> None:
    """Forget NAME. What it names stays."""
    from caa_registry.registry.transfer.remotes import Remotes

    Remotes().remove(name)
    if settings.as_json:
        output.print_json({"removed": name})
    else:
        output.message(f"Removed {name}.")
