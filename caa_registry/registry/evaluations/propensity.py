"""One evaluation by propensity: what is measured, with which controls beside it, and how it is stored."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from caa_registry import settings
from caa_registry.digests import digest_object
from caa_registry.errors import UsageError
from caa_registry.pairs.overlap import overlap
from caa_registry.pairs.record import Pair
from caa_registry.progress import Progress, part_of
from caa_registry.registry.evaluations.store import begin, store
from caa_registry.registry.evaluations.target import Applied
from caa_registry.registry.records import DatasetVersion, VectorVersion
from caa_registry.registry.vectors.computation import computation, way_of_computing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from caa_registry.engine.sweeps import Part
    from caa_registry.evaluation.measurements import Control, Measurements, Observed
    from caa_registry.evaluation.propensity import ItemSet
    from caa_registry.evaluation.unfinished import Unfinished
    from caa_registry.models.prompts import Example, Template
    from caa_registry.registry.registry import Registry
    from caa_registry.steering.positions import SteeredPositions

_EXAMPLES_SEED = 20240805
# Raised with every change that measures the same otherwise: of controls, or of how questions are run.
_MEASURER = 1


@dataclass(frozen=True)
class Beside:
    """What is measured beside the vector.

    ``controls``: ``random`` (directions of its length), ``shuffled`` (vectors of shuffled labels), ``seeds`` of each.
    Baselines: a system prompt for the behavior, one against it, and ``few_shot`` examples of it from the vector's
    pairs.
    """

    controls: Sequence[str] = ()
    seeds: int = 0
    system_positive: str = ""
    system_negative: str = ""
    few_shot: int = 0


@dataclass(frozen=True)
class Request:
    """A request that was understood."""

    on: Applied
    dataset: DatasetVersion
    split: str
    half: str
    pairs: Sequence[Pair]
    template: Template
    positions: SteeredPositions
    paper: bool
    beside: Beside


def measure(registry: Registry, request: Request, progress: Progress, reading: Progress) -> int:
    """Measure and store; the number of the evaluation. ``reading``: of activations, for shuffled labels.

    What an interrupted call of the same request had measured is not measured again. Nothing is written to the registry
    before all is measured; the evaluation then appears whole or not at all.
    """
    from caa_registry.evaluation.measurements import to_bytes
    from caa_registry.evaluation.statistics import figures
    from caa_registry.evaluation.unfinished import Unfinished

    own = _own_pairs(registry, request.on.version)
    prompts = _conditions(request, own)
    found = prompts["vector"]
    underway = begin(
        registry,
        request.on,
        "propensity",
        positions=request.positions,
        template=request.template.name,
        dataset=request.dataset,
        split=request.split,
        template_digest=request.template.digest,
        rows=request.half,
        paper=request.paper,
        more_choices=found.more_choices,
        beyond_letters=found.beyond,
        too_long=found.too_long,
        unscorable=found.unscorable,
        interval="percentile bootstrap over items, 95 %",
        leaked=_leaked([request.pairs[item.row] for item in found.items], own),
        beside={**asdict(request.beside), "controls": list(request.beside.controls)},
    )
    names, vectors = _added(registry, request, reading)
    unfinished = Unfinished(settings.unfinished(), _identity(request, prompts))
    measured = _measured(request, prompts, names, vectors, unfinished, progress)
    # The blob first: an orphan blob is allowed, an evaluation without its items never.
    digest = registry.blobs.put(to_bytes(measured))
    evaluation = store(registry, underway, measured.metric, figures(measured), measurements=digest)
    unfinished.delete()
    return evaluation


def _own_pairs(registry: Registry, version: VectorVersion) -> list[Pair]:
    """The pairs that the vector was made from."""
    return [item.pair for item in registry.datasets.pairs(version.dataset, version.recipe.split)]


def _conditions(request: Request, own: Sequence[Pair]) -> dict[str, ItemSet]:
    """The questions as they are asked, and as the baselines ask them."""
    from caa_registry.evaluation.propensity import prepare

    asked: dict[str, dict[str, Any]] = {"vector": {}}
    beside = request.beside
    if beside.system_positive:
        asked["system-positive"] = {"system": beside.system_positive}
    if beside.system_negative:
        asked["system-negative"] = {"system": beside.system_negative}
    if beside.few_shot:
        asked["few-shot"] = {"examples": _examples(own, beside.few_shot)}
    return {
        name: prepare(request.pairs, request.template, request.on.model, paper=request.paper, **how)
        for name, how in asked.items()
    }


def _examples(own: Sequence[Pair], count: int) -> list[Example]:
    from caa_registry.models.prompts import Example

    if not 0 < count <= len(own):
        raise UsageError(f"{count} examples cannot be drawn from {len(own)} pairs", "Ask for fewer.")
    drawn = np.random.default_rng(_EXAMPLES_SEED).permutation(len(own))[:count]
    return [Example(own[i].prompt, own[i].positive) for i in drawn]


def _leaked(questions: Sequence[Pair], own: Sequence[Pair]) -> dict[str, int]:
    found = overlap(questions, own)
    return {"same": len(found.same), "near": len(found.near)}


def _added(registry: Registry, request: Request, reading: Progress) -> tuple[list[str], dict[int, NDArray[np.float32]]]:
    """At each layer the vector and those of the controls, ``(vectors, d_model)``, and what each of them is."""
    from caa_registry.engine.reading import Work
    from caa_registry.evaluation.controls import random_directions, shuffled_vectors

    names, seeds = ["vector"], request.beside.seeds
    parts = [{layer: request.on.vectors[layer].values[None] for layer in request.on.layers}]
    if "random" in request.beside.controls:
        names += ["random"] * seeds
        parts.append(random_directions(request.on.vectors, request.on.layers, seeds))
    if "shuffled" in request.beside.controls:
        names += ["shuffled"] * seeds
        recipe = request.on.version.recipe
        made = computation(
            registry.datasets.get(request.on.version.dataset),
            _own_pairs(registry, request.on.version),
            request.on.model,
            split=recipe.split,
            method=recipe.method,
            read=recipe.read,
            layers=request.on.layers,
            template=recipe.template,
        )
        with made.activations(Work(), fresh=False, progress=reading) as activations:
            parts.append(shuffled_vectors(request.on.vectors, activations, recipe.method, request.on.layers, seeds))
    return names, {layer: np.concatenate([part[layer] for part in parts]) for layer in request.on.layers}


def _measured(
    request: Request,
    prompts: Mapping[str, ItemSet],
    names: Sequence[str],
    vectors: Mapping[int, NDArray[np.float32]],
    unfinished: Unfinished,
    progress: Progress,
) -> Measurements:
    from caa_registry.evaluation.measurements import Measurements, Observed
    from caa_registry.evaluation.sweep import sweep
    from caa_registry.evaluation.unfinished import part_of_json

    observed: dict[str, Observed] = {}
    controls: dict[str, Control] = {}
    for place, (condition, items) in enumerate(prompts.items()):
        alone = condition != "vector"
        log_p = sweep(
            request.on.model,
            {layer: values[:1] if alone else values for layer, values in vectors.items()},
            items,
            request.on.multipliers,
            request.positions,
            part_of(progress, place, len(prompts)),
            kept=[part_of_json(kept) for kept in unfinished.kept(condition)],
            keep=functools.partial(_keep, unfinished, condition),
        )
        rows, letters = zip(*((item.row, item.letter or "") for item in items.items), strict=True)
        observed[condition] = Observed(rows, letters, log_p[0])
        if not alone:
            controls = {name: _control(log_p, names, name, observed[condition]) for name in dict.fromkeys(names[1:])}
    layers, multipliers = tuple(request.on.layers), tuple(request.on.multipliers)
    return Measurements(prompts["vector"].metric, layers, multipliers, observed, controls)


def _keep(unfinished: Unfinished, condition: str, part: Part) -> None:
    from caa_registry.evaluation.unfinished import part_as_json

    unfinished.add(condition, part_as_json(part))


def _control(log_p: NDArray[np.float64], names: Sequence[str], name: str, asked: Observed) -> Control:
    from caa_registry.evaluation.measurements import Control
    from caa_registry.evaluation.propensity import propensity_of

    own = log_p[[i for i, other in enumerate(names) if other == name]]
    propensity = propensity_of(own[..., 0], own[..., 1]).mean(axis=-1)
    counted = own[..., asked.counted, :]
    # Where the paper counts every item as 0 the model was asked nothing.
    odds = (counted[..., 0] - counted[..., 1]).mean(axis=-1) if asked.counted.any() else np.zeros_like(propensity)
    return Control(propensity, odds)


def _identity(request: Request, prompts: Mapping[str, ItemSet]) -> dict[str, Any]:
    """All that the numbers depend on. Controls by what they are made from: their last digits may differ."""
    from caa_registry.evaluation.propensity import answers_of

    return {
        **way_of_computing(request.on.model),
        "positions": request.positions,
        "multipliers": [repr(multiplier) for multiplier in request.on.multipliers],
        "vector": request.on.version.digest,
        "layers": list(request.on.layers),
        "controls": list(request.beside.controls),
        "seeds": request.beside.seeds,
        "measurer": _MEASURER,
        "answers": {
            name: digest_object("answers", {"answers": [list(asdict(answer).values()) for answer in answers_of(items)]})
            for name, items in prompts.items()
        },
    }
