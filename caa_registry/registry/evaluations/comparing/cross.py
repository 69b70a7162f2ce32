"""What vectors do besides what they are for: scores by category, and effects on other behaviors' questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caa_registry.errors import UsageError
from caa_registry.progress import Progress, part_of, silent
from caa_registry.registry.evaluations.layers import shown_layer
from caa_registry.registry.evaluations.propensity.measurement import measure
from caa_registry.registry.evaluations.propensity.request import propensity_request
from caa_registry.registry.evaluations.reuse import earlier
from caa_registry.registry.evaluations.sharing import Division
from caa_registry.registry.evaluations.store import measurements
from caa_registry.registry.evaluations.target import OwnPairs, Questions, Target
from caa_registry.registry.records import Evaluation, PropensitySettings, VectorVersion
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.evaluation.categories import CategoryScores
    from caa_registry.evaluation.cross_behavior import CrossBehavior
    from caa_registry.pairs.record import PairItem


@dataclass(frozen=True, eq=False)
class Row:
    """One vector of the matrix: ``own``, the pairs that it was made from, and ``questions``, those of its behavior."""

    target: Target
    own: OwnPairs
    questions: Questions


def categories(
    workspace: Workspace, evaluation: Evaluation, items: Sequence[PairItem], layer: int | None
) -> dict[float, CategoryScores]:
    """By multiplier the scores of an evaluation at ``layer`` (default: ``shown_layer``) by the category of its
    ``items``, which are all that it asked. Raises ``InputError`` where items have none.
    """
    from caa_registry.evaluation.categories import by_category

    measured = measurements(workspace, evaluation)
    place = measured.layers.index(shown_layer(evaluation, layer))
    named = [str(items[row].metadata.get("category") or "") or None for row in measured.vector.rows]
    propensity = measured.vector.propensity[place]
    return {m: by_category(propensity[i], named) for i, m in enumerate(measured.multipliers)}


def check_crossed(versions: Sequence[VectorVersion], multiplier: float) -> None:
    """Raise ``UsageError`` for fewer than two behaviors or one twice, or a multiplier that is not above 0."""
    behaviors = [version.behavior for version in versions]
    if len(set(behaviors)) < len(behaviors) or len(behaviors) < 2:
        raise UsageError(
            f"at least two vectors of different behaviors can be compared; these are of {', '.join(behaviors)}",
            "Name one vector of each behavior.",
        )
    if multiplier <= 0:
        raise UsageError(f"multiplier {multiplier} is not above 0", "Effects are measured from minus to plus that.")


def cross(workspace: Workspace, rows: Sequence[Row], progress: Progress) -> tuple[CrossBehavior, list[Evaluation]]:
    """The effect of every row's vector, from the lowest to the highest multiplier, on the questions of every row; each
    an evaluation that is stored now or was stored earlier."""
    from caa_registry.evaluation.cross_behavior import cross_behavior
    from caa_registry.evaluation.inference.intervals import bounded
    from caa_registry.evaluation.letters import contrasts
    from caa_registry.evaluation.statistics import effects

    asked = PropensitySettings(controls=())
    evaluations: list[Evaluation] = []
    cells = {}
    equal = [1] * len(rows) ** 2
    for row in rows:
        for column in rows:
            needed = propensity_request(row.target, column.questions, row.own, asked, Division.asked(None))
            evaluation = earlier(workspace, needed) or measure(
                workspace,
                needed,
                part_of(progress, len(evaluations), equal),
                silent,
            )
            evaluations.append(evaluation)
            observed = measurements(workspace, evaluation).vector
            (effect,) = contrasts(observed).behavior(effects(observed)[:1].T)
            cells[row.target.version.reference, column.target.version.behavior] = bounded(effect, -1.0, 1.0)
    behaviors = {row.target.version.reference: row.target.version.behavior for row in rows}
    return cross_behavior(cells, behaviors), evaluations
