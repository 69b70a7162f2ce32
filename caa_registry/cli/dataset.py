"""``caa dataset``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from caa_registry.cli import output
from caa_registry.cli.groups import LazyGroup
from caa_registry.cli.listing import page_options, rows_to_show, say_rest, tag_option, versions_table, wanted_tags
from caa_registry.cli.options import Settings, common
from caa_registry.digests import short
from caa_registry.wire.datasets import dataset_json, mapping_json, seed_json

if TYPE_CHECKING:
    from caa_registry.registry.records import DatasetVersion

LAZY = {
    "import": "caa_registry.cli.dataset_import:import_",
    "show": "caa_registry.cli.dataset_show:show",
    "lint": "caa_registry.cli.dataset_lint:lint",
    "split": "caa_registry.cli.dataset_curate:split",
    "dedupe": "caa_registry.cli.dataset_curate:dedupe",
    "balance": "caa_registry.cli.dataset_curate:balance",
    "sample": "caa_registry.cli.dataset_curate:sample",
    "merge": "caa_registry.cli.dataset_curate:merge",
    "relabel": "caa_registry.cli.dataset_curate:relabel",
    "drop": "caa_registry.cli.dataset_curate:drop",
    "edit": "caa_registry.cli.dataset_curate:edit",
    "to-ab": "caa_registry.cli.dataset_curate:to_ab",
    "to-free-form": "caa_registry.cli.dataset_curate:to_free_form",
    "expand": "caa_registry.cli.dataset_curate:expand",
    "filter": "caa_registry.cli.dataset_curate:filter_",
    "recipe": "caa_registry.cli.dataset_replay:recipe",
    "replay": "caa_registry.cli.dataset_replay:replay",
    "review": "caa_registry.cli.dataset_review:review",
    "reviews": "caa_registry.cli.dataset_review:reviews",
    "cut": "caa_registry.cli.dataset_review:cut",
    "diff": "caa_registry.cli.dataset_history:diff",
    "log": "caa_registry.cli.dataset_history:log",
    "blame": "caa_registry.cli.dataset_history:blame",
    "recall": "caa_registry.cli.dataset_history:recall",
    "export": "caa_registry.cli.dataset_export:export",
    "push": "caa_registry.cli.dataset_export:push",
}


@click.group(cls=LazyGroup, lazy=LAZY)
def dataset() -> None:
    """Datasets of contrastive pairs: import, check, curate, review."""


@dataset.command(epilog="Example: caa dataset seeds")
@common
def seeds(settings: Settings) -> None:
    """List the pair sets that ship with caa. Import one with seed:NAME."""
    from caa_registry.pairs.sources import seed_sets

    sets = seed_sets()
    if settings.as_json:
        output.print_json([seed_json(seed) for seed in sets])
        return
    rows = [
        (f"seed:{s.name}", s.behavior, s.form, ", ".join(f"{split} {count}" for split, count in s.counts.items()))
        for s in sets
    ]
    output.table(["source", "behavior", "form", "pairs"], rows, empty="No seed sets are installed.")


@dataset.command(epilog="Example: caa dataset mappings")
@common
def mappings(settings: Settings) -> None:
    """List the mappings that ship with caa: how rows of public datasets become pairs.

    An import from a listed hub repository uses its mapping by itself; elsewhere name it: --mapping NAME.
    """
    from caa_registry.pairs.sources.mappings import shipped

    found = shipped()
    if settings.as_json:
        output.print_json([mapping_json(mapping) for mapping in found])
        return
    rows = [(m.name, ", ".join(m.repos), "; ".join(str(part["match"]) for part in m.files), m.licence) for m in found]
    output.table(["mapping", "hub", "files", "licence"], rows, empty="No mappings are installed.")


@dataset.command(epilog="Example: caa dataset ls --tag status=reviewed")
@click.option("--versions", is_flag=True, help="Every version of each dataset, not only the newest.")
@tag_option("versions")
@page_options
@common
def ls(settings: Settings, versions: bool, tag: Any, limit: int | None, all_rows: bool) -> None:
    """List datasets, the newest version of each; with --tag the newest that has it."""
    most, tags = rows_to_show(settings, limit, all_rows), wanted_tags(tag)
    with settings.open() as registry:
        listed = registry.datasets.ls(tags=tags, all_versions=versions, limit=most)
    if settings.as_json:
        output.print_json([dataset_json(version) for version in listed])
        return
    empty = "No datasets yet. Import one: caa dataset import seed:sycophancy --name team/sycophancy"
    if tags:
        empty = "No dataset has this tag. All tags: caa tag ls"
    if versions:
        versions_table("pairs", [(v, v.n_items, _marks(v)) for v in listed], empty=empty)
        say_rest(listed)
        return
    rows = [
        (
            v.name,
            f"v{v.number}",
            short(v.digest),
            v.n_items,
            ", ".join(f"{split} {count}" for split, count in v.splits.items()),
            v.actor,
            v.message,
            ", ".join([*v.aliases, *["questions"] * (v.kind == "questions"), *_marks(v)]),
        )
        for v in listed
    ]
    output.table(["name", "version", "digest", "pairs", "splits", "by", "message", "note"], rows, empty=empty)
    say_rest(listed)


def _marks(version: DatasetVersion) -> list[str]:
    return ["recalled"] * bool(version.recalled) + ["deprecated"] * bool(version.deprecated)
