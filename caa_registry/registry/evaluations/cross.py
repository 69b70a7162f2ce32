"""What vectors do beside what they are for: scores by category, and effects on other behaviors' questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from caa_registry.errors import UsageError
from caa_registry.progress import Progress, part_of, silent
from caa_registry.registry.evaluations.reuse import earlier
from caa_registry.registry.records import Evaluation, VectorVersion
from caa_registry.registry.reports.pictures import chosen_layer

if TYPE_CHECKING:
    from caa_registry.evaluation.categories import CategoryScores
    from caa_registry.evaluation.cross_behavior import CrossBehavior
    from caa_registry.models.model import Model
    from caa_registry.registry.registry import Registry


def categories(registry: Registry, evaluation: Evaluation, layer: int | None = None) -> dict[float, CategoryScores]:
    """By multiplier the scores of an evaluation at ``layer`` (default: the most steerable) by its items' category.

    Raises ``InputError`` where items have none.
    """
    from caa_registry.evaluation.categories import by_category

    measured = registry.evaluations.measurements(evaluation.id)
    place = measured.layers.index(chosen_layer(evaluation, layer))
    items = registry.evaluations.items(evaluation)
    named = [str(items[row].metadata.get("category") or "") or None for row in measured.vector.rows]
    propensity = measured.vector.propensity[place]
    return {m: by_category(propensity[i], named) for i, m in enumerate(measured.multipliers)}


def cross(
    registry: Registry,
    vectors: Sequence[str | VectorVersion],
    *,
    model: str | Path | Model,
    layer: int,
    multiplier: float = 1.0,
    split: str = "test",
    progress: Progress = silent,
) -> tuple[CrossBehavior, list[Evaluation]]:
    """The effect of every vector, from ``-multiplier`` to ``multiplier`` at ``layer``, on the questions of every
    vector's dataset; each an evaluation that is stored, or was. Raises ``UsageError`` for fewer than two behaviors, or
    one twice."""
    from caa_registry.evaluation.cross_behavior import cross_behavior
    from caa_registry.evaluation.statistics import effects

    versions = [registry.vectors.get(vector) for vector in vectors]
    behaviors = [version.behavior for version in versions]
    if len(set(behaviors)) < len(behaviors) or len(behaviors) < 2:
        raise UsageError(
            f"vectors of different behaviors are compared, at least two; these are of {', '.join(behaviors)}",
            "Name one vector of each behavior.",
        )
    if multiplier <= 0:
        raise UsageError(f"multiplier {multiplier} is not above 0", "Effects are from minus to plus that.")
    loaded = model if not isinstance(model, str | Path) else registry.models.load(model)
    made: list[Evaluation] = []
    found = {}
    count, steps = len(versions) ** 2, [-float(multiplier), float(multiplier)]
    for version in versions:
        for asked in versions:
            evaluation = earlier(
                registry,
                version,
                loaded,
                "propensity",
                {"dataset": asked.dataset, "split": split, "positions": "after_prompt"},
                {"paper": False},
                [layer],
                steps,
            ) or registry.evaluations.propensity(
                version,
                dataset=asked.dataset,
                split=split,
                model=loaded,
                layers=[layer],
                multipliers=steps,
                controls=(),
                progress=part_of(progress, len(made), count),
            )
            made.append(evaluation)
            found[version.reference, asked.behavior] = effects(registry.evaluations.measurements(evaluation.id).vector)[
                0
            ]
    return cross_behavior(found, {version.reference: version.behavior for version in versions}), made
