"""What pictures and reports show, looked up and loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from caa_registry.errors import UsageError
from caa_registry.pairs.record import Pair
from caa_registry.registry.datasets.datasets import Datasets
from caa_registry.registry.evaluations import store
from caa_registry.registry.evaluations.calibration.outcomes import outcomes
from caa_registry.registry.evaluations.evaluations import Evaluations
from caa_registry.registry.evaluations.layers import shown_layer
from caa_registry.registry.evaluations.plans import store as plans
from caa_registry.registry.evaluations.plans.outcome import outcome
from caa_registry.registry.evaluations.target import Questions
from caa_registry.registry.provenance.aliases import Aliases
from caa_registry.registry.provenance.lineage import maker
from caa_registry.registry.records import (
    Alias,
    Answer,
    CalibrationOutcome,
    DatasetVersion,
    Evaluation,
    Judged,
    Plan,
    PlannedOutcome,
    RunRecord,
    VectorVersion,
)
from caa_registry.registry.vectors.computation import Computation
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.evaluation.inference.caveats import Caveat
    from caa_registry.evaluation.measurements import Measurements


@dataclass(frozen=True, eq=False)
class EvaluationContent:
    """An evaluation by propensity of ``version``, to be shown at ``layer``. ``measured``: its items, where they were
    kept. ``caveats``: where its numbers mean little."""

    version: VectorVersion
    evaluation: Evaluation
    layer: int
    measured: Measurements | None
    caveats: Sequence[Caveat] = ()


@dataclass(frozen=True, eq=False)
class AnswersContent:
    """An open-ended evaluation with its answers, and every pass of a judge over them."""

    evaluation: Evaluation
    answers: Sequence[Answer]
    judgements: Sequence[Judged]


@dataclass(frozen=True, eq=False)
class ReportContent:
    """Everything a report of one vector tells. ``evaluations``: all of the version, oldest first, with the scores of
    the vector itself; ``aliases``: those of the version that recommend something; ``outcome``: of its newest
    calibration; ``run``: the one that made the evaluation that is shown; ``made``: the one that made the vector;
    ``planned``: the plan that this followed, with
    what came of it."""

    shown: EvaluationContent
    evaluations: Sequence[Evaluation]
    answers: AnswersContent | None
    aliases: Sequence[Alias]
    outcome: CalibrationOutcome | None
    run: RunRecord | None
    made: RunRecord | None
    planned: tuple[Plan, PlannedOutcome] | None


@dataclass(frozen=True, eq=False)
class PairsContent:
    """The pairs that ``version`` was made from, and how their activations are read again."""

    version: VectorVersion
    own: Questions
    computation: Computation


@dataclass(frozen=True, eq=False)
class CardContent:
    """Everything a card tells. ``dataset``, ``example``: of a vector that was computed here its pairs, and one of them;
    ``recipes``: how these, and those of the questions, are made from their sources; ``report``: ``None`` where the
    vector was never evaluated; ``outcome``: of its newest calibration; ``made``: the run that made it."""

    version: VectorVersion
    dataset: DatasetVersion | None
    example: Pair | None
    recipes: Sequence[tuple[DatasetVersion, Mapping[str, Any]]]
    report: ReportContent | None
    outcome: CalibrationOutcome | None
    made: RunRecord | None


class Contents:
    """Looks up and loads what cards and reports of vectors tell."""

    def __init__(self, workspace: Workspace, evaluations: Evaluations, datasets: Datasets) -> None:
        self._workspace = workspace
        self._evaluations = evaluations
        self._datasets = datasets

    def card(self, version: VectorVersion) -> CardContent:
        """All that the card of a vector tells."""
        dataset, example = None, None
        if version.recipe is not None:
            dataset = self._datasets.get(f"{version.dataset}@{version.dataset_digest}")
            example = self._datasets.pairs(dataset, version.recipe.split, limit=1)[0].pair
        scored = any(each.kind == "propensity" for each in self._evaluations.ls(f"vector:{version.reference}"))
        content = self.report(version, None) if scored else None
        asked = self._datasets.get(content.shown.evaluation.dataset) if content else dataset
        datasets = {each.digest: each for each in (dataset, asked) if each is not None}
        with self._workspace.database.read() as session:
            calibrated = outcomes(session, [version.id]).get(version.id)
            made = maker(session, ("vector", version.id))
        recipes = [(each, self._datasets.recipe(each)) for each in datasets.values()]
        return CardContent(version, dataset, example, recipes, content, calibrated, made)

    def report(self, version: VectorVersion, layer: int | None) -> ReportContent:
        """All that its report tells, with ``layer`` shown, by default the one that is chosen for it. Raises
        ``UsageError`` for a vector without an evaluation, and a layer that was not evaluated."""
        evaluations = self._evaluations.ls(f"vector:{version.reference}")
        scored = [evaluation for evaluation in evaluations if evaluation.kind == "propensity"]
        if not scored:
            raise UsageError(
                f"{version.reference} has no evaluation to report", f"Make one: caa eval propensity {version.reference}"
            )
        evidence = self._evaluations.evidence([version]).get(version.digest)
        evaluation = self._evaluations.get((evidence.evaluation if evidence else scored[-1]).id)
        answered = [evaluation for evaluation in evaluations if evaluation.kind == "open-ended"]
        calibrated, run, made = self._recorded(version, evaluation)
        of_verdict = calibrated.layer if calibrated and layer is None else None
        if of_verdict not in evaluation.settings.layers:
            of_verdict = None
        shown = self.evaluation(version, evaluation, layer if of_verdict is None else of_verdict)
        if of_verdict is not None:
            shown = replace(shown, caveats=[*shown.caveats, _of_verdict(of_verdict)])
        return ReportContent(
            shown,
            evaluations,
            self._answers(answered[-1]) if answered else None,
            self._recommending(version),
            calibrated,
            run,
            made,
            self._planned(evaluation),
        )

    def evaluation(self, version: VectorVersion, evaluation: Evaluation, layer: int | None) -> EvaluationContent:
        """What is shown of one evaluation by propensity, at ``layer`` (default: the most steerable)."""
        from caa_registry.evaluation.inference.caveats import chosen

        at = shown_layer(evaluation, layer)
        if not evaluation.measurements:
            return EvaluationContent(version, evaluation, at, None)
        measured = store.measurements(self._workspace, evaluation)
        caveats = self._evaluations.caveats(evaluation, at)
        choice = chosen(measured, at) if layer is None else None
        return EvaluationContent(version, evaluation, at, measured, [*caveats, *([choice] if choice else [])])

    def _recorded(
        self, version: VectorVersion, evaluation: Evaluation
    ) -> tuple[CalibrationOutcome | None, RunRecord | None, RunRecord | None]:
        """What the newest calibration of ``version`` came to, and the runs that made ``evaluation`` and ``version``."""
        with self._workspace.database.read() as session:
            calibrated = outcomes(session, [version.id]).get(version.id)
            return calibrated, maker(session, ("evaluation", evaluation.id)), maker(session, ("vector", version.id))

    def _planned(self, evaluation: Evaluation) -> tuple[Plan, PlannedOutcome] | None:
        """The plan that ``evaluation`` followed, and what came of it."""
        if not evaluation.standing.plan:
            return None
        plan = plans.get(self._workspace, evaluation.standing.plan)
        return plan, outcome(self._workspace, plan, evaluation)

    def _answers(self, evaluation: Evaluation) -> AnswersContent:
        answers, judgements = self._evaluations.answers(evaluation), self._evaluations.judgements(evaluation)
        return AnswersContent(evaluation, answers, judgements)

    def _recommending(self, version: VectorVersion) -> list[Alias]:
        """The aliases of ``version`` that recommend something."""
        return [
            alias
            for alias in Aliases(self._workspace).ls()
            if alias.kind == "vector" and alias.target == version.reference and alias.recommendation
        ]


def _of_verdict(layer: int) -> Caveat:
    from caa_registry.evaluation.inference.caveats import Caveat

    text = (
        f"Layer {layer} is shown because the newest calibration chose it, on half of its questions. The verdict is "
        "about the other half. The figures below may include the first, and are then too good."
    )
    return Caveat("chosen", text)
