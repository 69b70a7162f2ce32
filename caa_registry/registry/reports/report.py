"""A report of one vector: what it is, how well it works and beside what, every number with its reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from caa_registry.digests import short
from caa_registry.registry.records import Evaluation
from caa_registry.registry.reports.content import ReportContent
from caa_registry.registry.reports.effects import (
    answers_section,
    doses_section,
    recommendation_section,
    side_effects_section,
)
from caa_registry.registry.reports.identity import identity_section, quality_section
from caa_registry.registry.reports.planned import plan_section
from caa_registry.registry.reports.propensity import propensity_section
from caa_registry.registry.reports.text import picture, table
from caa_registry.registry.reports.verdict import environment_section, verdict_section
from caa_registry.wording import ranges


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
    yield from identity_section(version, content.made)
    yield from propensity_section(content.shown, pictures)
    yield from doses_section(evaluation, layer)
    yield from side_effects_section(content.evaluations, layer)
    if content.answers is not None:
        yield from answers_section(content.answers)
    yield from recommendation_section(content.aliases, content.outcome)
    yield from quality_section(version)
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
