"""One evaluation of side effects: what a vector does to ordinary text, and how that is stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from caa_registry import settings
from caa_registry.progress import Progress, part_of
from caa_registry.registry.evaluations.store import begin, store
from caa_registry.registry.evaluations.target import Applied
from caa_registry.registry.vectors.computation import way_of_computing

if TYPE_CHECKING:
    from caa_registry.evaluation.side_effects.measure import SideEffects, TokenizedText
    from caa_registry.evaluation.side_effects.neutral_text import NeutralText
    from caa_registry.evaluation.unfinished import Unfinished
    from caa_registry.registry.registry import Registry

# Raised with every change that measures the same otherwise.
_MEASURER = 1


@dataclass(frozen=True)
class TextRequest:
    """A request that was understood."""

    on: Applied
    text: NeutralText


def neutral_text(text: str) -> NeutralText:
    """A packaged set by its name, else the file of that path."""
    from caa_registry.evaluation.side_effects.neutral_text import packaged_sets, packaged_text, text_of_file

    return packaged_text(text) if text in packaged_sets() else text_of_file(Path(text))


def measure_text(registry: Registry, request: TextRequest, progress: Progress) -> int:
    """Measure and store KL divergence and perplexity; the number of the evaluation.

    Layers that an interrupted call of the same request had measured are not measured again. Nothing is written to the
    registry before all is measured.
    """
    from caa_registry.evaluation.measurements import VECTOR
    from caa_registry.evaluation.side_effects.measure import tokenized
    from caa_registry.evaluation.statistics import Figure
    from caa_registry.evaluation.unfinished import Unfinished

    passages = tokenized(request.on.model, request.text)
    underway = begin(
        registry,
        request.on,
        "side-effects",
        positions="all",
        template="plain",
        text=request.text.name,
        text_digest=request.text.digest,
        passages=len(passages.names),
        too_long=len(passages.too_long),
        too_short=len(passages.too_short),
        interval="percentile bootstrap over passages, 95 %",
    )
    unfinished = Unfinished(settings.unfinished(), _identity(request, passages))
    found = _measured(request, passages, unfinished, progress)
    figures = [
        Figure(VECTOR, effects.layer, effects.multiplier, metric, interval)
        for effects in found
        for metric, interval in (("kl", effects.kl), ("perplexity", effects.perplexity))
    ]
    evaluation = store(registry, underway, "kl", figures, text=request.text.digest)
    unfinished.delete()
    return evaluation


def _measured(
    request: TextRequest, passages: TokenizedText, unfinished: Unfinished, progress: Progress
) -> list[SideEffects]:
    """Layer by layer, so that an interruption loses one at most."""
    from caa_registry.evaluation.side_effects.measure import SideEffects, side_effects

    done = {kept["layer"]: kept for kept in unfinished.kept("layers")}
    tokens = np.array([len(ids) - 1 for ids in passages.ids], dtype=np.intp)
    found: list[SideEffects] = []
    for place, layer in enumerate(request.on.layers):
        kept = done.get(layer)
        if kept is None:
            made = side_effects(
                request.on.model,
                request.on.vectors,
                passages,
                [layer],
                request.on.multipliers,
                progress=part_of(progress, place, len(request.on.layers)),
            )
            sums = [[cell.kl_sums.tolist(), cell.log_p_sums.tolist()] for cell in made]
            kept = {"layer": layer, "sums": sums}
            unfinished.add("layers", kept)
        found += [
            SideEffects(layer, multiplier, np.array(kl), np.array(log_p), tokens)
            for multiplier, (kl, log_p) in zip(request.on.multipliers, kept["sums"], strict=True)
        ]
    return found


def _identity(request: TextRequest, passages: TokenizedText) -> dict[str, Any]:
    return {
        **way_of_computing(request.on.model),
        "vector": request.on.version.digest,
        "text": [list(ids) for ids in passages.ids],
        "layers": list(request.on.layers),
        "multipliers": [repr(multiplier) for multiplier in request.on.multipliers],
        "measurer": _MEASURER,
    }
