"""``caa vector``."""

from __future__ import annotations

import sys
from typing import Any

import click

from caa_registry.cli import output
from caa_registry.cli.options import READ, TEMPLATE, LayerList, Settings, common
from caa_registry.digests import short
from caa_registry.references import ranges


@click.group()
def vector() -> None:
    """Steering vectors, one per layer."""


@vector.command(
    epilog="Example: caa vector compute team/sycophancy --dataset team/sycophancy --model demo",
)
@click.argument("name")
@click.option("--dataset", required=True, metavar="REF", help="Dataset to compute from.")
@click.option("--model", required=True, metavar="M", help="Folder, ORG/NAME on a hub, or demo.")
@click.option("--split", help="Split to compute from.  [default: generate]")
@click.option("--method", type=click.Choice(["mean-difference"]), default="mean-difference", show_default=True)
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
    """Compute steering vectors from contrastive pairs: the mean difference of activations, for every layer.

    The vectors are raw: neither normalized nor scaled. The same recipe again gives the version that exists.
    """
    with settings.open() as registry, output.progress("activations") as progress:
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
        )
    comparison = version.comparison
    if settings.as_json:
        document = {**output.vector_json(version), "existing": version.existing}
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


def _say_computed(version: Any) -> None:
    recipe = version.recipe
    output.message(
        f"Computed {version.reference} from {recipe['pairs']} pairs of {version.dataset} ({recipe['split']}) on "
        f"{version.model.name}: layers {ranges(version.layer_numbers)}, read at '{recipe['read']}', "
        f"template {recipe['template']}."
    )
    skipped = recipe["skipped_too_long"]
    if skipped:
        output.message(
            f"Note: {skipped} pairs were left out: longer than the {version.model.context_length} tokens that "
            f"{version.model.name} reads. Nothing was cut."
        )
    _print_layers(version)


def _print_layers(version: Any) -> None:
    rows = [
        (
            layer.layer,
            layer.norm,
            layer.residual_norm,
            layer.norm / layer.residual_norm if layer.residual_norm else None,
        )
        for layer in version.layers
    ]
    output.table(["layer", "norm", "residual norm", "ratio"], rows, empty="")


@vector.command(epilog="Example: caa vector ls")
@common
def ls(settings: Settings) -> None:
    """List vectors, the newest version of each."""
    with settings.open() as registry:
        versions = registry.vectors.ls()
    if settings.as_json:
        output.print_json([output.vector_json(version) for version in versions])
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
        )
        for v in versions
    ]
    output.table(
        ["name", "version", "digest", "dataset", "model", "layers", "aliases"],
        rows,
        empty="No vectors yet. Compute one: caa vector compute NAME --dataset REF --model demo",
    )


@vector.command(epilog="Example: caa vector show team/sycophancy:best")
@click.argument("reference")
@common
def show(settings: Settings, reference: str) -> None:
    """Show a vector version: its pairs, model and recipe, and the norm of every layer."""
    with settings.open() as registry:
        version = registry.vectors.get(reference)
    if settings.as_json:
        output.print_json(output.vector_json(version))
        return
    recipe = version.recipe
    output.fields(
        {
            "vector": version.reference,
            "digest": version.digest,
            "dataset": f"{version.dataset} ({recipe['split']}, {recipe['pairs']} pairs)",
            "left out": f"{recipe['skipped_too_long']} pairs too long" if recipe["skipped_too_long"] else None,
            "model": f"{version.model.name} ({version.model.fingerprint.digest[:19]})",
            "method": recipe["method"],
            "read": recipe["read"],
            "template": recipe["template"],
            "computed in": recipe["dtype"],
            "aliases": ", ".join(version.aliases),
            "created": version.created_at.isoformat(timespec="seconds"),
        }
    )
    _print_layers(version)
