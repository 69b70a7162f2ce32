"""``caa init``."""

from __future__ import annotations

import click

from caa_registry.cli.options import Settings, common
from caa_registry.cli.output import message, print_json


@click.command(epilog="Example: caa init --registry ./team.db")
@common
def init(settings: Settings) -> None:
    """Create a registry, or say that it is there.

    Without --registry it is CAA_REGISTRY, else the one in the settings file, else ~/.caa/registry.db. A PostgreSQL
    URL (postgresql://host/database) makes a registry for a team.
    """
    with settings.open(create=True) as registry:
        url = registry.database.shown
        datasets, vectors = len(registry.datasets.ls()), len(registry.vectors.ls())
    if settings.as_json:
        print_json({"registry": url, "datasets": datasets, "vectors": vectors})
        return
    message(f"The registry {url} is ready (datasets: {datasets}, vectors: {vectors}).")
    if not datasets:
        message("Import pairs: caa dataset import seed:sycophancy --name team/sycophancy")
