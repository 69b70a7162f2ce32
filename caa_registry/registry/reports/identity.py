"""What a vector is, and how far its layers are to be trusted before it has steered anything."""

from __future__ import annotations

from collections.abc import Iterator

from caa_registry.digests import short
from caa_registry.registry.records import CombinedOrigin, FileOrigin, RunRecord, VectorVersion
from caa_registry.registry.reports.text import inline, plain, table
from caa_registry.vectors import NOT_FROM_PAIRS, UNMEASURED, words_alone
from caa_registry.wording import count, ranges

_MOST_FILES = 5


def identity_section(version: VectorVersion, made: RunRecord | None) -> Iterator[str]:
    """Its digest, and what it was made from: pairs, model and recipe, a file, or other vectors. ``made``: by which
    run."""
    recipe, model = version.recipe, version.model
    yield "## What it is"
    yield ""
    rows = [("digest", f"`{version.digest}`"), ("behavior", plain(version.behavior))]
    if recipe is not None:
        rows += [
            (
                "made from",
                f"{version.dataset} ({recipe.split}, {count(recipe.pairs, 'pair')}; `{short(version.dataset_digest)}`)",
            ),
            ("method", f"{recipe.method}, read at '{recipe.read}', template {recipe.template}"),
        ]
    else:
        rows.append(("made from", version.made_from))
    if model is None:
        rows.append(("model", f"{plain(version.model_name)}, and not checked"))
    else:
        computed_in = f", computed in {recipe.dtype}" if recipe else ""
        rows.append(("model", f"{model.name} (`{model.fingerprint.digest}`){computed_in}"))
    rows += [
        ("layers", ranges(version.layer_numbers)),
        ("created", version.created_at.isoformat(timespec="seconds")),
    ]
    yield from table(["", ""], rows)
    if isinstance(version.origin, FileOrigin):
        yield from _claims_section(version, version.origin, made)
    elif isinstance(version.origin, CombinedOrigin):
        yield from _terms_section(version, version.origin)


def _claims_section(version: VectorVersion, origin: FileOrigin, made: RunRecord | None) -> Iterator[str]:
    """What its file claims, beside what was checked here."""
    claims = origin.claims
    yield from ("### What its file claims, and what was checked", "")
    if version.model is not None:
        by = f"{made.actor} named it (run {made.id})" if made else "somebody named it"
        checked = (
            f"{by}: {version.model.name}; the width ({version.d_model}) and the layers "
            f"({ranges(version.layer_numbers)}) fit. Whether the numbers come from it cannot be checked"
        )
    else:
        checked = "no: no model was named at import"
    revision = f" at {claims.revision}" if claims.revision else ""
    numbers = "yes: the numbers have the digest that the file gives" if claims.digests.get("tensors") else ""
    rows = [
        ("model", inline(claims.model + revision) if claims.model else "nothing", checked),
        ("pairs", inline(claims.data) if claims.data else "nothing", "no"),
        ("method", inline(claims.method) if claims.method else "nothing", "no"),
        ("version", inline(claims.reference) if claims.reference else "", "no"),
        ("digest", inline(claims.digests["tensors"]) if numbers else "", numbers),
    ]
    yield from table(["", "the file claims", "checked"], [row for row in rows if row[1]])
    names = dict(zip(origin.files, made.parameters["files"], strict=True)) if made else {}
    for digest in origin.files[:_MOST_FILES]:
        yield f"- File {inline(names.get(digest, ''))}: `{digest}`"
    if len(origin.files) > _MOST_FILES:
        yield f"- and {len(origin.files) - _MOST_FILES} more files"
    yield f"- Layers: {origin.layer_rule}."
    if origin.measured_elsewhere:
        yield f"- Measured elsewhere than it is applied: {origin.measured_elsewhere}."
    strengths = sorted(set(origin.strengths.values()) - {1.0})
    yield f"- Scale: {origin.scale}; operation: {inline(origin.operation)}."
    if strengths:
        listed = ", ".join(f"{strength:g}" for strength in strengths[:_MOST_FILES])
        yield f"- The file wants it multiplied by {listed}; that is not folded in."
    for warning in origin.warnings:
        yield f"- {warning}"
    yield ""


def _terms_section(version: VectorVersion, origin: CombinedOrigin) -> Iterator[str]:
    """Which vectors it is made of."""
    rows = [(f"`{term.digest}`", f"{term.weight:g}") for term in origin.terms]
    yield from (f"### {version.made_from.capitalize()}, layer by layer", "")
    yield from table(["vector", "weight"], rows)


def quality_section(version: VectorVersion) -> Iterator[str]:
    """What was measured of its layers when it was computed."""
    yield from ("## The vector itself", "")
    measured = [layer for layer in version.layers if layer.quality]
    if not measured:
        yield from (UNMEASURED if version.recipe else NOT_FROM_PAIRS, "")
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
