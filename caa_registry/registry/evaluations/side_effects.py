"""One evaluation of side effects: what a vector does to ordinary text, and how that is stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caa_registry.progress import Progress
from caa_registry.registry.evaluations.sharing import Division, request_as_json
from caa_registry.registry.evaluations.store import Measured, begin, store, underway_kept
from caa_registry.registry.evaluations.target import Target
from caa_registry.registry.records import Evaluation
from caa_registry.registry.records.evaluation_settings import RecordedSideEffects
from caa_registry.registry.vectors.computation import way_of_computing
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.engine.texts import Part
    from caa_registry.evaluation.side_effects.measure import TokenizedText
    from caa_registry.evaluation.side_effects.neutral_text import NeutralText
    from caa_registry.evaluation.statistics import Figure
    from caa_registry.evaluation.unfinished import Unfinished

# Raised with every change that measures the same otherwise.
_MEASURER = 2


@dataclass(frozen=True, eq=False)
class SideEffectsRequest:
    """What is to be measured, understood and loaded. ``division``: what this call does of it."""

    target: Target
    text: NeutralText
    division: Division


def neutral_text(text: str) -> NeutralText:
    """A packaged set by its name, else the file of that path."""
    from caa_registry.evaluation.side_effects.neutral_text import packaged_sets, packaged_text, text_of_file

    return packaged_text(text) if text in packaged_sets() else text_of_file(Path(text))


def text_as_json(text: NeutralText) -> dict[str, Any]:
    """The whole text: a machine that merges shards need not have its file."""
    return {"name": text.name, "passages": [[passage.id, passage.text] for passage in text.passages]}


def text_of_json(kept: dict[str, Any]) -> NeutralText:
    """What ``text_as_json`` gave."""
    from caa_registry.evaluation.side_effects.neutral_text import NeutralText, Passage

    return NeutralText(kept["name"], tuple(Passage(id, text) for id, text in kept["passages"]))


def measure_side_effects(workspace: Workspace, request: SideEffectsRequest, progress: Progress) -> Evaluation:
    """Measure and store KL divergence and perplexity.

    What an interrupted call of the same request had measured of a passage at a layer is not measured again. Nothing is
    written to the registry before all is measured.
    """
    from caa_registry.evaluation.shards import missing, places
    from caa_registry.evaluation.side_effects.measure import tokenized

    passages = tokenized(request.target.model, request.text)
    recorded = _recorded(request, passages)
    underway = begin(workspace, request.target, "side-effects", recorded, positions="all", template="plain")
    asked = request_as_json("side-effects", request.target, text=text_as_json(request.text))
    unfinished = request.division.unfinished(_identity(request, passages), asked)

    def left() -> set[int]:
        everywhere = places(range(len(passages.ids)), request.target.layers, request.target.multipliers)
        return {passage for _, passage in missing(everywhere, _parts(unfinished))}

    def write() -> int:
        figures = _figures(request, passages, unfinished)
        return store(workspace, underway, "kl", figures, text=request.text.digest)

    with underway_kept(workspace, underway):
        if request.division.measures:
            _measure(request, passages, unfinished, progress)
        return request.division.finish(workspace, request.target, unfinished, left, write)


def side_effects_again(request: SideEffectsRequest, progress: Progress) -> Measured:
    """Measure and store nothing."""
    from caa_registry.evaluation.side_effects.measure import tokenized

    passages = tokenized(request.target.model, request.text)
    unfinished = request.division.unfinished(_identity(request, passages), {})
    _measure(request, passages, unfinished, progress)
    return Measured(_recorded(request, passages), _figures(request, passages, unfinished))


def _recorded(request: SideEffectsRequest, passages: TokenizedText) -> RecordedSideEffects:
    from caa_registry.evaluation.inference.intervals import METHOD

    return RecordedSideEffects(
        **request.target.recorded,
        rows="all",
        interval=METHOD.format("passages"),
        text=request.text.name,
        text_digest=request.text.digest,
        passages=len(passages.names),
        too_long=len(passages.too_long),
        too_short=len(passages.too_short),
    )


def _figures(request: SideEffectsRequest, passages: TokenizedText, unfinished: Unfinished) -> list[Figure]:
    from caa_registry.evaluation.measurements import VECTOR
    from caa_registry.evaluation.side_effects.measure import joined
    from caa_registry.evaluation.statistics import Figure

    measured = joined(passages, request.target.layers, request.target.multipliers, _parts(unfinished))
    return [
        Figure(VECTOR, effects.layer, effects.multiplier, metric, interval)
        for effects in measured
        for metric, interval in (("kl", effects.kl), ("perplexity", effects.perplexity))
    ]


def _measure(request: SideEffectsRequest, passages: TokenizedText, unfinished: Unfinished, progress: Progress) -> None:
    from caa_registry.evaluation.side_effects.measure import measure
    from caa_registry.evaluation.unfinished import text_part_as_json

    target = request.target
    measure(
        target.model,
        target.vectors,
        passages,
        target.layers,
        target.multipliers,
        progress,
        kept=_parts(unfinished),
        keep=lambda part: unfinished.add("texts", text_part_as_json(part)),
        shard=request.division.shard,
    )


def _parts(unfinished: Unfinished) -> list[Part]:
    from caa_registry.evaluation.unfinished import text_part_of_json

    return [text_part_of_json(kept) for kept in unfinished.kept("texts")]


def _identity(request: SideEffectsRequest, passages: TokenizedText) -> dict[str, Any]:
    return {
        **way_of_computing(request.target.model),
        "vector": request.target.version.digest,
        "text": [list(ids) for ids in passages.ids],
        "layers": list(request.target.layers),
        "multipliers": [repr(multiplier) for multiplier in request.target.multipliers],
        "measurer": _MEASURER,
    }
