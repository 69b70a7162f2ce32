"""Ratings that are made again: those of judges that are models on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from caa_registry.errors import CaaError, UsageError
from caa_registry.models.loading import DEMO_MODEL, is_repository
from caa_registry.registry.evaluations.ratings import RatingRequest
from caa_registry.registry.evaluations.verification.comparison import ratings_compared
from caa_registry.registry.evaluations.verification.stored import StoredEvaluation
from caa_registry.registry.models import Models
from caa_registry.registry.records import Answer, Judged, RecomputedItems

if TYPE_CHECKING:
    from caa_registry.evaluation.open_ended.judging import Judge


def named(judged: Judged) -> str:
    """A judge as messages call it."""
    judge = judged.judge
    kind, name = judge["kind"], judge["name"]
    if kind == "human":
        return f"{name} (a person, judgement {judged.id})"
    where = f" at {judge['source']}" if kind == "endpoint" else ""
    return f"{name}{where} (judgement {judged.id})"


def judges_again(models: Models, stored: StoredEvaluation) -> list[tuple[Judged, Judge]]:
    """Each pass over the answers with its judge, ready to rate again. Raises ``UsageError`` naming those that cannot be
    asked again here: people, endpoints, and models or rubrics that are not on this machine."""
    from caa_registry.evaluation.open_ended.local_judge import LocalJudge
    from caa_registry.evaluation.open_ended.rubrics import packaged_rubrics

    rubrics = {rubric.digest: rubric for rubric in packaged_rubrics()}
    found: list[tuple[Judged, Judge]] = []
    for judged in stored.judgements:
        judge = judged.judge
        if judge["kind"] == "human":
            raise _cannot(stored, judged, "a person rates, who cannot be asked again")
        if judge["kind"] != "local":
            raise _cannot(stored, judged, "an endpoint rates, whose model may have changed")
        rubric = rubrics.get(judge["rubric"])
        if rubric is None:
            raise _cannot(stored, judged, "its rubric does not ship with this release")
        place = _place(models, judge["name"], judge["source"])
        if place is None:
            raise _cannot(stored, judged, "the registry does not know where that model is")
        again = LocalJudge(models.load(place), rubric)
        if again.identity.as_json() != judge:
            raise _cannot(stored, judged, "what lies where that model was, or how judges are asked, is otherwise now")
        found.append((judged, again))
    return found


def ratings_again(judges: Sequence[tuple[Judged, Judge]], answers: Sequence[Answer]) -> list[RecomputedItems]:
    """Have the same ``answers`` rated again, by each judge. The same answer to the same question is rated once."""
    found = []
    for judged, judge in judges:
        answered = RatingRequest(0, answers).answered
        distinct = list(dict.fromkeys(answered))
        ratings = {distinct[rating.index]: rating for rating in judge.ratings(distinct)}
        again = {
            answer.position: (ratings[given].value, ratings[given].reply.replace("\x00", "\ufffd"))
            for answer, given in zip(answers, answered, strict=True)
        }
        found.append(ratings_compared(judged, again, named(judged)))
    return found


def _place(models: Models, name: str, fingerprint: str) -> str | None:
    """Where a judge's model can be loaded from."""
    try:
        return models.where(models.get(fingerprint).info)
    except CaaError:
        return name if name == DEMO_MODEL or is_repository(name) else None


def _cannot(stored: StoredEvaluation, judged: Judged, why: str) -> UsageError:
    return UsageError(
        f"the ratings of {named(judged)} cannot be made again: {why}",
        "Give --without-ratings to have the answers of evaluation "
        f"{stored.evaluation.id} generated again alone; without --recompute what is stored is checked, ratings too.",
    )
