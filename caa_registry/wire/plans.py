"""Plans as JSON."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caa_registry.registry.records import Plan, PlannedOutcome, Standing


def plan_json(plan: Plan) -> dict[str, Any]:
    """A plan, all that it says, and the numbers of its runs."""
    return {
        "plan": plan.name,
        "digest": plan.digest,
        "existing": plan.existing,
        "actor": plan.actor,
        "created_at": plan.created_at.isoformat(),
        "evaluations": list(plan.evaluations),
        "terms": plan.terms.to_json(),
    }


def outcome_json(outcome: PlannedOutcome) -> dict[str, Any]:
    """What a run of a plan came to."""
    return {**dataclasses.asdict(outcome), "met": outcome.met}


def standing_json(standing: Standing) -> dict[str, Any]:
    """What an evaluation counts as, and the plan that it follows."""
    plan = {"name": standing.plan, "digest": standing.digest, "run": standing.run, "runs": standing.runs}
    return {"standing": standing.word, "standing_reason": standing.reason, "plan": plan if standing.digest else None}
