"""One evaluation by propensity: what is measured, with which nulls beside it, and how it is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from caa_registry.digests import digest_object
from caa_registry.errors import UsageError
from caa_registry.pairs.halves import half_of
from caa_registry.pairs.orders import reversed_choices
from caa_registry.pairs.record import Pair
from caa_registry.progress import Progress, part_of
from caa_registry.registry.evaluations.nulls import (
    UNTRAINED,
    Round,
    aucs,
    check_untrained,
    directions,
    keep_auc,
    names_of,
    rounds,
    seed_of,
    untrained_vector,
)
from caa_registry.registry.evaluations.sharing import Division, request_as_json
from caa_registry.registry.evaluations.store import begin, store
from caa_registry.registry.evaluations.target import Questions, Target
from caa_registry.registry.records import Evaluation, Plan, PropensitySettings
from caa_registry.registry.records.evaluation_settings import Beside, Leaked, RecordedPropensity
from caa_registry.registry.vectors.computation import way_of_computing
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.engine.sweeps import Part
    from caa_registry.evaluation.measurements import Measurements, Null, Observed
    from caa_registry.evaluation.nulls.directions import Directions
    from caa_registry.evaluation.propensity import ItemSet
    from caa_registry.evaluation.unfinished import Unfinished
    from caa_registry.models.rendering.prompts import Example, Template

_EXAMPLES_SEED = 20240805
# Raised with every change that measures the same otherwise: of nulls, or of how questions are run.
_MEASURER = 3


@dataclass(frozen=True, eq=False)
class PropensityRequest:
    """What is to be measured, understood and loaded. ``own``: the pairs that the vector was made from. ``pairs``: the
    questions that are asked, all or a half, perhaps in both orders of their choices; ``rows``: of each its place among
    them as they are written. ``beside``: what is measured beside the vector. ``division``: what this call does of
    it. ``plan``: the one that it follows."""

    target: Target
    questions: Questions
    own: Questions
    settings: PropensitySettings
    template: Template
    pairs: Sequence[Pair]
    rows: Sequence[int]
    beside: Beside
    division: Division
    plan: Plan | None = None

    @property
    def extremes(self) -> tuple[float, float]:
        """The multipliers at which nulls are measured."""
        return self.target.multipliers[0], self.target.multipliers[-1]

    @property
    def template_digest(self) -> str:
        """The identity of how the pairs are rendered."""
        return self.template.rendering(system=any(pair.system for pair in self.pairs)).digest


def propensity_request(
    target: Target, questions: Questions, own: Questions, asked: PropensitySettings, division: Division
) -> PropensityRequest:
    """Understand a request. Raises ``UsageError`` for a template that the model does not have, and for an untrained
    network that would be no baseline."""
    nulls = names_of(target, asked)
    check_untrained(target, asked)
    pairs: list[Pair] = []
    rows: list[int] = []
    for row, item in enumerate(half_of(questions.items, asked.rows)):
        reordered = reversed_choices(item.pair) if asked.orders == "both" else None
        orders = [item.pair] if reordered is None else [item.pair, reordered]
        pairs += orders
        rows += [row] * len(orders)
    return PropensityRequest(
        target,
        questions,
        own,
        asked,
        target.model.template(asked.template or target.version.recipe.template),
        pairs,
        rows,
        Beside(
            nulls,
            asked.draws if nulls else 0,
            asked.system_positive,
            asked.system_negative,
            asked.few_shot,
            asked.untrained,
        ),
        division,
    )


def measure(workspace: Workspace, request: PropensityRequest, progress: Progress, reading: Progress) -> Evaluation:
    """Measure and store. ``reading``: of activations, for nulls.

    What an interrupted call of the same request had measured is not measured again. Nothing is written to the registry
    before all is measured; the evaluation then appears whole or not at all.
    """
    from caa_registry.evaluation.doses.norms import norm_ratios
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
        plan=request.plan,
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
        ratios = norm_ratios(request.target.vectors, measured.layers, measured.multipliers)
        found = [*figures(measured), *ratios, *aucs(unfinished)]
        return store(workspace, underway, measured.metric, found, measurements=digest)

    return request.division.finish(
        workspace, request.target, unfinished, lambda: _missing(request, prompts, unfinished), write
    )


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
        leaked=Leaked(len(leaks.same), len(leaks.near)),
        beside=request.beside,
        plan=request.plan.digest if request.plan else "",
        shape=5 if request.plan else 4,
    )


def _conditions(request: PropensityRequest) -> dict[str, ItemSet]:
    """The questions as they are asked, and as the baselines ask them."""
    asked: dict[str, dict[str, Any]] = {"vector": {}}
    beside = request.beside
    if beside.system_positive:
        asked["system-positive"] = {"system": beside.system_positive}
    if beside.system_negative:
        asked["system-negative"] = {"system": beside.system_negative}
    if beside.few_shot:
        asked["few-shot"] = {"examples": _examples(request.own.pairs, beside.few_shot)}
    prompts = {name: item_set(request, **prompt) for name, prompt in asked.items()}
    return {**prompts, UNTRAINED: prompts["vector"]} if beside.untrained else prompts


def item_set(request: PropensityRequest, **prompt: Any) -> ItemSet:
    """The questions as they are asked, behind a ``prompt`` as ``evaluation.propensity.prepare`` takes it."""
    from caa_registry.evaluation.propensity import prepare

    model, paper = request.target.model, request.settings.paper
    return prepare(request.pairs, request.template, model, paper=paper, **prompt)


def _examples(own: Sequence[Pair], count: int) -> list[Example]:
    import numpy as np

    from caa_registry.models.rendering.prompts import Example, earlier

    if not 0 < count <= len(own):
        raise UsageError(f"{count} examples cannot be drawn from {len(own)} pairs", "Ask for fewer.")
    drawn = np.random.default_rng(_EXAMPLES_SEED).permutation(len(own))[:count]
    return [example for i in drawn for example in (*earlier(own[i]), Example(own[i].prompt, own[i].positive))]


def _measure(
    request: PropensityRequest,
    prompts: Mapping[str, ItemSet],
    unfinished: Unfinished,
    progress: Progress,
    reading: Progress,
) -> None:
    from caa_registry.evaluation.nulls.directions import relative_lengths
    from caa_registry.evaluation.sweep import sweep
    from caa_registry.evaluation.unfinished import part_as_json
    from caa_registry.models.untrained import untrained

    target, beside, nulls = request.target, request.beside, _rounds(request)
    own = {layer: target.vectors[layer].values[None] for layer in target.layers}
    # Made first, so that what does not fit into memory is refused before anything is measured.
    network = untrained(target.model, seed_of(target.version, UNTRAINED, None)) if beside.untrained else target.model
    steps = len(target.multipliers)
    # Work is of one vector at one multiplier.
    counts = [steps] * len(prompts) + [2 * (each.last - each.first) for each in nulls]

    def run(place: int, condition: str, items: ItemSet, vectors: Directions, multipliers: Sequence[float]) -> None:
        sweep(
            network if condition == UNTRAINED else target.model,
            vectors,
            items,
            multipliers,
            request.settings.positions,
            part_of(progress, place, counts),
            kept=_parts(unfinished, condition),
            keep=lambda part: unfinished.add(condition, part_as_json(part)),
            shard=request.division.shard,
            doses=condition == "vector",
        )

    for place, (condition, items) in enumerate(prompts.items()):
        if condition == UNTRAINED:
            made = untrained_vector(target, request.own, network, reading)
            keep_auc(unfinished, made)
            run(place, condition, items, made.vectors, target.multipliers)
        else:
            run(place, condition, items, own, target.multipliers)
    if not nulls:
        return
    drawn = directions(target, request.own, beside.controls, beside.seeds, request.settings.seed, reading)
    for name, vectors in drawn.items():
        if not unfinished.kept(_lengths(name)):
            lengths = relative_lengths(vectors, target.vectors)
            unfinished.add(_lengths(name), {"lengths": [repr(length) for length in lengths]})
    places = {each: place for place, each in enumerate(nulls, start=len(prompts))}
    # Whether there are enough draws cannot be told from a part of the questions.
    alone = request.division.shard.of == 1
    for name, vectors in drawn.items():
        left = [each for each in nulls if each.null == name]
        while left:
            each = left.pop(0)
            part = {layer: values[each.first : each.last] for layer, values in vectors.items()}
            run(places[each], each.name, prompts["vector"], part, request.extremes)
            if alone and _so_far(request, prompts, unfinished, name)[1] is None:
                break


def _rounds(request: PropensityRequest) -> list[Round]:
    return [each for name in request.beside.controls for each in rounds(name, request.beside.seeds)]


def _lengths(null: str) -> str:
    """What the lengths of a null's vectors are kept under."""
    return f"{null} lengths"


def _so_far(
    request: PropensityRequest, prompts: Mapping[str, ItemSet], unfinished: Unfinished, name: str
) -> tuple[Null | None, Round | None]:
    """What is measured of a null, as far as it is needed, and the round that is needed next. How far is the same
    whether later rounds were measured or not."""
    from caa_registry.evaluation.nulls.comparison import enough, null_of
    from caa_registry.evaluation.sweep import joined

    target, items = request.target, prompts["vector"]
    observed = _observed(request, prompts, unfinished, "vector")
    null: Null | None = None
    for each in rounds(name, request.beside.seeds):
        if null is not None and enough(observed, target.multipliers, null):
            break
        if _lacking(request, items, unfinished, each.name, request.extremes):
            return null, each
        parts = _parts(unfinished, each.name)
        log_p = joined(target.model, items, target.layers, request.extremes, parts, each.last - each.first)
        lengths = tuple(float(length) for length in unfinished.kept(_lengths(name))[0]["lengths"])
        part = null_of(log_p, observed, request.extremes, lengths)
        null = part if null is None else null.with_more(part)
    return null, None


def _parts(unfinished: Unfinished, condition: str) -> list[Part]:
    from caa_registry.evaluation.unfinished import part_of_json

    return [part_of_json(kept) for kept in unfinished.kept(condition)]


def _missing(request: PropensityRequest, prompts: Mapping[str, ItemSet], unfinished: Unfinished) -> set[int]:
    """The questions of which something is not measured."""
    left: set[int] = set()
    for name, items in prompts.items():
        left |= _lacking(request, items, unfinished, name, request.target.multipliers)
    for name in request.beside.controls if not left else ():
        following = _so_far(request, prompts, unfinished, name)[1]
        if following is not None:
            left |= _lacking(request, prompts["vector"], unfinished, following.name, request.extremes)
    return left


def _lacking(
    request: PropensityRequest, items: ItemSet, unfinished: Unfinished, condition: str, multipliers: Sequence[float]
) -> set[int]:
    """The questions of which something is not measured under one condition."""
    from caa_registry.evaluation.shards import missing, places

    wanted = places(range(items.open), request.target.layers, multipliers)
    return {question for _, question in missing(wanted, _parts(unfinished, condition))}


def _measured(request: PropensityRequest, prompts: Mapping[str, ItemSet], unfinished: Unfinished) -> Measurements:
    from caa_registry.evaluation.measurements import Measurements

    target = request.target
    observed = {condition: _observed(request, prompts, unfinished, condition) for condition in prompts}
    found = {name: _so_far(request, prompts, unfinished, name)[0] for name in request.beside.controls}
    nulls = {name: null for name, null in found.items() if null is not None}
    return Measurements(prompts["vector"].metric, target.layers, target.multipliers, observed, nulls)


def _observed(
    request: PropensityRequest, prompts: Mapping[str, ItemSet], unfinished: Unfinished, condition: str
) -> Observed:
    from caa_registry.evaluation.measurements import Observed
    from caa_registry.evaluation.propensity import tokens_of
    from caa_registry.evaluation.sweep import joined, joined_doses
    from caa_registry.pairs.repeats.clusters import clusters_of

    target, items, parts = request.target, prompts[condition], _parts(unfinished, condition)
    log_p = joined(target.model, items, target.layers, target.multipliers, parts)
    kl, answers_first = None, None
    if condition == "vector":
        kl, answers_first = joined_doses(items, target.layers, target.multipliers, parts)
    rows, letters = zip(*((item.row, item.letter or "") for item in items.items), strict=True)
    clusters = clusters_of([request.pairs[row] for row in rows])
    asked = tuple(request.rows[row] for row in rows)
    return Observed(asked, letters, log_p[0], clusters, kl, answers_first, tokens_of(items))


def _identity(request: PropensityRequest, prompts: Mapping[str, ItemSet]) -> dict[str, Any]:
    """All that the numbers depend on. Controls by what they are made from: their last digits may differ."""
    from caa_registry.evaluation.propensity import answers_of

    return {
        # What was measured before the plan is not taken for it.
        **({"plan": request.plan.digest} if request.plan else {}),
        **way_of_computing(request.target.model),
        "positions": request.settings.positions,
        "multipliers": [repr(multiplier) for multiplier in request.target.multipliers],
        "vector": request.target.version.digest,
        "layers": list(request.target.layers),
        "controls": list(request.beside.controls),
        "draws": request.beside.seeds,
        "seed": request.settings.seed,
        "measurer": _MEASURER,
        "answers": {
            name: digest_object("answers", {"answers": [list(asdict(answer).values()) for answer in answers_of(items)]})
            for name, items in prompts.items()
        },
    }
