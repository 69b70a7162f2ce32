"""``caa init``."""

from __future__ import annotations

import click

from caa_registry.cli.options import Settings, common
from caa_registry.cli.output import message, print_json
from caa_registry.errors import UsageError
from caa_registry.wording import count


@click.command(epilog="Example: caa init --registry ./team.db")
@click.option("--shared", is_flag=True, help="Let the umask decide who may use it.  [default: only you]")
@click.option(
    "--blobs",
    metavar="URL",
    help="Keep bytes in a folder, or in a bucket: s3://BUCKET/PREFIX.  [default: in the database]",
)
@common
def init(settings: Settings, shared: bool, blobs: str | None) -> None:
    """Create a registry. An existing one is left as it is.

    Without --registry, the registry is CAA_REGISTRY, else the one that the settings file names, else
    ~/.caa/registry.db. With a PostgreSQL URL (postgresql://host/database) a team can share it.
    A SQLite file is made for you alone; --shared gives it the permissions that your umask leaves, and its backups and
    the files beside it follow.

    With --blobs the bytes of vectors and of items that were measured are kept outside the database. Everybody who uses
    the registry finds them there. How to reach a bucket is said by the environment alone: AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL and the like; a URL holds no keys.
    """
    if settings.read_only and blobs is not None:
        raise UsageError("a registry cannot be made with --read-only", "Leave it out.")
    with settings.open(create=True, shared=shared, blobs=blobs) as registry:
        url = registry.database.shown
        where = None if registry.blobs.in_catalogue else registry.blobs.shown
        datasets, vectors = len(registry.datasets.ls()), len(registry.vectors.ls())
    if settings.as_json:
        print_json({"registry": url, "blobs": where, "datasets": datasets, "vectors": vectors})
        return
    message(f"The registry {url} is ready: {count(datasets, 'dataset')}, {count(vectors, 'vector')}.")
    if where is not None:
        message(f"Its blobs are in {where}.")
    if not datasets:
        message("To import pairs: caa dataset import seed:sycophancy --name team/sycophancy")
