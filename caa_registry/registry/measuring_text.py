"""One evaluation of side effects: what a vector does to ordinary text, and how that is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from caa_registry import settings
from caa_registry.catalog import models as t
from caa_registry.progress import Progress
from caa_registry.registry.computation import way_of_computing
from caa_registry.registry.models import ensure_model
from caa_registry.registry.records import VectorVersion
from caa_registry.registry.runs import Activity, record_run
from caa_registry.registry.steer import record_mismatch

if TYPE_CHECKING:
    from caa_registry.evaluation.side_effects.measure import SideEffects, TokenizedText
    from caa_registry.evaluation.side_effects.neutral_text import NeutralText
    from caa_registry.models.fingerprint import Verdict
    from caa_registry.models.model import Model
    from caa_registry.registry.registry import Registry
    from caa_registry.vectors.vector_set import VectorSet

# Raised with every change that measures the same otherwise.
_MEASURER = 1


@dataclass(frozen=True)
class TextRequest:
    """A request that was understood."""

    version: VectorVersion
    vectors: VectorSet
    model: Model
    verdict: Verdict
    text: NeutralText
    layers: Sequence[int]
    multipliers: Sequence[float]


def neutral_text(text: str) -> NeutralText:
    """A packaged set by its name, else the file of that path."""
    from caa_registry.evaluation.side_effects.neutral_text import packaged_sets, packaged_text, text_of_file

    return packaged_text(text) if text in packaged_sets() else text_of_file(Path(text))


def measure_text(registry: Registry, request: TextRequest, progress: Progress) -> int:
    """Measure and store KL divergence and perplexity; the number of the evaluation.

    Layers that an interrupted call of the same request had measured are not measured again. Nothing is written to the
    registry before all is measured.
    """
    from caa_registry.evaluation.side_effects.measure import tokenized
    from caa_registry.evaluation.unfinished import Unfinished

    passages = tokenized(request.model, request.text)
    parameters = {
        "text": request.text.name,
        "text_digest": request.text.digest,
        "passages": len(passages.names),
        "too_long": len(passages.too_long),
        "too_short": len(passages.too_short),
        "dtype": request.model.dtype,
        "operator": "add",
        "layers": list(request.layers),
        "multipliers": list(request.multipliers),
        "rows": "all",
        "interval": "percentile bootstrap over passages, 95 %",
        "verdict": request.verdict,
    }
    activity = Activity("evaluate", registry.actor, {"positions": "all", **parameters})
    unfinished = Unfinished(settings.unfinished(), _identity(request, passages))
    found = _measured(request, passages, unfinished, progress)
    scores = [
        t.Score(
            position=place,
            condition="vector",
            layer=effects.layer,
            multiplier=effects.multiplier,
            metric=metric,
            value=interval.value,
            ci_low=interval.low,
            ci_high=interval.high,
            n=interval.n,
        )
        for place, (effects, metric, interval) in enumerate(
            (effects, metric, interval)
            for effects in found
            for metric, interval in (("kl", effects.kl), ("perplexity", effects.perplexity))
        )
    ]
    with registry.database.write() as session:
        row, _ = ensure_model(session, request.model.info)
        record_mismatch(session, registry.actor, request.version, request.model, request.verdict)
        evaluation = t.Evaluation(
            kind="side-effects",
            vector_version_id=request.version.id,
            dataset_version_id=None,
            split="",
            model_id=row.id,
            metric="kl",
            positions="all",
            template="plain",
            parameters=parameters,
            created_at=datetime.now(UTC),
        )
        session.add(evaluation)
        session.flush()
        for score in scores:
            score.evaluation_id = evaluation.id
        session.add_all(scores)
        record_run(
            session,
            activity,
            inputs=[("vector", request.version.id), ("model", row.id)],
            outputs=[("evaluation", evaluation.id)],
            subject={"evaluation": evaluation.id, "vector": request.version.reference, "text": request.text.digest},
        )
        number = evaluation.id
    unfinished.delete()
    return number


def _measured(request: TextRequest, passages: TokenizedText, unfinished: Any, progress: Progress) -> list[SideEffects]:
    """Layer by layer, so that an interruption loses one at most."""
    from caa_registry.evaluation.side_effects.measure import SideEffects, side_effects

    done = {kept["layer"]: kept for kept in unfinished.kept("layers")}
    tokens = np.array([len(ids) - 1 for ids in passages.ids], dtype=np.intp)
    found: list[SideEffects] = []
    for place, layer in enumerate(request.layers):
        kept = done.get(layer)
        if kept is None:
            made = side_effects(
                request.model,
                request.vectors,
                passages,
                [layer],
                request.multipliers,
                progress=_layer_of(progress, place, len(request.layers)),
            )
            sums = [[cell.kl_sums.tolist(), cell.log_p_sums.tolist()] for cell in made]
            kept = {"layer": layer, "sums": sums}
            unfinished.add("layers", kept)
        found += [
            SideEffects(layer, multiplier, np.array(kl), np.array(log_p), tokens)
            for multiplier, (kl, log_p) in zip(request.multipliers, kept["sums"], strict=True)
        ]
    return found


def _layer_of(progress: Progress, place: int, layers: int) -> Progress:
    return lambda done, total: progress(place * total + done, layers * total)


def _identity(request: TextRequest, passages: TokenizedText) -> dict[str, Any]:
    return {
        **way_of_computing(request.model),
        "vector": request.version.digest,
        "text": [list(ids) for ids in passages.ids],
        "layers": list(request.layers),
        "multipliers": [repr(multiplier) for multiplier in request.multipliers],
        "measurer": _MEASURER,
    }
