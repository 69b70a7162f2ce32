"""``caa tag``."""

from __future__ import annotations

from typing import Any

import click

from caa_registry.cli import output
from caa_registry.cli.listing import TagOption, page_options, rows_to_show, say_rest, wanted_tags
from caa_registry.cli.options import Settings, common
from caa_registry.wire.aliases import tag_json


@click.group()
def tag() -> None:
    """Labels KEY=VALUE of versions, to find them by: --tag of every listing."""


@tag.command("set", epilog="Example: caa tag set team/sycophancy:v2 status=reviewed owner=ada")
@click.argument("reference")
@click.argument("tags", nargs=-1, required=True, type=TagOption(), metavar="KEY=VALUE...")
@common
def set_(settings: Settings, reference: str, tags: Any) -> None:
    """Set tags of the version REFERENCE, in place of those with the same keys.

    A tag is said of one version. The next version of the name has none.
    """
    with settings.open() as registry:
        held = registry.tags.set(reference, wanted_tags(tags))
    if settings.as_json:
        output.print_json([tag_json(item) for item in held])
    else:
        output.message(f"{held[0].reference} has the tags {', '.join(f'{item.key}={item.value}' for item in held)}.")


@tag.command(epilog="Example: caa tag rm team/sycophancy:v2 status")
@click.argument("reference")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@common
def rm(settings: Settings, reference: str, keys: tuple[str, ...]) -> None:
    """Take tags from the version REFERENCE, by their keys."""
    with settings.open() as registry:
        registry.tags.remove(reference, *keys)
    if settings.as_json:
        output.print_json({"reference": reference, "removed": list(dict.fromkeys(keys))})
    else:
        output.message(f"Took {', '.join(dict.fromkeys(keys))} from {reference}.")


@tag.command(epilog="Example: caa tag ls team/sycophancy:v2")
@click.argument("reference", required=False)
@page_options
@common
def ls(settings: Settings, reference: str | None, limit: int | None, all_rows: bool) -> None:
    """List all tags, or those of the version REFERENCE."""
    count = rows_to_show(settings, limit, all_rows)
    with settings.open() as registry:
        listed = registry.tags.ls(reference, limit=count)
    if settings.as_json:
        output.print_json([tag_json(item) for item in listed])
        return
    empty = f"{reference} has no tags." if reference else "No tags yet. Set one: caa tag set REF KEY=VALUE"
    output.table(["of", "key", "value"], [(item.reference, item.key, item.value) for item in listed], empty=empty)
    say_rest(listed)
