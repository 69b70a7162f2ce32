"""One evaluation by propensity: what is measured, with which nulls beside it, and how it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from caa_registry.progress import Progress, part_of
from caa_registry.registry.evaluations.propensity.nulls import (
    UNTRAINED,
    aucs,
    directions,
    keep_auc,
    seed_of,
    untrained_vector,
)
from caa_registry.registry.evaluations.propensity.parts import (
    identity,
    lengths_key,
    measurements_of,
    missing_questions,
    null_rounds,
    parts_of,
    so_far,
)
from caa_registry.registry.evaluations.propensity.request import PropensityRequest, conditions
from caa_registry.registry.evaluations.sharing import request_as_json
from caa_registry.registry.evaluations.store import Measured, begin, store, underway_kept
from caa_registry.registry.records import Evaluation
from caa_registry.registry.records.evaluation_settings import Leaked, RecordedPropensity
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.engine.sweeps import Arm, Parts
    from caa_registry.evaluation.measurements import Measurements
    from caa_registry.evaluation.propensity import ItemSet
    from caa_registry.evaluation.statistics import Figure
    from caa_registry.evaluation.unfinished import Unfinished
    from caa_registry.models.model import Model
    from caa_registry.registry.evaluations.propensity.nulls import Round


def measure(workspace: Workspace, request: PropensityRequest, progress: Progress, reading: Progress) -> Evaluation:
    """Measure and store. ``reading``: of activations, for nulls.

    What an interrupted call of the same request had measured is not measured again. Nothing is written to the registry
    before all is measured; the evaluation then appears whole or not at all.
    """
    from caa_registry.evaluation.measurements import to_bytes

    prompts = conditions(request)
    underway = begin(
        workspace,
        request.target,
        "propensity",
        _recorded(request, prompts["vector"]),
        positions=request.settings.positions,
        template=request.template.name,
        dataset=request.questions.dataset,
        split=request.questions.split,
        plan=request.plan,
    )
    asked = request_as_json(
        "propensity",
        request.target,
        dataset=request.questions.dataset.reference,
        split=request.questions.split,
        settings=asdict(request.settings),
    )
    unfinished = request.division.unfinished(identity(request, prompts), asked)

    def write() -> int:
        measured = measurements_of(request, prompts, unfinished)
        # The blob first: an orphan blob is allowed, an evaluation without its items never.
        digest = workspace.blobs.put(to_bytes(measured))
        found = _figures(request, measured, unfinished)
        return store(workspace, underway, measured.metric, found, measurements=digest)

    with underway_kept(workspace, underway):
        if request.division.measures:
            _measure(request, prompts, unfinished, progress, reading)
        return request.division.finish(
            workspace, request.target, unfinished, lambda: missing_questions(request, prompts, unfinished), write
        )


def measured_again(request: PropensityRequest, progress: Progress, reading: Progress) -> Measured:
    """Measure and store nothing."""
    prompts = conditions(request)
    unfinished = request.division.unfinished(identity(request, prompts), {})
    _measure(request, prompts, unfinished, progress, reading)
    measured = measurements_of(request, prompts, unfinished)
    figures = _figures(request, measured, unfinished)
    return Measured(_recorded(request, prompts["vector"]), figures, measurements=measured)


def _figures(request: PropensityRequest, measured: Measurements, unfinished: Unfinished) -> list[Figure]:
    from caa_registry.evaluation.doses.norms import norm_ratios
    from caa_registry.evaluation.statistics import figures

    ratios = norm_ratios(request.target.vectors, measured.layers, measured.multipliers)
    return [*figures(measured), *ratios, *aucs(unfinished)]


def _recorded(request: PropensityRequest, asked: ItemSet) -> RecordedPropensity:
    from caa_registry.evaluation.inference.intervals import METHOD
    from caa_registry.pairs.repeats.near_duplicates import overlap

    # A question in two orders is one that may leak.
    questions = {request.rows[item.row]: request.pairs[item.row] for item in reversed(asked.items)}
    leaks = overlap(list(questions.values()), request.own.pairs)
    return RecordedPropensity(
        **request.target.recorded,
        rows=request.settings.rows,
        interval=METHOD.format("clusters of questions"),
        template_digest=request.template_digest,
        paper=request.settings.paper,
        orders=request.settings.orders,
        more_choices=asked.more_choices,
        beyond_letters=asked.beyond,
        too_long=asked.too_long,
        unscorable=asked.unscorable,
        leaked=Leaked(len(leaks.same), len(leaks.near), unknown=not request.own.complete),
        beside=request.beside,
        plan=request.plan.digest if request.plan else "",
        shape=5 if request.plan else 4,
    )


def _measure(
    request: PropensityRequest,
    prompts: Mapping[str, ItemSet],
    unfinished: Unfinished,
    progress: Progress,
    reading: Progress,
) -> None:
    from caa_registry.engine.sweeps import Arm
    from caa_registry.evaluation.measurements import VECTOR
    from caa_registry.evaluation.nulls.directions import relative_lengths
    from caa_registry.evaluation.sweep import sweep
    from caa_registry.evaluation.unfinished import part_as_json
    from caa_registry.models.untrained import untrained

    target, beside = request.target, request.beside
    # Made first, so that what does not fit into memory is refused before anything is measured.
    network = untrained(target.model, seed_of(target.version, UNTRAINED, None)) if beside.untrained else target.model
    steps, pending = len(target.multipliers), null_rounds(request)
    first = [each for each in pending if each.first == 0]
    later = [each for each in pending if each.first > 0]
    # Work is of one vector at one multiplier. The first draws are measured with the vector, which saves asking the
    # questions once more.
    counts = [steps + sum(each.work for each in first), *[steps] * (len(prompts) - 1), *(each.work for each in later)]

    def run(place: int, model: Model, items: ItemSet, arms: Mapping[str, Arm]) -> None:
        def keep(parts: Parts) -> None:
            for name, part in zip(arms, parts, strict=True):
                unfinished.add(name, part_as_json(part))

        sweep(
            model,
            list(arms.values()),
            items,
            request.settings.positions,
            part_of(progress, place, counts),
            kept=[parts_of(unfinished, name) for name in arms],
            keep=keep,
            shard=request.division.shard,
        )

    def arm(each: Round) -> Arm:
        vectors = {layer: values[each.first : each.last] for layer, values in drawn[each.null].items()}
        return Arm(vectors, request.extremes)

    fresh = request.division.afresh is not None
    drawn = directions(target, request.own, beside.controls, beside.seeds, request.settings.seed, reading, fresh=fresh)
    for name, vectors in drawn.items():
        if not unfinished.kept(lengths_key(name)):
            lengths = relative_lengths(vectors, target.vectors)
            unfinished.add(lengths_key(name), {"lengths": [repr(length) for length in lengths]})
    own = Arm({layer: target.vectors[layer].values[None] for layer in target.layers}, target.multipliers)
    for place, (condition, items) in enumerate(prompts.items()):
        if condition == VECTOR:
            beside_it = {each.name: arm(each) for each in first}
            run(place, target.model, items, {condition: replace(own, doses=True), **beside_it})
        elif condition == UNTRAINED:
            made = untrained_vector(target, request.own, network, reading, fresh=fresh)
            keep_auc(unfinished, made)
            run(place, network, items, {condition: replace(own, vectors=made.vectors)})
        else:
            run(place, target.model, items, {condition: own})
    # Whether there are enough draws cannot be told from a part of the questions.
    alone = request.division.shard.of == 1
    for place, each in enumerate(later, start=len(prompts)):
        if not alone or so_far(request, prompts, unfinished, each.null)[1] is not None:
            run(place, target.model, prompts[VECTOR], {each.name: arm(each)})
