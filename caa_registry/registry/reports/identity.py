"""What a vector is, and how far its layers are to be trusted before it has steered anything."""

from __future__ import annotations

from collections.abc import Iterator

from caa_registry.digests import short
from caa_registry.references import ranges
from caa_registry.registry.records import VectorVersion
from caa_registry.registry.reports.text import table
from caa_registry.vectors import UNMEASURED, words_alone


def identity_section(version: VectorVersion) -> Iterator[str]:
    """Its digest, and the pairs, the model and the recipe that it was made from."""
    recipe = version.recipe
    yield "## What it is"
    yield ""
    rows = [
        ("digest", f"`{version.digest}`"),
        ("behavior", version.behavior),
        (
            "made from",
            f"{version.dataset} ({recipe.split}, {recipe.pairs} pairs; `{short(version.dataset_digest)}`)",
        ),
        ("method", f"{recipe.method}, read at '{recipe.read}', template {recipe.template}"),
        ("model", f"{version.model.name} (`{version.model.fingerprint.digest}`), computed in {recipe.dtype}"),
        ("layers", ranges(version.layer_numbers)),
        ("created", version.created_at.isoformat(timespec="seconds")),
    ]
    yield from table(["", ""], rows)


def quality_section(version: VectorVersion) -> Iterator[str]:
    """What was measured of its layers when it was computed."""
    yield from ("## The vector itself", "")
    measured = [layer for layer in version.layers if layer.quality]
    if not measured:
        yield from (UNMEASURED, "")
        return
    rows = [
        (
            record.layer,
            f"{record.norm:.2f}",
            f"{record.norm / record.residual_norm:.2f}" if record.residual_norm else "",
            f"{quality.auc:.2f}",
            f"{quality.null_auc:.2f}",
            "" if quality.difference_cosine is None else f"{quality.difference_cosine:.2f}",
            {True: "yes", False: "NO", None: "too few"}[quality.signal],
        )
        for record in measured
        if (quality := record.quality)
    ]
    yield (
        "Separation of held-out pairs (AUC; of letters within each), what shuffled labels reach in 1 of 100, and the "
        "mean cosine of the pairs' differences to their mean."
    )
    yield ""
    yield from table(["layer", "norm", "norm / residual", "AUC", "AUC, shuffled", "alike", "signal"], rows)
    words = words_alone({record.layer: record.quality for record in measured if record.quality})
    if words:
        yield from (words, "")
