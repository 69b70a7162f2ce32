"""The part of a report that tells what was planned before the evaluation that is shown, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator

from caa_registry.digests import short
from caa_registry.registry.evaluations.plans.description import described
from caa_registry.registry.records import Evaluation, Plan, PlannedOutcome
from caa_registry.registry.reports.text import table


def plan_section(plan: Plan, outcome: PlannedOutcome, evaluation: Evaluation) -> Iterator[str]:
    """What ``plan`` froze, and its conditions in the ``outcome`` of ``evaluation``, the run that is shown."""
    yield f"## The plan: {plan.name}"
    yield ""
    digest = f"`{short(plan.digest)}`, in the audit since it was stored"
    yield from table(["", "planned"], [("digest", digest), *described(plan)])
    held = "All conditions hold" if outcome.met else "**Not all conditions hold**"
    largest = ", where the statistic is largest of those planned" if len(outcome.layers) > 1 else ""
    yield f"{held} at layer {outcome.layer}{largest}. {evaluation.standing.sentence}"
    yield ""
    rows = [(each.name, "yes" if each.met else "**no**", each.figure) for each in outcome.conditions]
    yield from table(["condition", "holds", "figure"], rows)
