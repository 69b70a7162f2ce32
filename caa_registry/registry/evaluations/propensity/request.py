"""An evaluation by propensity as it was asked for, understood: the questions, and how they are put."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from caa_registry.errors import UsageError
from caa_registry.pairs.halves import half_of
from caa_registry.pairs.orders import reversed_choices
from caa_registry.pairs.record import Pair
from caa_registry.registry.evaluations.propensity.nulls import UNTRAINED, check_untrained, names_of
from caa_registry.registry.evaluations.sharing import Division
from caa_registry.registry.evaluations.target import OwnPairs, Questions, Target
from caa_registry.registry.records import Plan, PropensitySettings
from caa_registry.registry.records.evaluation_settings import Beside

if TYPE_CHECKING:
    from caa_registry.evaluation.propensity import ItemSet
    from caa_registry.models.rendering.prompts import Example, Template

_EXAMPLES_SEED = 20240805


@dataclass(frozen=True, eq=False)
class PropensityRequest:
    """What is to be measured, understood and loaded. ``own``: the pairs that the vector was made from. ``pairs``: the
    questions that are asked, all or a half, perhaps in both orders of their choices; ``rows``: of each its place among
    them as they are written. ``beside``: what is measured beside the vector. ``division``: what this call does of
    it. ``plan``: the one that it follows."""

    target: Target
    questions: Questions
    own: OwnPairs
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
    target: Target, questions: Questions, own: OwnPairs, asked: PropensitySettings, division: Division
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
        target.model.template(asked.template or target.version.template),
        pairs,
        rows,
        Beside(
            nulls,
            asked.draws if nulls else 0,
            asked.system_positive,
            asked.system_negative,
            asked.few_shot,
            asked.untrained,
            asked.seed if nulls else None,
        ),
        division,
    )


def conditions(request: PropensityRequest) -> dict[str, ItemSet]:
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
