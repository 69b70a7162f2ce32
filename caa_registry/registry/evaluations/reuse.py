"""Earlier evaluations that measured exactly what is asked for again, so that it need not be measured twice."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from caa_registry.catalog import models as t
from caa_registry.pairs.halves import Half
from caa_registry.registry.evaluations.propensity.request import PropensityRequest
from caa_registry.registry.evaluations.side_effects import SideEffectsRequest
from caa_registry.registry.evaluations.store import load
from caa_registry.registry.records import Evaluation, RecordedPropensity, RecordedSideEffects
from caa_registry.registry.workspace import Workspace


@dataclass(frozen=True)
class _Measured:
    """What the scores of a vector, without controls and baselines, depend on beside the vector and the model's weights.

    ``material``: the digest of the text, or the dataset version and the split.
    """

    kind: str
    material: str
    layers: tuple[int, ...]
    multipliers: tuple[float, ...]
    dtype: str
    rows: Half = "all"
    positions: str = "all"
    template: str = ""
    paper: bool = False
    orders: str = "as-written"


def earlier(workspace: Workspace, request: PropensityRequest | SideEffectsRequest) -> Evaluation | None:
    """The newest evaluation of the request's vector on the very same model that measured what it asks for."""
    sought = _of_request(request)
    version, model = request.target.version, request.target.model
    ids = (
        select(t.Evaluation.id)
        .join(t.Model, t.Model.id == t.Evaluation.model_id)
        .where(
            t.Evaluation.vector_version_id == version.id,
            t.Evaluation.kind == sought.kind,
            t.Evaluation.deleted_at.is_(None),
            t.Model.fingerprint == model.info.fingerprint.digest,
        )
    )
    with workspace.database.read() as session:
        evaluations = load(session, ids)
    for evaluation in reversed(evaluations):
        if _of_evaluation(evaluation) == sought:
            return evaluation
    return None


def _of_request(request: PropensityRequest | SideEffectsRequest) -> _Measured:
    target = request.target
    measured = target.layers, target.multipliers, target.model.dtype
    if isinstance(request, SideEffectsRequest):
        return _Measured("side-effects", request.text.digest, *measured)
    material = f"{request.questions.dataset.reference} {request.questions.split}"
    asked = request.settings
    return _Measured(
        "propensity",
        material,
        *measured,
        asked.rows,
        asked.positions,
        request.template_digest,
        asked.paper,
        asked.orders,
    )


def _of_evaluation(evaluation: Evaluation) -> _Measured | None:
    recorded = evaluation.settings
    measured = recorded.layers, recorded.multipliers, recorded.dtype
    if isinstance(recorded, RecordedSideEffects):
        return _Measured("side-effects", recorded.text_digest, *measured)
    if isinstance(recorded, RecordedPropensity):
        material = f"{evaluation.dataset} {evaluation.split}"
        return _Measured(
            "propensity",
            material,
            *measured,
            recorded.rows,
            evaluation.positions,
            recorded.template_digest,
            recorded.paper,
            recorded.orders,
        )
    return None
