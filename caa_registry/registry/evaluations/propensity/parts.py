"""What has been measured of an evaluation by propensity so far, what is missing, and what the parts make together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from caa_registry.digests import digest_object
from caa_registry.registry.evaluations.propensity.nulls import Round, rounds
from caa_registry.registry.evaluations.propensity.request import PropensityRequest
from caa_registry.registry.vectors.computation import way_of_computing

if TYPE_CHECKING:
    from caa_registry.engine.sweeps import Part
    from caa_registry.evaluation.measurements import Measurements, Null, Observed
    from caa_registry.evaluation.propensity import ItemSet
    from caa_registry.evaluation.unfinished import Unfinished

# Raised with every change that measures the same otherwise: of nulls, or of how questions are run.
_MEASURER = 4


def null_rounds(request: PropensityRequest) -> list[Round]:
    return [each for name in request.beside.controls for each in rounds(name, request.beside.seeds)]


def lengths_key(null: str) -> str:
    """What the lengths of a null's vectors are kept under."""
    return f"{null} lengths"


def so_far(
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
        parts = parts_of(unfinished, each.name)
        log_p = joined(target.model, items, target.layers, request.extremes, parts, each.last - each.first)
        lengths = tuple(float(length) for length in unfinished.kept(lengths_key(name))[0]["lengths"])
        part = null_of(log_p, observed, request.extremes, lengths)
        null = part if null is None else null.with_more(part)
    return null, None


def parts_of(unfinished: Unfinished, condition: str) -> list[Part]:
    from caa_registry.evaluation.unfinished import part_of_json

    return [part_of_json(kept) for kept in unfinished.kept(condition)]


def missing_questions(request: PropensityRequest, prompts: Mapping[str, ItemSet], unfinished: Unfinished) -> set[int]:
    """The questions of which something is not measured."""
    left: set[int] = set()
    for name, items in prompts.items():
        left |= _lacking(request, items, unfinished, name, request.target.multipliers)
    for name in request.beside.controls if not left else ():
        following = so_far(request, prompts, unfinished, name)[1]
        if following is not None:
            left |= _lacking(request, prompts["vector"], unfinished, following.name, request.extremes)
    return left


def _lacking(
    request: PropensityRequest, items: ItemSet, unfinished: Unfinished, condition: str, multipliers: Sequence[float]
) -> set[int]:
    """The questions of which something is not measured under one condition."""
    from caa_registry.evaluation.shards import missing, places

    wanted = places(range(items.open), request.target.layers, multipliers)
    return {question for _, question in missing(wanted, parts_of(unfinished, condition))}


def measurements_of(request: PropensityRequest, prompts: Mapping[str, ItemSet], unfinished: Unfinished) -> Measurements:
    from caa_registry.evaluation.measurements import Measurements

    target = request.target
    observed = {condition: _observed(request, prompts, unfinished, condition) for condition in prompts}
    found = {name: so_far(request, prompts, unfinished, name)[0] for name in request.beside.controls}
    nulls = {name: null for name, null in found.items() if null is not None}
    return Measurements(prompts["vector"].metric, target.layers, target.multipliers, observed, nulls)


def _observed(
    request: PropensityRequest, prompts: Mapping[str, ItemSet], unfinished: Unfinished, condition: str
) -> Observed:
    from caa_registry.evaluation.measurements import Observed
    from caa_registry.evaluation.propensity import tokens_of
    from caa_registry.evaluation.sweep import joined, joined_doses
    from caa_registry.pairs.repeats.clusters import clusters_of

    target, items, parts = request.target, prompts[condition], parts_of(unfinished, condition)
    log_p = joined(target.model, items, target.layers, target.multipliers, parts)
    kl, answers_first = None, None
    if condition == "vector":
        kl, answers_first = joined_doses(items, target.layers, target.multipliers, parts)
    rows, letters = zip(*((item.row, item.letter or "") for item in items.items), strict=True)
    clusters = clusters_of([request.pairs[row] for row in rows])
    asked = tuple(request.rows[row] for row in rows)
    return Observed(asked, letters, log_p[0], clusters, kl, answers_first, tokens_of(items))


def identity(request: PropensityRequest, prompts: Mapping[str, ItemSet]) -> dict[str, Any]:
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
