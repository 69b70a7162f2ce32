"""What evaluations say of vectors: the best score of each, leaderboards, and paired comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from caa_registry.errors import NotFoundError, UsageError
from caa_registry.registry.records import Evaluation, Score, VectorVersion

if TYPE_CHECKING:
    from caa_registry.evaluation.comparison import Compared
    from caa_registry.registry.registry import Registry

Statistic = Literal["steerability", "effect"]
STATISTICS: tuple[Statistic, ...] = ("steerability", "effect")


@dataclass(frozen=True)
class Evidence:
    """How well a vector works at its best layer, and which evaluation says so.

    ``null``: the middle 95 % of random directions of its length at that layer, where they were measured.
    """

    vector: VectorVersion
    evaluation: Evaluation
    score: Score
    null: Score | None

    @property
    def outside(self) -> bool | None:
        """Whether the whole interval lies outside the null interval; ``None`` where there is none."""
        if self.null is None:
            return None
        low, high, a, b = (
            cast("float", x) for x in (self.score.ci_low, self.score.ci_high, self.null.ci_low, self.null.ci_high)
        )
        return low > b or high < a


def best(registry: Registry, vectors: Sequence[VectorVersion], metric: Statistic) -> dict[str, Evidence]:
    """By digest of each of ``vectors`` its evidence: of the evaluation that ``speaking_for`` chooses, the layer where
    ``metric`` is largest. A layer that is chosen on the items it is shown for looks better than it is."""
    _check(metric)
    by_vector: dict[str, list[Evaluation]] = {}
    for evaluation in registry.evaluations.ls(conditions=("vector", "random")):
        by_vector.setdefault(evaluation.vector, []).append(evaluation)
    found: dict[str, Evidence] = {}
    for vector in vectors:
        speaking = speaking_for(vector, by_vector.get(vector.reference, []))
        if speaking is not None:
            score = max(speaking.of(metric), key=lambda score: score.value)
            null = next((n for n in speaking.of(metric, "random") if n.layer == score.layer), None)
            found[vector.digest] = Evidence(vector, speaking, score, null)
    return found


def speaking_for(vector: VectorVersion, evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """The evaluation that says most of a vector: on its own behavior, at two multipliers or more, without a leaked
    question; with controls rather than without, of most layers, the newest of equals."""
    fitting = [e for e in evaluations if e.behavior == vector.behavior and not e.leaked and e.of("steerability")]
    return max(fitting, key=lambda e: (bool(_controls(e)), len(e.parameters["layers"]), e.id), default=None)


def _controls(evaluation: Evaluation) -> Sequence[str]:
    controls: Sequence[str] = evaluation.parameters.get("beside", {}).get("controls", ())
    return controls


def leaderboard(
    registry: Registry, *, behavior: str | None = None, model: str | None = None, metric: Statistic = "steerability"
) -> list[Evidence]:
    """The evidence of every version of every vector, those for one behavior and model together, best first."""
    vectors = registry.vectors.ls(behavior=behavior, model=model, all_versions=True)
    found = best(registry, vectors, metric).values()
    return sorted(found, key=lambda e: (e.vector.behavior, e.vector.model.name, -e.score.value))


def compare(
    registry: Registry, one: str, other: str, *, layer: int | None = None, other_layer: int | None = None
) -> tuple[Evaluation, Evaluation, list[Compared]]:
    """Steerability and effect of two evaluations on the items that both have, paired (``evaluation.comparison``).

    ``one`` and ``other`` are numbers of evaluations, or vectors, whose newest evaluation counts. Without ``layer``
    every layer that both have is compared with itself; ``other_layer`` defaults to ``layer``. Raises ``UsageError``
    where they have no item, layer, or two multipliers in common.
    """
    from caa_registry.evaluation.comparison import compare as compare_items

    if other_layer is not None and layer is None:
        raise UsageError("the other layer has no counterpart", "Give --layer too.")
    evaluations = _evaluation(registry, one), _evaluation(registry, other)
    measured = [registry.evaluations.measurements(evaluation.id) for evaluation in evaluations]
    places: list[dict[str, int]] = []
    for evaluation, found in zip(evaluations, measured, strict=True):
        items = registry.evaluations.items(evaluation)
        # Of repeated pairs the first.
        places.append({items[row].digest: i for i, row in reversed(list(enumerate(found.vector.rows)))})
    common = [(place, places[1][digest]) for digest, place in places[0].items() if digest in places[1]]
    layers = None if layer is None else [(layer, layer if other_layer is None else other_layer)]
    return *evaluations, compare_items(measured[0], measured[1], common, layers)


def _check(metric: str) -> None:
    if metric not in STATISTICS:
        raise UsageError(f"there is no statistic {metric!r}", f"Choose one of {', '.join(STATISTICS)}.")


def _evaluation(registry: Registry, reference: str) -> Evaluation:
    if reference.isdecimal():
        return registry.evaluations.get(int(reference))
    found = registry.evaluations.ls(reference)
    if not found:
        raise NotFoundError(f"{reference} has no evaluation", f"Make one: caa eval propensity {reference}")
    return registry.evaluations.get(found[-1].id)
