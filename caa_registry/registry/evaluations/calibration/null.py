"""What vectors that mean nothing do where a calibration looked: the null of the effect that it reports."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from caa_registry.digests import digest_object
from caa_registry.progress import Progress, part_of, silent
from caa_registry.registry.evaluations.propensity.nulls import directions, names_of, rounds
from caa_registry.registry.evaluations.propensity.request import PropensityRequest, item_set
from caa_registry.registry.evaluations.target import OwnPairs, Target
from caa_registry.registry.records import PropensitySettings
from caa_registry.registry.vectors.computation import way_of_computing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from caa_registry.engine.sweeps import Parts
    from caa_registry.evaluation.calibration import Calibration, Choice, Halves
    from caa_registry.evaluation.inference.p_values import NullTest
    from caa_registry.evaluation.nulls.directions import Directions
    from caa_registry.evaluation.propensity import ItemSet


@dataclass(frozen=True, eq=False)
class NullRequest:
    """``propensity``: how the questions are asked; ``divided``: their halves; ``unsteered``: of each its propensity."""

    target: Target
    own: OwnPairs
    propensity: PropensityRequest
    calibration: Calibration
    divided: Halves
    unsteered: NDArray[np.float64]


def null_of_effect(request: NullRequest, choice: Choice, progress: Progress) -> NullTest:
    """How rare an effect as large as that of ``choice`` on half B is among vectors that mean nothing.

    They are measured on half B where a choice was possible: at every layer, at both ends of the multipliers that KL
    allows the vector there. Of each the largest effect counts, since the vector's cell was chosen too.
    """
    import numpy as np

    from caa_registry import settings
    from caa_registry.evaluation.inference.p_values import ENOUGH, against_null
    from caa_registry.evaluation.nulls.names import DRAWS
    from caa_registry.evaluation.unfinished import Unfinished

    (name,) = names_of(request.target, PropensitySettings())
    half = list(request.divided.b)
    items = item_set(request.propensity)
    items = replace(items, items=tuple(items.items[i] for i in half))
    drawn = directions(request.target, request.own, (name,), DRAWS, None, silent)[name]
    unfinished = Unfinished(settings.unfinished(), _identity(request, items, name))
    parts = rounds(name, DRAWS)
    largest = np.empty(0)
    for place, each in enumerate(parts):
        ends = _ends(request, {layer: values[each.first : each.last] for layer, values in drawn.items()})
        counts = [part.last - part.first for part in parts]
        more = _largest(request, items, ends, unfinished, each.name, part_of(progress, place, counts))
        largest = np.concatenate([largest, more])
        if (largest >= choice.effect_b.value).sum() >= ENOUGH:
            break
    unfinished.delete()
    return against_null(max(choice.effect_b.value, 0.0), np.maximum(largest, 0.0))


def _ends(request: NullRequest, drawn: Directions) -> Directions:
    """At each layer where steering is allowed at all, every vector at both ends, twice at one where there is one."""
    import numpy as np

    ends: Directions = {}
    for each in request.calibration.ranges:
        allowed = [multiplier for multiplier in (each.low, each.high) if multiplier != 0]
        if allowed:
            ends[each.layer] = np.concatenate([drawn[each.layer] * np.float32(m) for m in (allowed * 2)[:2]])
    return ends


def _largest(
    request: NullRequest, items: ItemSet, ends: Directions, unfinished: Any, name: str, progress: Progress
) -> NDArray[np.float64]:
    """Of each vector the largest effect at any layer and end."""
    import numpy as np

    from caa_registry.engine.sweeps import Arm
    from caa_registry.evaluation.propensity import propensity_of
    from caa_registry.evaluation.sweep import joined, sweep
    from caa_registry.evaluation.unfinished import part_as_json, part_of_json

    model, positions = request.target.model, request.propensity.settings.positions
    kept = [part_of_json(part) for part in unfinished.kept(name)]

    def keep(parts: Parts) -> None:
        (part,) = parts
        unfinished.add(name, part_as_json(part))

    sweep(model, [Arm(ends, [1.0])], items, positions, progress, kept=[kept], keep=keep)
    measured = [part_of_json(part) for part in unfinished.kept(name)]
    vectors = len(next(iter(ends.values())))
    log_p = joined(model, items, tuple(ends), [1.0], measured, vectors)[:, :, 0]
    half = list(request.divided.b)
    moved = propensity_of(log_p[..., 0], log_p[..., 1]) - request.unsteered[half]
    sign = 1.0 if request.calibration.direction == "more" else -1.0
    effects = sign * (moved @ request.divided.contrasts(half).weights)
    return np.asarray(effects.reshape(2, vectors // 2, -1).max(axis=(0, 2)))


def _identity(request: NullRequest, items: ItemSet, name: str) -> dict[str, Any]:
    from dataclasses import asdict

    from caa_registry.evaluation.propensity import answers_of

    return {
        **way_of_computing(request.target.model),
        "calibration": name,
        "vector": request.target.version.digest,
        "positions": request.propensity.settings.positions,
        "ranges": [[each.layer, repr(each.low), repr(each.high)] for each in request.calibration.ranges],
        "answers": digest_object("answers", {"answers": [list(asdict(a).values()) for a in answers_of(items)]}),
    }
