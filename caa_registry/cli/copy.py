"""``caa copy``."""

from __future__ import annotations

import click

from caa_registry.cli import output
from caa_registry.cli.options import Settings, common
from caa_registry.errors import UsageError
from caa_registry.wording import count


@click.command(epilog="Example: caa copy ~/.caa/registry.db postgresql://team-db/caa")
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option(
    "--blobs",
    metavar="URL",
    help="Keep bytes in a folder, or in a bucket: s3://BUCKET/PREFIX.  [default: in the database]",
)
@common
def copy(settings: Settings, source: str, target: str, blobs: str | None) -> None:
    """Copy the whole registry SRC to DST, each a path or a PostgreSQL URL; there must be none at DST yet.

    Others may go on writing to SRC: the copy is what it holds at one moment, with all versions, numbers, digests and
    the log. Everything in it is checked before it appears, whole or not at all. SRC is only read. An older SQLite file
    is upgraded in the copy; an older PostgreSQL registry is upgraded first, by caa db upgrade. The copy keeps its bytes
    in its database, wherever SRC has them; with --blobs they are put where caa init --blobs would have them.
    """
    from caa_registry.registry.opening import copy as copy_registry

    if settings.registry is not None:
        raise UsageError("caa copy takes both registries as arguments", "Leave --registry out: caa copy SRC DST")
    if settings.read_only:
        raise UsageError("a registry cannot be made with --read-only", "Leave it out. SRC is never changed.")
    with (
        output.progress("copying") as progress,
        copy_registry(source, target, blobs=blobs, progress=progress) as registry,
    ):
        shown, head = registry.database.shown, registry.audit.head()
        where = None if registry.blobs.in_catalogue else registry.blobs.shown
        datasets, vectors = len(registry.datasets.ls()), len(registry.vectors.ls())
    if settings.as_json:
        digest = head.digest if head else ""
        copied = {"registry": shown, "blobs": where, "datasets": datasets, "vectors": vectors, "head": digest}
        output.print_json(copied)
        return
    output.message(f"Copied to {shown}: {count(datasets, 'dataset')}, {count(vectors, 'vector')}.")
    if where is not None:
        output.message(f"Its blobs are in {where}.")
    if head:
        output.message(f"The last event has the digest {head.digest}, as in the source.")
