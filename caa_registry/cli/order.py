"""``caa search``, ``caa describe`` and ``caa rename``."""

from __future__ import annotations

import click

from caa_registry.cli import output
from caa_registry.cli.listing import page_options, rows_to_show, say_rest
from caa_registry.cli.options import Settings, common
from caa_registry.digests import short
from caa_registry.registry.records import DatasetVersion, Hit
from caa_registry.wire.aliases import hit_json
from caa_registry.wire.datasets import dataset_json
from caa_registry.wire.vectors import vector_json


@click.command(epilog="Example: caa search 'professor philosophy'")
@click.argument("text", nargs=-1, required=True)
@page_options
@common
def search(settings: Settings, text: tuple[str, ...], limit: int | None, all_rows: bool) -> None:
    """Find datasets, vectors, models, pairs and questions by their words.

    Of a dataset or vector the name, behavior, description, messages and tags are searched, the licence, and the model
    of a vector; of each name the newest version that fits is shown. All words must be there. Each may be the beginning
    of one; case and accents do not count.
    """
    count = rows_to_show(settings, limit, all_rows)
    with settings.open() as registry:
        listed = registry.search(" ".join(text), limit=count)
    if settings.as_json:
        output.print_json([hit_json(hit) for hit in listed])
        return
    rows = [(hit.kind, _called(hit), hit.field, hit.text) for hit in listed]
    output.table(["kind", "of", "in", "text"], rows, empty="Nothing has these words.")
    say_rest(listed)


def _called(hit: Hit) -> str:
    if hit.kind != "pair":
        return hit.reference
    more = f" and {len(hit.within) - 1} more" if len(hit.within) > 1 else ""
    return f"{short(hit.reference)} in {hit.within[0]}{more}"


@click.command(epilog="Example: caa describe team/sycophancy --licence CC-BY-4.0")
@click.argument("reference")
@click.option("--text", metavar="TEXT", help="What it is. It is about the name, and so about all versions.")
@click.option("--licence", metavar="L", help="Licence of this dataset version, as MIT or CC-BY-4.0.")
@click.option("--behavior", metavar="B", help="What the pairs of this version contrast, or what this vector steers.")
@common
def describe(settings: Settings, reference: str, text: str | None, licence: str | None, behavior: str | None) -> None:
    """Say what a dataset or vector is, and correct its licence or behavior.

    What is said counts from now on in place of what was stored, in cards, exports and listings. No digest changes. An
    empty text ('') takes back what was said. Each change is an event: caa log REFERENCE.
    """
    with settings.open() as registry:
        version = registry.describe(reference, text=text, licence=licence, behavior=behavior)
    of_dataset = isinstance(version, DatasetVersion)
    if settings.as_json:
        output.print_json(dataset_json(version) if isinstance(version, DatasetVersion) else vector_json(version))
        return
    output.fields(
        {
            "dataset" if of_dataset else "vector": version.reference,
            "description": version.description or "none",
            "licence": (version.licence or "unknown") if isinstance(version, DatasetVersion) else None,
            "behavior": version.behavior,
        }
    )


@click.command(epilog="Example: caa rename team/sycophnacy team/sycophancy")
@click.argument("reference", metavar="NAME")
@click.argument("new")
@common
def rename(settings: Settings, reference: str, new: str) -> None:
    """Give the dataset or vector NAME the name NEW, with all its versions, aliases and tags.

    Runs, events, plans and signatures keep the old name, and caa log NEW shows what was done under it. Whoever uses the
    old name is told the new one, until something else gets it.
    """
    with settings.open() as registry:
        name = registry.rename(reference, new)
    if settings.as_json:
        output.print_json({"from": reference, "to": name})
    else:
        output.message(f"{reference} is now {name}.")
