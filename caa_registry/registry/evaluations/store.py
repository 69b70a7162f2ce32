"""How an evaluation of any kind is written: the row, its figures, the run, the audit event, together or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from caa_registry.catalog import models as t
from caa_registry.registry.evaluations.target import Applied
from caa_registry.registry.models import ensure_model
from caa_registry.registry.provenance.runs import Activity, record_run
from caa_registry.registry.records import DatasetVersion
from caa_registry.registry.vectors.steering import record_mismatch

if TYPE_CHECKING:
    from caa_registry.evaluation.statistics import Figure
    from caa_registry.registry.registry import Registry


@dataclass(frozen=True)
class Underway:
    """An evaluation that has begun. ``parameters``: what is recorded beside the columns."""

    on: Applied
    kind: str
    positions: str
    template: str
    dataset: DatasetVersion | None
    split: str
    parameters: Mapping[str, Any]
    activity: Activity


def begin(
    registry: Registry,
    on: Applied,
    kind: str,
    *,
    positions: str,
    template: str,
    dataset: DatasetVersion | None = None,
    split: str = "",
    **parameters: Any,
) -> Underway:
    """Begin an evaluation: its run counts from now on."""
    said = {
        "rows": "all",
        **parameters,
        "dtype": on.model.dtype,
        "operator": "add",
        "layers": list(on.layers),
        "multipliers": list(on.multipliers),
        "verdict": on.verdict,
    }
    activity = Activity("evaluate", registry.actor, {"kind": kind, "split": split, "positions": positions, **said})
    return Underway(on, kind, positions, template, dataset, split, said, activity)


def store(
    registry: Registry,
    underway: Underway,
    metric: str,
    figures: Iterable[Figure],
    *,
    measurements: str | None = None,
    responses: Sequence[t.Response] = (),
    **subject: str,
) -> int:
    """Write what was measured; the number of the evaluation. ``metric``: its own. ``subject``: more for the audit."""
    on, dataset = underway.on, underway.dataset
    scores = [
        t.Score(
            position=place,
            condition=figure.condition,
            layer=figure.layer,
            multiplier=figure.multiplier,
            metric=figure.metric,
            value=figure.interval.value,
            ci_low=figure.interval.low,
            ci_high=figure.interval.high,
            n=figure.interval.n,
        )
        for place, figure in enumerate(figures)
    ]
    with registry.database.write() as session:
        model, _ = ensure_model(session, on.model.info)
        record_mismatch(session, registry.actor, on.version, on.model, on.verdict)
        evaluation = t.Evaluation(
            kind=underway.kind,
            vector_version_id=on.version.id,
            dataset_version_id=dataset.id if dataset else None,
            split=underway.split,
            model_id=model.id,
            metric=metric,
            positions=underway.positions,
            template=underway.template,
            parameters=dict(underway.parameters),
            measurements=measurements,
            created_at=datetime.now(UTC),
        )
        session.add(evaluation)
        session.flush()
        for score in scores:
            score.evaluation_id = evaluation.id
        for response in responses:
            response.evaluation_id = evaluation.id
        session.add_all([*scores, *responses])
        asked = [("dataset", dataset.id)] if dataset else []
        named = {"dataset": dataset.reference} if dataset else {}
        record_run(
            session,
            underway.activity,
            inputs=[("vector", on.version.id), *asked, ("model", model.id)],
            outputs=[("evaluation", evaluation.id)],
            subject={"evaluation": evaluation.id, "vector": on.version.reference, **named, **subject},
        )
        return evaluation.id
