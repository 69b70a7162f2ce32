"""What pictures and reports show, looked up and loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caa_registry.registry.evaluations.target import Questions
from caa_registry.registry.records import (
    Alias,
    Answer,
    CalibrationOutcome,
    Evaluation,
    Judged,
    Plan,
    PlannedOutcome,
    RunRecord,
    VectorVersion,
)
from caa_registry.registry.vectors.computation import Computation

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
