"""What came of a plan: its statistic at the planned layers, and whether its conditions are met."""

from __future__ import annotations

from caa_registry.registry.evaluations.store import measurements
from caa_registry.registry.records import (
    Evaluation,
    Plan,
    PlannedCondition,
    PlannedLayer,
    PlannedOutcome,
    RecordedPropensity,
)
from caa_registry.registry.workspace import Workspace
from caa_registry.wording import subject


def outcome(workspace: Workspace, plan: Plan, evaluation: Evaluation) -> PlannedOutcome:
    """What ``evaluation``, a run of ``plan``, comes to.

    Where several layers are planned, the conditions are about the one where the statistic is largest in the planned
    direction, and p is that of the largest of all.
    """
    asked = plan.terms.settings
    recorded = evaluation.settings
    # As they were measured: where the pairs are not known, other directions take the place of those asked for.
    measured = recorded.beside.controls if isinstance(recorded, RecordedPropensity) else ()
    null = measured[0] if measured else ""
    p_metric = f"p_{asked.statistic}" if len(plan.terms.layers) == 1 else f"p_chosen_{asked.statistic}"
    layers = []
    for score in evaluation.of(asked.statistic):
        p_value = evaluation.at(score.layer, p_metric, null)
        power = evaluation.detectable(score.layer, asked.statistic)
        layers.append(
            PlannedLayer(
                score.layer,
                score.value,
                score.ci_low,
                score.ci_high,
                score.n,
                p_value.value if p_value else None,
                power.value if power else None,
                power.n if power else None,
            )
        )
    sign = 1.0 if asked.direction == "more" else -1.0
    best = max(layers, key=lambda each: sign * each.value)
    checks = {
        "interval": lambda: _interval(best, sign, asked.beyond),
        "null": lambda: _null(best, sign, asked.level),
        "answers": lambda: _answers(workspace, evaluation, best.layer),
        "leaks": lambda: _leaks(evaluation),
    }
    conditions = tuple(checks[name]() for name in asked.conditions)
    return PlannedOutcome(asked.statistic, tuple(layers), best.layer, conditions)


def _interval(best: PlannedLayer, sign: float, beyond: float) -> PlannedCondition:
    if best.low is None or best.high is None:
        return PlannedCondition("interval", False, "too few questions for an interval")
    near = best.low if sign > 0 else -best.high
    side = f"{'above' if sign > 0 else 'below'} {sign * beyond + 0.0:g}"
    figure = f"the interval is {best.low:z.3f} .. {best.high:z.3f}, to lie {side}"
    return PlannedCondition("interval", near > beyond, figure)


def _null(best: PlannedLayer, sign: float, level: float) -> PlannedCondition:
    if best.p_value is None:
        return PlannedCondition("null", False, "no vectors that mean nothing were measured")
    met = best.p_value <= level and sign * best.value > 0
    return PlannedCondition("null", met, f"p = {best.p_value:.3f}, to be at most {level:g}")


def _answers(workspace: Workspace, evaluation: Evaluation, layer: int) -> PlannedCondition:
    from caa_registry.evaluation.propensity import saturated
    from caa_registry.evaluation.verdict import LEAST_MASS, MOST_SATURATED

    masses = [score.value for score in evaluation.of("mass") if score.layer == layer]
    if masses:
        figure = f"the answers have {min(masses):.3f} of the mass at least, to be {LEAST_MASS:g} or more"
        return PlannedCondition("answers", min(masses) >= LEAST_MASS, figure)
    measured = measurements(workspace, evaluation)
    extremes = measured.vector.propensity[measured.layers.index(layer)][[0, -1]]
    share = saturated(extremes)
    figure = f"{share:.3f} of the texts are so sure that nothing moves them, to be {MOST_SATURATED:g} at most"
    return PlannedCondition("answers", share <= MOST_SATURATED, figure)


def _leaks(evaluation: Evaluation) -> PlannedCondition:
    figure = f"{subject(evaluation.leaked, 'question')} among the vector's own pairs"
    if evaluation.leaks_unknown:
        figure += " that are known; the others are not"
    return PlannedCondition("leaks", evaluation.leaked == 0 and not evaluation.leaks_unknown, figure)
