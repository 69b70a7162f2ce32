"""Lint of dataset versions: beside which others, with which model, and the report stored with the version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.catalog.events import append_event
from caa_registry.errors import UsageError
from caa_registry.pairs.lint.findings import Finding
from caa_registry.pairs.record import PairItem
from caa_registry.progress import Progress
from caa_registry.registry.datasets.store import listed_versions, load_pairs
from caa_registry.registry.provenance.descent import related
from caa_registry.registry.records import DatasetVersion, LintReport, VectorVersion
from caa_registry.registry.workspace import Workspace
from caa_registry.vectors import VectorSet

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.models.rendering.prompts import TemplateName

_OPPOSITE_COSINE = -0.3


class LintVectors(Protocol):
    """The vectors of the registry, as far as lint needs them: the newest version of each, and its numbers."""

    def ls(self) -> Sequence[VectorVersion]: ...

    def load(self, vector: VectorVersion, /) -> VectorSet: ...


@dataclass(frozen=True)
class LintRequest:
    """Check ``version``, of pairs, beside the sets ``against``; where it is ``None``, beside all others of its behavior
    that are not related to it.

    ``vectors``: the registry's; those of two sets may point opposite ways. With a ``model`` also what its
    tokenizer makes of the pairs, rendered by ``template``.
    """

    version: DatasetVersion
    vectors: LintVectors
    against: Sequence[DatasetVersion] | None = None
    model: Model | None = None
    template: TemplateName | None = None


def lint(workspace: Workspace, request: LintRequest, progress: Progress | None = None) -> LintReport:
    """See ``Datasets.lint``."""
    # The rules bring in what scikit-learn and datasketch use; listings do without.
    from caa_registry.pairs.lint.lint import lint as check

    version = request.version
    with workspace.database.read() as session:
        others = _neighbours(session, version) if request.against is None else _checked(request)
        items = load_pairs(session, version.id)
        theirs = {other.reference: load_pairs(session, other.id) for other in others}
    more = _opposite_vectors(version, others, request.vectors)
    parameters: dict[str, Any] = {}
    if request.model is not None:
        of_tokens, parameters = _of_tokens(items, request.model, request.template, progress)
        more += of_tokens
    report = check(items, licence=version.licence, against=theirs, more=more, parameters=parameters, progress=progress)
    row = t.LintReport(
        version_id=version.id,
        parameters=dict(report.parameters),
        summary={**report.summary.as_json(), "figures": dict(report.figures)},
        findings=[asdict(finding) for finding in report.findings],
        actor=workspace.actor,
        created_at=datetime.now(UTC),
    )
    with workspace.database.write() as session:
        session.add(row)
        session.flush()
        counts = {key: getattr(report.summary, key) for key in ("errors", "warnings", "infos")}
        append_event(session, workspace.actor, "lint", {"dataset": version.reference, "report": row.id, **counts})
        return _record(version, row)


def newest_report(session: Session, version: DatasetVersion) -> LintReport | None:
    """The newest report that is stored with a version."""
    query = select(t.LintReport).where(t.LintReport.version_id == version.id).order_by(t.LintReport.id.desc()).limit(1)
    row = session.scalar(query)
    return _record(version, row) if row else None


def _record(version: DatasetVersion, row: t.LintReport) -> LintReport:
    findings = tuple(Finding(**finding) for finding in row.findings)
    return LintReport(row.id, version.reference, row.parameters, row.summary, findings, row.actor, row.created_at)


def _checked(request: LintRequest) -> Sequence[DatasetVersion]:
    """The sets asked for. Raises ``UsageError`` for one that the version cannot be compared with."""
    for other in request.against or ():
        if other.kind != "pairs" or other.id == request.version.id:
            raise UsageError(
                f"{request.version.reference} cannot be compared with {other.reference}", "Name another set."
            )
    return request.against or ()


def _neighbours(session: Session, version: DatasetVersion) -> list[DatasetVersion]:
    """The other sets of the behavior, at their newest versions. What was made of this set, or this of it, holds the
    same pairs on purpose."""
    kin = related(session, "dataset", version.id)
    return [
        other
        for other in listed_versions(session)[0]
        if other.kind == "pairs"
        and other.behavior == version.behavior
        and other.name != version.name
        and other.id not in kin
    ]


def _of_tokens(
    items: Sequence[PairItem], model: Model, template: TemplateName | None, progress: Progress | None
) -> tuple[list[Finding], dict[str, Any]]:
    """What the model's tokenizer makes of the pairs, and what of the model that depends on."""
    from caa_registry.models.rendering.token_checks import token_findings
    from caa_registry.pairs.lint.rows import rows_of

    rendered = model.template(template)
    parameters = {
        "model": model.info.name,
        "tokenizer": model.info.fingerprint.tokenizer,
        "template": rendered.name,
        "template_digest": rendered.rendering(system=any(item.pair.system for item in items)).digest,
    }
    return token_findings(rows_of(items), rendered, model, progress), parameters


def _opposite_vectors(version: DatasetVersion, others: Sequence[DatasetVersion], vectors: LintVectors) -> list[Finding]:
    """Vectors of this set and of another, for one model, method, read position and template, that point opposite ways
    on most of their layers."""
    if not others:
        return []
    findings = []
    newest = vectors.ls()
    own = [vector for vector in newest if vector.dataset == version.reference]
    references = {other.reference for other in others}
    for theirs in (vector for vector in newest if vector.dataset in references):
        comparable = [vector for vector in own if _comparable(vector) == _comparable(theirs)]
        for ours in comparable[-1:]:
            first, second = vectors.load(ours), vectors.load(theirs)
            cosines = [
                float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
                for layer in sorted(set(first.layer_numbers) & set(second.layer_numbers))
                if (a := first[layer].values.astype(np.float64)).any()
                and (b := second[layer].values.astype(np.float64)).any()
            ]
            median = float(np.median(cosines)) if cosines else 0.0
            if median <= _OPPOSITE_COSINE:
                message = f"{ours.reference} and {theirs.reference}: the median cosine of their layers is {median:+.2f}"
                findings.append(Finding("opposite-vectors", message, figures={"cosine": median, "n": len(cosines)}))
    return findings


def _comparable(vector: VectorVersion) -> tuple[str, ...]:
    recipe = vector.known_recipe()
    return vector.known_model().fingerprint.computing, recipe.method, recipe.read, recipe.template_digest
