"""One evaluation by propensity: what is measured, with which controls beside it, and how it is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from caa_registry.digests import digest_object
from caa_registry.errors import UsageError
from caa_registry.pairs.halves import half_of
from caa_registry.pairs.record import Pair
from caa_registry.progress import Progress, part_of
from caa_registry.registry.evaluations.sharing import Division, request_as_json
from caa_registry.registry.evaluations.store import begin, store
from caa_registry.registry.evaluations.target import Questions, Target, reading_of
from caa_registry.registry.records import Evaluation, PropensitySettings
from caa_registry.registry.records.evaluation_settings import Beside, Leaked, RecordedPropensity
from caa_registry.registry.vectors.computation import way_of_computing
from caa_registry.registry.vectors.steering import same_weights
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from caa_registry.engine.sweeps import Part
    from caa_registry.evaluation.measurements import Control, Measurements, Observed
    from caa_registry.evaluation.propensity import ItemSet
    from caa_registry.evaluation.unfinished import Unfinished
    from caa_registry.models.rendering.prompts import Example, Template

_EXAMPLES_SEED = 20240805
# Raised with every change that measures the same otherwise: of controls, or of how questions are run.
_MEASURER = 1


@dataclass(frozen=True, eq=False)
class PropensityRequest:
    """What is to be measured, understood and loaded. ``own``: the pairs that the vector was made from. ``pairs``: the
    questions that are asked, all or a half. ``beside``: what is measured beside the vector. ``division``: what this
    call does of it."""

    target: Target
    questions: Questions
    own: Questions
    settings: PropensitySettings
    template: Template
    pairs: Sequence[Pair]
    beside: Beside
    division: Division

    @property
    def template_digest(self) -> str:
        """The identity of how the pairs are rendered."""
        return self.template.rendering(system=any(pair.system for pair in self.pairs)).digest


def propensity_request(
    target: Target, questions: Questions, own: Questions, asked: PropensitySettings, division: Division
) -> PropensityRequest:
    """Understand a request. Raises ``UsageError`` for a template that the model does not have."""
    # Vectors of shuffled labels are made of the activations of the vector's own model.
    had = [name for name in dict.fromkeys(asked.controls) if name != "shuffled" or same_weights(target.verdict)]
    return PropensityRequest(
        target,
        questions,
        own,
        asked,
        target.model.template(asked.template or target.version.recipe.template),
        [item.pair for item in half_of(questions.items, asked.rows)],
        Beside(tuple(had), asked.seeds if had else 0, asked.system_positive, asked.system_negative, asked.few_shot),
        division,
    )


def measure(workspace: Workspace, request: PropensityRequest, progress: Progress, reading: Progress) -> Evaluation:
    """Measure and store. ``reading``: of activations, for shuffled labels.

    What an interrupted call of the same request had measured is not measured again. Nothing is written to the registry
    before all is measured; the evaluation then appears whole or not at all.
    """
    from caa_registry.evaluation.measurements import to_bytes
    from caa_registry.evaluation.statistics import figures

    prompts = _conditions(request)
    underway = begin(
        workspace,
        request.target,
        "propensity",
        _recorded(request, prompts["vector"]),
        positions=request.settings.positions,
        template=request.template.name,
        dataset=request.questions.dataset,
        split=request.questions.split,
    )
    asked = request_as_json(
        "propensity",
        request.target,
        dataset=request.questions.dataset.reference,
        split=request.questions.split,
        settings=asdict(request.settings),
    )
    unfinished = request.division.unfinished(_identity(request, prompts), asked)
    if request.division.measures:
        _measure(request, prompts, unfinished, progress, reading)

    def write() -> int:
        measured = _measured(request, prompts, unfinished)
        # The blob first: an orphan blob is allowed, an evaluation without its items never.
        digest = workspace.blobs.put(to_bytes(measured))
        return store(workspace, underway, measured.metric, figures(measured), measurements=digest)

    return request.division.finish(
        workspace, request.target, unfinished, lambda: _missing(request, prompts, unfinished), write
    )


def _recorded(request: PropensityRequest, asked: ItemSet) -> RecordedPropensity:
    from caa_registry.pairs.near_duplicates import overlap

    leaks = overlap([request.pairs[item.row] for item in asked.items], request.own.pairs)
    return RecordedPropensity(
        **request.target.recorded,
        rows=request.settings.rows,
        interval="percentile bootstrap over items, 95 %",
        template_digest=request.template_digest,
        paper=request.settings.paper,
        more_choices=asked.more_choices,
        beyond_letters=asked.beyond,
        too_long=asked.too_long,
        unscorable=asked.unscorable,
        leaked=Leaked(len(leaks.same), len(leaks.near)),
        beside=request.beside,
    )


def _conditions(request: PropensityRequest) -> dict[str, ItemSet]:
    """The questions as they are asked, and as the baselines ask them."""
    from caa_registry.evaluation.propensity import prepare

    asked: dict[str, dict[str, Any]] = {"vector": {}}
    beside = request.beside
    if beside.system_positive:
        asked["system-positive"] = {"system": beside.system_positive}
    if beside.system_negative:
        asked["system-negative"] = {"system": beside.system_negative}
    if beside.few_shot:
        asked["few-shot"] = {"examples": _examples(request.own.pairs, beside.few_shot)}
    return {
        name: prepare(request.pairs, request.template, request.target.model, paper=request.settings.paper, **prompt)
        for name, prompt in asked.items()
    }


def _examples(own: Sequence[Pair], count: int) -> list[Example]:
    import numpy as np

    from caa_registry.models.rendering.prompts import Example, earlier

    if not 0 < count <= len(own):
        raise UsageError(f"{count} examples cannot be drawn from {len(own)} pairs", "Ask for fewer.")
    drawn = np.random.default_rng(_EXAMPLES_SEED).permutation(len(own))[:count]
    return [example for i in drawn for example in (*earlier(own[i]), Example(own[i].prompt, own[i].positive))]


def _names(beside: Beside) -> list[str]:
    """What each of the vectors is that are added at a layer: the vector, and ``beside.seeds`` of each control."""
    controls = [name for name in ("random", "shuffled") if name in beside.controls]
    return ["vector", *(name for name in controls for _ in range(beside.seeds))]


def _added(request: PropensityRequest, reading: Progress) -> dict[int, NDArray[np.float32]]:
    """At each layer the vectors that ``_names`` names, ``(vectors, d_model)``."""
    import numpy as np

    from caa_registry.evaluation.controls import random_directions

    vectors, layers, beside = request.target.vectors, request.target.layers, request.beside
    parts = [{layer: vectors[layer].values[None] for layer in layers}]
    if "random" in beside.controls:
        parts.append(random_directions(vectors, layers, beside.seeds))
    if "shuffled" in beside.controls:
        parts.append(_shuffled(request, reading))
    return {layer: np.concatenate([part[layer] for part in parts]) for layer in layers}


def _shuffled(request: PropensityRequest, reading: Progress) -> dict[int, NDArray[np.float32]]:
    """Vectors of shuffled labels. Of several processes the first has all activations, and makes them for all."""
    import numpy as np

    from caa_registry.engine import processes
    from caa_registry.engine.reading import Work
    from caa_registry.evaluation.controls import shuffled_vectors

    target, seeds = request.target, request.beside.seeds
    own = reading_of(target.version, request.own, target.model, target.layers)
    with own.activations(Work(), fresh=False, progress=reading) as activations:
        if processes.count() == 1:
            return shuffled_vectors(target.vectors, activations, target.version.recipe.method, target.layers, seeds)
        made = {layer: np.zeros((seeds, target.model.d_model), np.float32) for layer in target.layers}
        if processes.rank() == 0:
            made |= shuffled_vectors(target.vectors, activations, target.version.recipe.method, target.layers, seeds)
    return {layer: processes.floats_from_first(values) for layer, values in made.items()}


def _measure(
    request: PropensityRequest,
    prompts: Mapping[str, ItemSet],
    unfinished: Unfinished,
    progress: Progress,
    reading: Progress,
) -> None:
    from caa_registry.evaluation.sweep import sweep
    from caa_registry.evaluation.unfinished import part_as_json

    vectors = _added(request, reading)
    counts = [len(_names(request.beside)) if condition == "vector" else 1 for condition in prompts]
    for place, (condition, items) in enumerate(prompts.items()):
        alone = condition != "vector"

        def keep(part: Part, condition: str = condition) -> None:
            unfinished.add(condition, part_as_json(part))

        sweep(
            request.target.model,
            {layer: values[:1] if alone else values for layer, values in vectors.items()},
            items,
            request.target.multipliers,
            request.settings.positions,
            part_of(progress, place, counts),
            kept=_parts(unfinished, condition),
            keep=keep,
            shard=request.division.shard,
        )


def _parts(unfinished: Unfinished, condition: str) -> list[Part]:
    from caa_registry.evaluation.unfinished import part_of_json

    return [part_of_json(kept) for kept in unfinished.kept(condition)]


def _missing(request: PropensityRequest, prompts: Mapping[str, ItemSet], unfinished: Unfinished) -> set[int]:
    """The questions of which something is not measured."""
    from caa_registry.evaluation.shards import missing, places

    target = request.target
    return {
        question
        for condition, items in prompts.items()
        for _, question in missing(
            places(range(items.open), target.layers, target.multipliers), _parts(unfinished, condition)
        )
    }


def _measured(request: PropensityRequest, prompts: Mapping[str, ItemSet], unfinished: Unfinished) -> Measurements:
    from caa_registry.evaluation.measurements import Measurements, Observed
    from caa_registry.evaluation.sweep import joined

    target, names = request.target, _names(request.beside)
    observed: dict[str, Observed] = {}
    controls: dict[str, Control] = {}
    for condition, items in prompts.items():
        alone = condition != "vector"
        parts, vectors = _parts(unfinished, condition), 1 if alone else len(names)
        log_p = joined(target.model, items, target.layers, target.multipliers, parts, vectors)
        rows, letters = zip(*((item.row, item.letter or "") for item in items.items), strict=True)
        observed[condition] = Observed(rows, letters, log_p[0])
        if not alone:
            controls = {name: _control(log_p, names, name, observed[condition]) for name in dict.fromkeys(names[1:])}
    return Measurements(prompts["vector"].metric, target.layers, target.multipliers, observed, controls)


def _control(log_p: NDArray[np.float64], names: Sequence[str], name: str, asked: Observed) -> Control:
    import numpy as np

    from caa_registry.evaluation.measurements import Control
    from caa_registry.evaluation.propensity import propensity_of

    own = log_p[[i for i, each in enumerate(names) if each == name]]
    propensity = propensity_of(own[..., 0], own[..., 1]).mean(axis=-1)
    counted = own[..., asked.counted, :]
    # Where the paper counts every item as 0 the model was asked nothing.
    odds = (counted[..., 0] - counted[..., 1]).mean(axis=-1) if asked.counted.any() else np.zeros_like(propensity)
    return Control(propensity, odds)


def _identity(request: PropensityRequest, prompts: Mapping[str, ItemSet]) -> dict[str, Any]:
    """All that the numbers depend on. Controls by what they are made from: their last digits may differ."""
    from caa_registry.evaluation.propensity import answers_of

    return {
        **way_of_computing(request.target.model),
        "positions": request.settings.positions,
        "multipliers": [repr(multiplier) for multiplier in request.target.multipliers],
        "vector": request.target.version.digest,
        "layers": list(request.target.layers),
        "controls": list(request.beside.controls),
        "seeds": request.beside.seeds,
        "measurer": _MEASURER,
        "answers": {
            name: digest_object("answers", {"answers": [list(asdict(answer).values()) for answer in answers_of(items)]})
            for name, items in prompts.items()
        },
    }
