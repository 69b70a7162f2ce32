"""``caa init``."""

from __future__ import annotations

import click

from caa_registry.cli.options import Settings, common
from caa_registry.cli.output import message, print_json
from caa_registry.pairs.curation.result import count


@click.command(epilog="Example: caa init --registry ./team.db")
@click.option("--shared", is_flag=True, help="Let the umask decide who may use it.  [default: only you]")
@common
def init(settings: Settings, shared: bool) -> None:
    """Create a registry. An existing one is left as it is.

    Without --registry, the registry is CAA_REGISTRY, else the one that the settings file names, else
    ~/.caa/registry.db. With a PostgreSQL URL (postgresql://host/database) a team can share it.
    A SQLite file is made for you alone; --shared gives it the permissions that your umask leaves, and its backups and
    the files beside it follow.
    """
    with settings.open(create=True, shared=shared) as registry:
        url = registry.database.shown
        datasets, vectors = len(registry.datasets.ls()), len(registry.vectors.ls())
    if settings.as_json:
        print_json({"registry": url, "datasets": datasets, "vectors": vectors})
        return
    message(f"The registry {url} is ready: {count(datasets, 'dataset')}, {count(vectors, 'vector')}.")
    if not datasets:
        message("To import pairs: caa dataset import seed:sycophancy --name team/sycophancy")
