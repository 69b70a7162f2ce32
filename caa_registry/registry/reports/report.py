"""A report of one vector: what it is, how well it works and beside what, every number with its reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from caa_registry.digests import short
from caa_registry.references import ranges
from caa_registry.registry.records import Evaluation, VectorVersion
from caa_registry.registry.reports.content import ReportContent
from caa_registry.registry.reports.effects import (
    answers_section,
    doses_section,
    recommendation_section,
    side_effects_section,
)
from caa_registry.registry.reports.planned import plan_section
from caa_registry.registry.reports.propensity import propensity_section
from caa_registry.registry.reports.text import picture, table
from caa_registry.registry.reports.verdict import environment_section, verdict_section
from caa_registry.vectors import UNMEASURED, words_alone


def report_text(content: ReportContent, pictures: Sequence[str], tables: Sequence[str]) -> str:
    """The report as Markdown. ``pictures`` and ``tables``: names of those beside it."""
    return "\n".join(_lines(content, pictures, tables))


def _lines(content: ReportContent, pictures: Sequence[str], tables: Sequence[str]) -> Iterator[str]:
    version, evaluation, layer = content.shown.version, content.shown.evaluation, content.shown.layer
    yield f"# {version.reference}"
    yield ""
    reasons = list(dict.fromkeys(filter(None, (version.quarantined, evaluation.quarantined))))
    if reasons:
        yield from (f"**Quarantined**: {'; '.join(reasons)}.", "")
    yield from verdict_section(content.outcome, version.reference)
    if content.planned is not None:
        yield from plan_section(*content.planned, evaluation)
    yield from _identity(version)
    yield from propensity_section(content.shown, pictures)
    yield from doses_section(evaluation, layer)
    yield from side_effects_section(content.evaluations, layer)
    if content.answers is not None:
        yield from answers_section(content.answers)
    yield from recommendation_section(content.aliases, content.outcome)
    yield "## The vector itself"
    yield ""
    yield from _quality(version)
    yield from picture("cosines")
    yield "## All evaluations of this version"
    yield ""
    yield from table(
        ["evaluation", "questions", "split", "metric", "positions", "layers", "n", "note"],
        [_row(each) for each in content.evaluations],
    )
    yield from environment_section(content.run)
    yield "## Where the numbers are"
    yield ""
    yield f"- beside this page: {', '.join(f'`{name}.csv`' for name in tables)}"
    yield f"- every score: `caa eval show {evaluation.id} --json`"
    if evaluation.measurements:
        blob = short(evaluation.measurements)
        yield f"- every item: blob {blob} (`registry.evaluations.measurements({evaluation.id})`)"
    yield f"- pairs, model and runs: `caa lineage vector:{version.reference}`"
    yield f"- the vector: `caa vector show {version.reference}`, digest `{version.digest}`"
    yield ""


def _row(evaluation: Evaluation) -> tuple[object, ...]:
    recorded = evaluation.settings
    return (
        evaluation.id,
        evaluation.dataset,
        evaluation.split if recorded.rows == "all" else f"{evaluation.split} ({recorded.rows} rows)",
        evaluation.metric if evaluation.kind == "propensity" else evaluation.kind,
        evaluation.positions,
        ranges(recorded.layers),
        evaluation.n,
        evaluation.remarks,
    )


def _identity(version: VectorVersion) -> Iterator[str]:
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


def _quality(version: VectorVersion) -> Iterator[str]:
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
