"""One evaluation of side effects: what a vector does to ordinary text, and how that is stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caa_registry import settings
from caa_registry.progress import Progress, part_of
from caa_registry.registry.evaluations.store import begin, get, store
from caa_registry.registry.evaluations.target import Target
from caa_registry.registry.records import Evaluation
from caa_registry.registry.records.evaluation_settings import RecordedSideEffects
from caa_registry.registry.vectors.computation import way_of_computing
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.evaluation.side_effects.measure import SideEffects, TokenizedText
    from caa_registry.evaluation.side_effects.neutral_text import NeutralText
    from caa_registry.evaluation.unfinished import Unfinished

# Raised with every change that measures the same otherwise.
_MEASURER = 1


@dataclass(frozen=True, eq=False)
class SideEffectsRequest:
    """What is to be measured, understood and loaded."""

    target: Target
    text: NeutralText


def neutral_text(text: str) -> NeutralText:
    """A packaged set by its name, else the file of that path."""
    from caa_registry.evaluation.side_effects.neutral_text import packaged_sets, packaged_text, text_of_file

    return packaged_text(text) if text in packaged_sets() else text_of_file(Path(text))


def measure_side_effects(workspace: Workspace, request: SideEffectsRequest, progress: Progress) -> Evaluation:
    """Measure and store KL divergence and perplexity.

    Layers that an interrupted call of the same request had measured are not measured again. Nothing is written to the
    registry before all is measured.
    """
    from caa_registry.evaluation.measurements import VECTOR
    from caa_registry.evaluation.side_effects.measure import tokenized
    from caa_registry.evaluation.statistics import Figure
    from caa_registry.evaluation.unfinished import Unfinished

    passages = tokenized(request.target.model, request.text)
    recorded = RecordedSideEffects(
        **request.target.recorded,
        rows="all",
        interval="percentile bootstrap over passages, 95 %",
        text=request.text.name,
        text_digest=request.text.digest,
        passages=len(passages.names),
        too_long=len(passages.too_long),
        too_short=len(passages.too_short),
    )
    underway = begin(workspace, request.target, "side-effects", recorded, positions="all", template="plain")
    unfinished = Unfinished(settings.unfinished(), _identity(request, passages))
    figures = [
        Figure(VECTOR, effects.layer, effects.multiplier, metric, interval)
        for effects in _measured(request, passages, unfinished, progress)
        for metric, interval in (("kl", effects.kl), ("perplexity", effects.perplexity))
    ]
    number = store(workspace, underway, "kl", figures, text=request.text.digest)
    unfinished.delete()
    return get(workspace, number)


def _measured(
    request: SideEffectsRequest, passages: TokenizedText, unfinished: Unfinished, progress: Progress
) -> list[SideEffects]:
    """Layer by layer, so that an interruption loses one at most."""
    import numpy as np

    from caa_registry.evaluation.side_effects.measure import SideEffects, side_effects

    done = {kept["layer"]: kept for kept in unfinished.kept("layers")}
    tokens = np.array([len(ids) - 1 for ids in passages.ids], dtype=np.intp)
    cells: list[SideEffects] = []
    for place, layer in enumerate(request.target.layers):
        kept = done.get(layer)
        if kept is None:
            computed = side_effects(
                request.target.model,
                request.target.vectors,
                passages,
                [layer],
                request.target.multipliers,
                progress=part_of(progress, place, len(request.target.layers)),
            )
            sums = [[cell.kl_sums.tolist(), cell.log_p_sums.tolist()] for cell in computed]
            kept = {"layer": layer, "sums": sums}
            unfinished.add("layers", kept)
        cells += [
            SideEffects(layer, multiplier, np.array(kl), np.array(log_p), tokens)
            for multiplier, (kl, log_p) in zip(request.target.multipliers, kept["sums"], strict=True)
        ]
    return cells


def _identity(request: SideEffectsRequest, passages: TokenizedText) -> dict[str, Any]:
    return {
        **way_of_computing(request.target.model),
        "vector": request.target.version.digest,
        "text": [list(ids) for ids in passages.ids],
        "layers": list(request.target.layers),
        "multipliers": [repr(multiplier) for multiplier in request.target.multipliers],
        "measurer": _MEASURER,
    }
