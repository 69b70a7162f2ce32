"""Whether an evaluation is what it says: what is stored of it, and what measuring it again gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from caa_registry.pairs.halves import half_of
from caa_registry.progress import Progress
from caa_registry.registry.evaluations.store import Measured
from caa_registry.registry.evaluations.target import Lookup
from caa_registry.registry.evaluations.verification.comparison import (
    answers_compared,
    items_compared,
    scores_compared,
)
from caa_registry.registry.evaluations.verification.judges import judges_again, named, ratings_again
from caa_registry.registry.evaluations.verification.repetition import (
    check_repeatable,
    repeated,
    settings_differences,
)
from caa_registry.registry.evaluations.verification.stored import StoredEvaluation, stored
from caa_registry.registry.provenance.runs import Activity
from caa_registry.registry.records import Answer, Evaluation, EvaluationVerification, RecomputedItems
from caa_registry.registry.vectors.circumstances import (
    Places,
    check_alone,
    environment_since,
    loaded,
    model_differences,
    of_another_kind,
    record,
)

if TYPE_CHECKING:
    from caa_registry.evaluation.open_ended.judging import Judge
    from caa_registry.registry.records import Judged

# Of those that are apart, so many are kept with the run, worst first.
_MOST_KEPT = 100


@dataclass(frozen=True)
class Repetition:
    """That an evaluation is to be measured again. ``model`` and ``adapter``: where their files are now, where that is
    not where they were. ``ratings``: whether judges rate again too. ``measuring`` and ``reading``: how work is told,
    that for nulls by the second."""

    model: str | Path | None
    adapter: str | Path | None
    ratings: bool
    measuring: Progress
    reading: Progress


def verify(lookup: Lookup, evaluation: Evaluation, again: Repetition | None) -> EvaluationVerification:
    """Check what is stored, and with ``again`` measure it once more and compare. See ``Evaluations.verify``."""
    known = stored(lookup, evaluation)
    asked = len(known.pairs) or len(known.prompts) or getattr(evaluation.settings, "passages", 0)
    found = EvaluationVerification(
        evaluation=evaluation.id,
        kind=evaluation.kind,
        vector=evaluation.vector,
        dataset=evaluation.dataset,
        questions=asked,
        figures=len(evaluation.scores),
        answers=len(known.answers),
        ratings=sum(len(judged.ratings) for judged in known.judgements),
    )
    if again is None:
        return found
    check_alone("evaluations are verified")
    check_repeatable(known)
    return _measured_again(lookup, known, found, again)


def _measured_again(
    lookup: Lookup, known: StoredEvaluation, found: EvaluationVerification, again: Repetition
) -> EvaluationVerification:
    workspace, evaluation, models = lookup.workspace, known.evaluation, lookup.models
    workspace.database.check_writable()
    judges = judges_again(models, known) if again.ratings else []
    activity = Activity("verify", workspace.actor, {})
    places = Places.of(evaluation.model, again.model, again.adapter)
    differences = model_differences(models, evaluation.model, places)
    model = loaded(models, evaluation.model, evaluation.settings.dtype, places)
    found = replace(found, dtype=model.dtype)
    if another := of_another_kind(evaluation.model, model.info):
        differences.append(another)
    else:
        measured = repeated(lookup, known, model, again.measuring, again.reading)
        found = _compared(known, found, measured, judges)
        differences += found.differences
    left_out = () if again.ratings else tuple(f"ratings of {named(judged)}" for judged in known.judgements)
    found = replace(
        found,
        differences=tuple(differences),
        environment=environment_since(workspace, ("evaluation", evaluation.id)),
        left_out=left_out,
    )
    outcome = {
        "holds": found.holds,
        "differences": list(found.differences),
        "left_out": list(found.left_out),
        "scores": len(found.scores),
        "same_bits": found.same_bits,
        "items": [[each.what, each.count, each.same_bits, each.difference, each.apart] for each in found.items],
        "apart": [[each.name, each.stored, each.now, each.difference] for each in found.apart[:_MOST_KEPT]],
    }
    subject = {"evaluation": evaluation.id, "vector": evaluation.vector}
    return replace(found, run=record(workspace, activity, ("evaluation", evaluation.id), outcome, subject))


def _compared(
    known: StoredEvaluation,
    found: EvaluationVerification,
    measured: Measured,
    judges: Sequence[tuple[Judged, Judge]],
) -> EvaluationVerification:
    evaluation = known.evaluation
    items = [*_items(known, measured, found.tolerance), *ratings_again(judges, known.answers)]
    compared = replace(
        found,
        differences=tuple(settings_differences(evaluation.settings, measured.settings)),
        scores=tuple(scores_compared(evaluation.scores, measured.figures)),
        items=tuple(items),
    )
    if compared.apart and items and all(each.same_bits for each in items):
        why = "scores are made otherwise of the same items by this version of caa"
        compared = replace(compared, differences=(*compared.differences, why))
    return compared


def _items(known: StoredEvaluation, measured: Measured, tolerance: float) -> list[RecomputedItems]:
    """What the scores are made of, beside what was measured again."""
    if measured.measurements is not None and known.measurements is not None:
        rows = half_of(list(known.pairs), known.evaluation.settings.rows)
        return list(items_compared(known.measurements, measured.measurements, [row.digest for row in rows]))
    if measured.responses:
        given = [
            Answer(row.position, known.prompts[row.question], row.multiplier, row.text, row.finish, dict(row.coherence))
            for row in measured.responses
        ]
        return [answers_compared(known.answers, given, tolerance)]
    return []
