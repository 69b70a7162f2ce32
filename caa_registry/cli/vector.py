"""``caa vector``."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from caa_registry.cli import output
from caa_registry.cli.evidence_table import evidence_json, evidence_table
from caa_registry.cli.layer_table import layer_table
from caa_registry.cli.options import METHOD, READ, TEMPLATE, LayerList, Settings, common
from caa_registry.cli.pictures import plot_vector, tokens
from caa_registry.digests import short
from caa_registry.engine.processes import rank
from caa_registry.progress import Progress, silent
from caa_registry.references import ranges
from caa_registry.registry.evaluations.evidence import STATISTICS
from caa_registry.settings import activation_cache


@click.group()
def vector() -> None:
    """Steering vectors, one per layer."""


vector.add_command(plot_vector)
vector.add_command(tokens)


@vector.command(
    epilog="Example: caa vector compute team/sycophancy --dataset team/sycophancy --model demo",
)
@click.argument("name")
@click.option("--dataset", required=True, metavar="REF", help="Dataset to compute from.")
@click.option("--model", required=True, metavar="M", help="Folder, ORG/NAME on a hub, or demo.")
@click.option("--split", help="Split to compute from.  [default: generate]")
@click.option("--method", type=METHOD, default="mean-difference", show_default=True, help="How a direction is made.")
@click.option("--read", type=READ, help="Token to read.  [default: answer for letters and Yes/No, last for free text]")
@click.option("--layers", type=LayerList(allow_all=True), default="all", show_default=True, help="0-3,7 or all.")
@click.option("--template", type=TEMPLATE, help="How prompts are rendered.  [default: chat, else plain]")
@click.option("--force", is_flag=True, help="Compute again where the version exists, and compare.")
@common
def compute(
    settings: Settings,
    name: str,
    dataset: str,
    model: str,
    split: str | None,
    method: Any,
    read: Any,
    layers: Any,
    template: Any,
    force: bool,
) -> None:
    """Compute steering vectors from contrastive pairs, for every layer, and measure how far to trust them.

    The mean difference of activations is stored raw; pca, logistic and lda directions at its length. The same recipe
    again gives the version that exists. Activations are kept in a cache on disk, so that another method on the same
    pairs asks the model nothing, and what was interrupted goes on where it was.

    On several processes or hosts: mlx.launch -n 2 -- caa vector compute ... (all must reach the registry).
    """
    keeps = not force and activation_cache()[1] > 0
    with settings.open() as registry, _both_bars(keeps) as (progress, measuring):
        version = registry.vectors.compute(
            name,
            dataset=dataset,
            model=model,
            split=split,
            method=method,
            read=read,
            layers=layers,
            template=template,
            force=force,
            progress=progress,
            measuring=measuring,
        )
    if rank() != 0:
        return  # of several processes the first speaks
    comparison = version.comparison
    if settings.as_json:
        document = {**output.vector_json(version), "existing": version.existing}
        if version.reading:
            document["reading"] = dataclasses.asdict(version.reading)
        if comparison:
            document["comparison"] = {
                "max_difference": comparison.max_difference,
                "min_cosine": comparison.min_cosine,
                "holds": comparison.holds,
            }
        output.print_json(document)
    elif comparison:
        output.message(
            f"Computed again: {version.reference} {'holds' if comparison.holds else 'DOES NOT HOLD'} "
            f"(largest difference {comparison.max_difference:.1e} of the largest norm, smallest cosine "
            f"{comparison.min_cosine:.7f})."
        )
    elif version.existing:
        output.message(f"{version.reference} has exactly this recipe; nothing was computed (--force computes again).")
    else:
        _say_computed(version)
    if comparison and not comparison.holds:
        sys.exit(1)


@contextmanager
def _both_bars(keeps: bool) -> Iterator[tuple[Progress, Progress]]:
    """Bars for reading and for measuring. Where the same command ``keeps`` what was read, an interruption says so."""
    if rank() != 0:
        yield silent, silent
        return
    read = 0

    def counted(done: int, total: int) -> None:
        nonlocal read
        read = done
        progress(done, total)

    with output.progress("activations") as progress, output.progress("layers") as measuring:
        try:
            yield counted, measuring
        except KeyboardInterrupt:
            if read and keeps:
                output.message(f"{read} activations are kept: the same command goes on from there.")
            raise


def _say_computed(version: Any) -> None:
    recipe = version.recipe
    output.message(
        f"Computed {version.reference} from {recipe.pairs} pairs of {version.dataset} ({recipe.split}) on "
        f"{version.model.name}: layers {ranges(version.layer_numbers)}, read at '{recipe.read}', "
        f"template {recipe.template}."
    )
    skipped = recipe.skipped_too_long
    if skipped:
        output.message(
            f"Note: {skipped} pairs were left out: longer than the {version.model.context_length} tokens that "
            f"{version.model.name} reads. Nothing was cut."
        )
    reading = version.reading
    if reading.forward_passes:
        by = f" in each of {reading.processes} processes" if reading.processes > 1 else ""
        output.message(f"Read the model in {reading.forward_passes} forward passes, {reading.tokens} tokens{by}.")
    else:
        output.message("All activations had been read before: 0 forward passes.")
    layer_table(version)


@vector.command(epilog="Example: caa vector ls --behavior sycophancy --model demo --sort steerability")
@click.option("--behavior", metavar="B", help="Only vectors of this behavior.")
@click.option("--model", metavar="M", help="Only vectors of this model: its name, or how its fingerprint begins.")
@click.option("--sort", type=click.Choice(["name", *STATISTICS]), default="name", show_default=True)
@common
def ls(settings: Settings, behavior: str | None, model: str | None, sort: Any) -> None:
    """List vectors, the newest version of each.

    Sorted by a statistic, each has that of its best layer in the evaluation that says most of it (on its own behavior,
    with controls, of most layers, the newest), those without one last.
    """
    with settings.open() as registry:
        versions = registry.vectors.ls(behavior=behavior, model=model)
        found = {} if sort == "name" else registry.vectors.evidence(versions, sort)
    if sort != "name":
        versions.sort(key=lambda v: -found[v.digest].score.value if v.digest in found else math.inf)
    if settings.as_json:
        output.print_json([{**output.vector_json(v), **evidence_json(found.get(v.digest), sort)} for v in versions])
        return
    if sort != "name":
        evidence_table([(version, found.get(version.digest)) for version in versions], sort)
        return
    rows = [
        (
            v.name,
            f"v{v.number}",
            short(v.digest),
            v.dataset,
            v.model.name,
            ranges(v.layer_numbers),
            ", ".join(v.aliases),
            "quarantined" if v.quarantined else "",
        )
        for v in versions
    ]
    output.table(
        ["name", "version", "digest", "dataset", "model", "layers", "aliases", "note"],
        rows,
        empty="No vectors here. Compute one: caa vector compute NAME --dataset REF --model demo",
    )


@vector.command(epilog="Example: caa vector show team/sycophancy:best")
@click.argument("reference")
@common
def show(settings: Settings, reference: str) -> None:
    """Show a vector version: its pairs, model and recipe, and what is known of every layer."""
    with settings.open() as registry:
        version = registry.vectors.get(reference)
    if settings.as_json:
        output.print_json(output.vector_json(version))
        return
    recipe = version.recipe
    output.fields(
        {
            "vector": version.reference,
            "quarantined": version.quarantined,
            "digest": version.digest,
            "dataset": f"{version.dataset} ({recipe.split}, {recipe.pairs} pairs)",
            "left out": f"{recipe.skipped_too_long} pairs too long" if recipe.skipped_too_long else None,
            "model": f"{version.model.name} ({version.model.fingerprint.digest[:19]})",
            "method": recipe.method,
            "normalized": f"with {len(recipe.normalized.together) - 1} others" if recipe.normalized else None,
            "read": recipe.read,
            "template": recipe.template,
            "computed in": recipe.dtype,
            "aliases": ", ".join(version.aliases),
            "created": version.created_at.isoformat(timespec="seconds"),
        }
    )
    layer_table(version)


@vector.command(epilog="Example: caa vector normalize team/sycophancy team/refusal")
@click.argument("references", nargs=-1, required=True)
@click.option("--suffix", default="-normalized", show_default=True, help="What the new names end with.")
@common
def normalize(settings: Settings, references: tuple[str, ...], suffix: str) -> None:
    """Bring several behaviors to one strength: each layer to the mean norm of that layer over all.

    The paper's normalization. Each becomes a version of its name with the suffix; lineage names all that took part.
    """
    with settings.open() as registry:
        versions = registry.vectors.normalize(references, suffix=suffix)
    if settings.as_json:
        output.print_json([{**output.vector_json(v), "existing": v.existing} for v in versions])
        return
    for version in versions:
        said = "exists already" if version.existing else f"made from {version.name.removesuffix(suffix)}"
        output.message(f"{version.reference} {said}.")
