"""Lint of dataset versions: beside which others, with which model, and the report stored with the version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.events import append_event
from caa_registry.errors import UsageError
from caa_registry.pairs.lint.findings import Finding
from caa_registry.pairs.record import PairItem
from caa_registry.progress import Progress
from caa_registry.registry.datasets.store import load_pairs
from caa_registry.registry.lookup import of_pairs
from caa_registry.registry.provenance.descent import related
from caa_registry.registry.records import DatasetVersion, LintReport, VectorVersion

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.models.prompts import TemplateName
    from caa_registry.registry.registry import Registry

_OPPOSITE_COSINE = -0.3


def lint(
    registry: Registry,
    version: DatasetVersion,
    against: Sequence[str | DatasetVersion] | None,
    model: str | Path | Model | None,
    template: TemplateName | None,
    progress: Progress | None,
) -> LintReport:
    """See ``Datasets.lint``."""
    # The rules bring in scikit-learn's and datasketch's users; listings do without.
    from caa_registry.pairs.lint.lint import lint as checked

    others = _others(registry, of_pairs(version), against)
    with registry.database.read() as session:
        items = load_pairs(session, version.id)
        theirs = {other.reference: load_pairs(session, other.id) for other in others}
    more = _opposite_vectors(registry, version, others)
    parameters: dict[str, Any] = {}
    if model is not None:
        found, parameters = _of_tokens(registry, items, model, template, progress)
        more += found
    report = checked(
        items, licence=version.licence, against=theirs, more=more, parameters=parameters, progress=progress
    )
    row = t.LintReport(
        version_id=version.id,
        parameters=dict(report.parameters),
        summary={**report.summary.as_json(), "figures": dict(report.figures)},
        findings=[asdict(finding) for finding in report.findings],
        actor=registry.actor,
        created_at=datetime.now(UTC),
    )
    with registry.database.write() as session:
        session.add(row)
        session.flush()
        counts = {key: getattr(report.summary, key) for key in ("errors", "warnings", "infos")}
        append_event(session, registry.actor, "lint", {"dataset": version.reference, "report": row.id, **counts})
        return _record(version, row)


def newest_report(session: Session, version: DatasetVersion) -> LintReport | None:
    """The newest report that is stored with a version."""
    query = select(t.LintReport).where(t.LintReport.version_id == version.id).order_by(t.LintReport.id.desc()).limit(1)
    row = session.scalar(query)
    return _record(version, row) if row else None


def _record(version: DatasetVersion, row: t.LintReport) -> LintReport:
    findings = tuple(Finding(**finding) for finding in row.findings)
    return LintReport(row.id, version.reference, row.parameters, row.summary, findings, row.actor, row.created_at)


def _others(
    registry: Registry, version: DatasetVersion, against: Sequence[str | DatasetVersion] | None
) -> list[DatasetVersion]:
    if against is not None:
        given = [registry.datasets.get(reference) for reference in against]
        for other in given:
            if other.kind != "pairs" or other.id == version.id:
                raise UsageError(f"{version.reference} cannot be compared with {other.reference}", "Name another set.")
        return given
    with registry.database.read() as session:
        # What was made of this set, or this of it, holds the same pairs on purpose.
        kin = related(session, "dataset", version.id)
    return [
        other
        for other in registry.datasets.ls()
        if other.kind == "pairs"
        and other.behavior == version.behavior
        and other.name != version.name
        and other.id not in kin
    ]


def _of_tokens(
    registry: Registry,
    items: Sequence[PairItem],
    model: str | Path | Model,
    template: TemplateName | None,
    progress: Progress | None,
) -> tuple[list[Finding], dict[str, Any]]:
    from caa_registry.models.token_checks import token_findings
    from caa_registry.pairs.lint.rows import rows_of

    loaded = registry.models.load(model) if isinstance(model, str | Path) else model
    rendered = loaded.template(template)
    used = {
        "model": loaded.info.name,
        "tokenizer": loaded.info.fingerprint.tokenizer,
        "template": rendered.name,
        "template_digest": rendered.digest,
    }
    return token_findings(rows_of(items), rendered, loaded, progress), used


def _opposite_vectors(registry: Registry, version: DatasetVersion, others: Sequence[DatasetVersion]) -> list[Finding]:
    """Vectors of both sets, for one model, method, read position and template, that point opposite ways on most of
    their layers."""
    findings = []
    ours = _vectors(registry, [version])
    for vector in _vectors(registry, others):
        alike = [one for one in ours if _comparable(one) == _comparable(vector)]
        for one in alike[-1:]:
            first, second = registry.vectors.load(one), registry.vectors.load(vector)
            cosines = [
                float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
                for layer in sorted(set(first.layer_numbers) & set(second.layer_numbers))
                if (a := first[layer].values.astype(np.float64)).any()
                and (b := second[layer].values.astype(np.float64)).any()
            ]
            middle = float(np.median(cosines)) if cosines else 0.0
            if middle <= _OPPOSITE_COSINE:
                message = f"{one.reference} and {vector.reference}: the median cosine of their layers is {middle:+.2f}"
                findings.append(Finding("opposite-vectors", message, figures={"cosine": middle, "n": len(cosines)}))
    return findings


def _vectors(registry: Registry, versions: Sequence[DatasetVersion]) -> list[VectorVersion]:
    references = {version.reference for version in versions}
    return [vector for vector in registry.vectors.ls() if vector.dataset in references]


def _comparable(vector: VectorVersion) -> tuple[str, ...]:
    recipe = vector.recipe
    return vector.model.fingerprint.weights, recipe.method, recipe.read, recipe.template_digest
