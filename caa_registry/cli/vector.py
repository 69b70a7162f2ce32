"""``caa vector``."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from caa_registry.cli import output
from caa_registry.cli.evidence_table import evidence_table
from caa_registry.cli.groups import LazyGroup
from caa_registry.cli.layer_table import layer_table
from caa_registry.cli.listing import page_options, rows_to_show, say_rest, tag_option, versions_table, wanted_tags
from caa_registry.cli.made_fields import made_fields
from caa_registry.cli.options import MESSAGE, Settings, common
from caa_registry.digests import short
from caa_registry.registry.records import STATISTICS
from caa_registry.wire.evaluations import evidence_json
from caa_registry.wire.vectors import computed_json, vector_json
from caa_registry.wording import ranges

if TYPE_CHECKING:
    from caa_registry.registry.records import VectorVersion

LAZY = {
    "combine": "caa_registry.cli.vector_algebra:combine",
    "compare": "caa_registry.cli.vector_algebra:compare",
    "compute": "caa_registry.cli.vector_compute:compute",
    "export": "caa_registry.cli.vector_files:export",
    "import": "caa_registry.cli.vector_files:import_",
    "lock": "caa_registry.cli.vector_lock:lock",
    "plot": "caa_registry.cli.pictures:plot_vector",
    "similar": "caa_registry.cli.vector_algebra:similar",
    "tokens": "caa_registry.cli.pictures:tokens",
    "verify": "caa_registry.cli.vector_verify:verify",
}


@click.group(cls=LazyGroup, lazy=LAZY)
def vector() -> None:
    """Steering vectors, one per layer: compute, import, combine, compare, plot, verify, export."""


@vector.command(epilog="Example: caa vector ls --behavior refusal --model demo --sort steerability")
@click.option("--behavior", metavar="B", help="Only vectors of this behavior.")
@click.option("--model", metavar="M", help="Only vectors of this model: its name, or the beginning of its fingerprint.")
@tag_option("versions")
@click.option("--versions", is_flag=True, help="Every version of each vector, not only the newest.")
@click.option("--sort", type=click.Choice(["name", *STATISTICS]), default="name", show_default=True)
@page_options
@common
def ls(
    settings: Settings,
    behavior: str | None,
    model: str | None,
    tag: Any,
    versions: bool,
    sort: Any,
    limit: int | None,
    all_rows: bool,
) -> None:
    """List vectors, the newest version of each; with --model and --tag the newest that fits.

    --sort with a statistic shows it at each vector's best layer, from one evaluation: on its own behavior, with its
    dose measured rather than without, with a null rather than without, of the most layers, the newest of equals. It is
    over that evaluation's own multipliers; caa eval leaderboard ranks at equal dose. Vectors without one come last.
    """
    most, tags = rows_to_show(settings, limit, all_rows), wanted_tags(tag)
    with settings.open() as registry:
        # What is best can be anywhere in the listing.
        listed = registry.vectors.ls(
            behavior=behavior, model=model, tags=tags, all_versions=versions, limit=most if sort == "name" else None
        )
        evidence = {} if sort == "name" else registry.evaluations.evidence(listed, sort)
    if sort != "name":
        ranked = sorted(listed, key=lambda v: -evidence[v.digest].score.value if v.digest in evidence else math.inf)
        listed = replace(listed, rows=tuple(ranked[:most]))
    if settings.as_json:
        output.print_json([{**vector_json(v), **evidence_json(evidence.get(v.digest))} for v in listed])
        return
    if sort != "name":
        evidence_table([(version, evidence.get(version.digest)) for version in listed], sort)
        say_rest(listed)
        return
    empty = "No vectors here. Compute one: caa vector compute NAME --dataset REF --model demo"
    if tags:
        empty = "No such vector has this tag. All tags: caa tag ls"
    if versions:
        versions_table("dataset", [(v, v.made_from, _marks(v)) for v in listed], empty=empty)
        say_rest(listed)
        return
    rows = [
        (
            v.name,
            f"v{v.number}",
            short(v.digest),
            v.made_from,
            v.model_name,
            ranges(v.layer_numbers),
            v.actor,
            ", ".join([*v.aliases, *_marks(v), *[v.message] * bool(v.message)]),
        )
        for v in listed
    ]
    output.table(["name", "version", "digest", "dataset", "model", "layers", "by", "note"], rows, empty=empty)
    say_rest(listed)


def _marks(version: VectorVersion) -> list[str]:
    return ["quarantined"] * bool(version.quarantined) + ["deprecated"] * bool(version.deprecated)


@vector.command(epilog="Example: caa vector log team/sycophancy")
@click.argument("name")
@common
def log(settings: Settings, name: str) -> None:
    """List the versions of a vector, newest first: who made each, when, of what, and their message."""
    with settings.open() as registry:
        listed = registry.vectors.log(name)
    if settings.as_json:
        output.print_json([vector_json(version) for version in listed])
        return
    rows = [
        (
            f"v{v.number}",
            short(v.digest),
            v.made_from,
            v.model_name,
            v.actor,
            f"{v.created_at:%Y-%m-%d %H:%M}",
            v.message,
            ", ".join([*v.aliases, *_marks(v)]),
        )
        for v in listed
    ]
    output.table(["version", "digest", "made from", "model", "by", "at (UTC)", "message", "note"], rows, empty="")


@vector.command(epilog="Example: caa vector show team/sycophancy:best --card")
@click.argument("reference")
@click.option("--card", is_flag=True, help="Print what is known about it and how to reproduce it, as Markdown.")
@common
def show(settings: Settings, reference: str, card: bool) -> None:
    """Show a vector version: its pairs, model and recipe, and the quality of every layer."""
    with settings.open() as registry:
        version = registry.vectors.get(reference)
        if card:
            text = registry.reports.card(version)
            if settings.as_json:
                output.print_json({"card": text})
            else:
                output.document(text)
            return
    if settings.as_json:
        output.print_json(vector_json(version))
        return
    fingerprint = f" ({version.model.fingerprint.digest[:19]})" if version.model else ""
    output.fields(
        {
            "vector": version.reference,
            "description": version.description,
            "quarantined": version.quarantined,
            "deprecated": version.deprecated,
            "digest": version.digest,
            **made_fields(version),
            "model": f"{version.model_name}{fingerprint}",
            "message": version.message,
            "by": version.actor,
            "aliases": ", ".join(version.aliases),
            "tags": ", ".join(f"{key}={value}" for key, value in version.tags.items()),
            "created": version.created_at.isoformat(timespec="seconds"),
            "unchecked before": f"{version.unchecked_before:%Y-%m-%d}" if version.unchecked_before else None,
        }
    )
    layer_table(version)


@vector.command(epilog="Example: caa vector normalize team/sycophancy team/refusal")
@click.argument("references", nargs=-1, required=True)
@click.option("--suffix", default="-normalized", show_default=True, help="Suffix of the new names.")
@MESSAGE
@common
def normalize(settings: Settings, references: tuple[str, ...], suffix: str, message: str) -> None:
    """Bring the vectors of several behaviors to one length: at each layer, the mean norm over all of them.

    This is the paper's normalization. Each result is a version of the vector's name with the suffix; its lineage names
    all vectors that took part.
    """
    with settings.open() as registry:
        versions = registry.vectors.normalize(references, suffix=suffix, message=message)
    if settings.as_json:
        output.print_json([computed_json(version) for version in versions])
        return
    for version in versions:
        origin = "exists already" if version.existing else f"was made from {version.name.removesuffix(suffix)}"
        output.message(f"{version.reference} {origin}.")
