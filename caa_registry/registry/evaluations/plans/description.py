"""What a plan says, in words."""

from __future__ import annotations

from caa_registry.digests import short
from caa_registry.registry.records import Plan
from caa_registry.wording import ranges

_FIXED = {"answers": "the answers have half of the mass, or texts can move", "leaks": "no question is leaked"}


def described(plan: Plan) -> list[tuple[str, str]]:
    """Everything that ``plan`` freezes, as names and what stands for them."""
    terms, asked = plan.terms, plan.terms.settings
    measured = f"{terms.vector.name} ({short(terms.vector.digest)})" if terms.vector else _recipe(plan)
    controls = ", ".join(asked.controls)
    seed = "seed of what the vector comes from" if asked.seed is None else f"seed {asked.seed}"
    side = f"above {asked.beyond:g}" if asked.direction == "more" else f"below {0.0 - asked.beyond:g}"
    levels = {"interval": f"the interval lies {side}", "null": f"p is at most {asked.level:g}"}
    return [
        ("vector", measured),
        ("model", short(terms.model)),
        ("questions", f"{terms.dataset.name} ({short(terms.dataset.digest)}), {terms.split}, {asked.rows} rows"),
        ("layers", ranges(terms.layers)),
        ("multipliers", ", ".join(f"{multiplier:g}" for multiplier in terms.multipliers)),
        ("positions, template, orders", f"{asked.positions}, {asked.template}, {asked.orders}"),
        ("controls", f"{controls}, {asked.draws} draws, {seed}" if controls else "none"),
        ("statistic", f"{asked.statistic}, {asked.direction}"),
        *((f"condition {name}", levels.get(name, _FIXED.get(name, ""))) for name in asked.conditions),
        ("stored", f"{plan.created_at.isoformat(timespec='seconds')} by {plan.actor}"),
    ]


def _recipe(plan: Plan) -> str:
    recipe = plan.terms.recipe
    assert recipe is not None
    return (
        f"{recipe.name}, to be computed from {recipe.dataset.name} ({short(recipe.dataset.digest)}), {recipe.split}, "
        f"by {recipe.method}, read at {recipe.read}"
    )
