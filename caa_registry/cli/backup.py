"""``caa backup``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from caa_registry.cli import output
from caa_registry.cli.options import Settings, common
from caa_registry.wire.maintenance import backup_json
from caa_registry.wording import count


@click.command(epilog="Example: caa backup ~/backups --keep 7")
@click.argument("destination", type=click.Path(path_type=Path))
@click.option(
    "--keep", metavar="N", type=click.IntRange(1), help="Keep only the newest N backups of this registry in the folder."
)
@common
def backup(settings: Settings, destination: Path, keep: int | None) -> None:
    """Copy the registry to DESTINATION, a new file or a folder. Others may write meanwhile.

    The copy is one SQLite file, even of a PostgreSQL registry or of one whose blobs are in a folder or a bucket, and
    can be opened like any registry. In a folder it is
    named by the registry and the time. Its pages and its log are read again once it is written. To check all of it:
    caa fsck --read-only --registry FILE.
    """
    with settings.open() as registry, output.progress("copying") as progress:
        made = registry.backup(destination, keep=keep, progress=progress)
    if settings.as_json:
        output.print_json(backup_json(made))
        sys.exit(1 if made.lost else 0)
    output.line(str(made.path))
    output.message(f"{made.size / 1e6:,.1f} MB, {count(made.events, 'event')}, the last with the digest {made.head}.")
    for path in made.removed:
        output.message(f"Removed {path}.")
    if made.lost:
        output.message(
            f"PROBLEM: {count(len(made.lost), 'blob')} cannot be read in the store, and the backup lacks them."
            " To see what they belong to: caa fsck"
        )
        sys.exit(1)
