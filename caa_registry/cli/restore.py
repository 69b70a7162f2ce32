"""``caa restore``."""

from __future__ import annotations

from pathlib import Path

import click

from caa_registry.cli import output
from caa_registry.cli.options import Settings, common
from caa_registry.errors import UsageError
from caa_registry.wording import count


@click.command(epilog="Example: caa restore ~/backups/team.db --registry team.db")
@click.argument("backup", type=click.Path(path_type=Path))
@click.option(
    "--blobs",
    metavar="URL",
    help="Keep bytes in a folder, or in a bucket: s3://BUCKET/PREFIX.  [default: in the database]",
)
@common
def restore(settings: Settings, backup: Path, blobs: str | None) -> None:
    """Make a new registry from BACKUP, a file that caa backup wrote.

    --registry names the new registry, a path or a PostgreSQL URL; there must be none yet. Everything in the backup is
    checked first. With --blobs its bytes are put where caa init --blobs would have them.
    """
    from caa_registry.registry.opening import restore as restore_registry

    if settings.read_only:
        raise UsageError("a registry cannot be made with --read-only", "Leave it out. The backup is never changed.")
    with (
        output.progress("restoring") as progress,
        restore_registry(backup, settings.registry, blobs=blobs, progress=progress) as registry,
    ):
        shown = registry.database.shown
        where = None if registry.blobs.in_catalogue else registry.blobs.shown
        datasets, vectors = len(registry.datasets.ls()), len(registry.vectors.ls())
    if settings.as_json:
        output.print_json({"registry": shown, "blobs": where, "datasets": datasets, "vectors": vectors})
    else:
        output.message(f"Restored {shown}: {count(datasets, 'dataset')}, {count(vectors, 'vector')}.")
        if where is not None:
            output.message(f"Its blobs are in {where}.")
