"""Ratings of open-ended answers, by judges and by people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry import settings
from caa_registry.catalog import models as t
from caa_registry.catalog.integrity.damage import damaged
from caa_registry.catalog.integrity.row_digests import digest_of_rows
from caa_registry.progress import Progress
from caa_registry.registry.provenance.runs import Activity, failure_kept, record_run
from caa_registry.registry.records import Answer, Judged
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.evaluation.inference.intervals import Interval
    from caa_registry.evaluation.open_ended.judging import Answered, Judge, JudgeIdentity


@dataclass(frozen=True, eq=False)
class RatingRequest:
    """The answers of one evaluation, loaded, for a judge or a person to rate."""

    evaluation: int
    answers: Sequence[Answer]

    @property
    def answered(self) -> list[Answered]:
        """The answers as a judge reads them."""
        from caa_registry.evaluation.open_ended.judging import Answered

        return [Answered(answer.question, answer.text) for answer in self.answers]


def rate(workspace: Workspace, request: RatingRequest, judge: Judge, progress: Progress) -> Judged:
    """Have a judge rate every answer, and store its ratings; the same answer to the same question is rated once.

    Replies that are not a rating are kept and counted. What an interrupted call had rated is not rated again. Raises
    ``JudgeError``; then nothing is stored.
    """
    from caa_registry.evaluation.unfinished import Unfinished

    answered = request.answered
    distinct = list(dict.fromkeys(answered))
    identity = {"judge": judge.identity.digest, "answers": [[each.question, each.answer] for each in distinct]}
    unfinished = Unfinished(settings.unfinished(), identity)
    ratings: dict[Answered, tuple[float | None, str]] = {
        distinct[kept["index"]]: (kept["value"], kept["reply"]) for kept in unfinished.kept("ratings")
    }
    places = {answer: place for place, answer in enumerate(distinct)}
    unrated = [answer for answer in distinct if answer not in ratings]
    progress(len(ratings), len(distinct))
    activity = _activity(workspace, request.evaluation, judge.identity)
    inputs, subject = [("evaluation", request.evaluation)], {"evaluation": request.evaluation}
    with failure_kept(workspace, activity, inputs=inputs, subject=subject):
        for rating in judge.ratings(unrated):
            answer = unrated[rating.index]
            reply = rating.reply.replace("\x00", "\ufffd")
            ratings[answer] = rating.value, reply
            unfinished.add("ratings", {"index": places[answer], "value": rating.value, "reply": reply})
            progress(len(ratings), len(distinct))
        ordered = [ratings[answer] for answer in answered]
        judged = _store_ratings(workspace, request.evaluation, activity, judge.identity, ordered)
    unfinished.delete()
    return judged


def rate_by_sheet(workspace: Workspace, request: RatingRequest, path: Path, identity: JudgeIdentity) -> Judged:
    """Store a person's ratings from a sheet. Answers without one count as unparsable, with an empty reply."""
    from caa_registry.evaluation.open_ended.human_ratings import read_sheet

    ratings = [(rating.value, rating.reply) for rating in read_sheet(path, request.answered)]
    activity = _activity(workspace, request.evaluation, identity)
    return _store_ratings(workspace, request.evaluation, activity, identity, ratings)


def judgements(session: Session, evaluation: int) -> list[Judged]:
    """All passes of all judges over an evaluation, oldest first."""
    query = select(t.Judgement).where(t.Judgement.evaluation_id == evaluation).order_by(t.Judgement.id)
    passes = list(session.scalars(query))
    of_pass: dict[int, list[t.Rating]] = {judgement.id: [] for judgement in passes}
    ratings = (
        select(t.Rating).where(t.Rating.evaluation_id == evaluation).order_by(t.Rating.judgement_id, t.Rating.position)
    )
    for rating in session.scalars(ratings):
        of_pass.setdefault(rating.judgement_id, []).append(rating)
    if len(of_pass) > len(passes):
        raise damaged(f"evaluation {evaluation}", "it has ratings of a judgement that is missing")
    for judgement in passes:
        rows = [(rating.position, rating.value, rating.reply) for rating in of_pass[judgement.id]]
        if judgement.ratings_digest != digest_of_rows("rating", rows):
            raise damaged(f"evaluation {evaluation}", f"the ratings of its judgement {judgement.id} are not as stored")
    return [
        Judged(
            judgement.id,
            judgement.judge,
            judgement.created_at,
            {rating.position: rating.value for rating in of_pass[judgement.id]},
            {rating.position: rating.reply for rating in of_pass[judgement.id]},
        )
        for judgement in passes
    ]


def mean_ratings(answers: Sequence[Answer], judged: Judged) -> dict[float, Interval | None]:
    """By multiplier the mean rating, 0 to 10, with its interval over answers; ``None`` where none was
    rated."""
    import numpy as np

    from caa_registry.evaluation.inference.intervals import bounded, mean

    means: dict[float, Interval | None] = {}
    for multiplier in sorted({answer.multiplier for answer in answers}):
        values = [judged.ratings.get(answer.position) for answer in answers if answer.multiplier == multiplier]
        rated = [value for value in values if value is not None]
        means[multiplier] = bounded(mean(np.array(rated)), 0.0, 10.0) if rated else None
    return means


def _activity(workspace: Workspace, evaluation: int, identity: JudgeIdentity) -> Activity:
    return Activity("rate", workspace.actor, {"evaluation": evaluation, "judge": identity.as_json()})


def _store_ratings(
    workspace: Workspace,
    evaluation: int,
    activity: Activity,
    identity: JudgeIdentity,
    ratings: Sequence[tuple[float | None, str]],
) -> Judged:
    now = datetime.now(UTC)
    judge = identity.as_json()
    with workspace.database.write() as session:
        judgement = t.Judgement(
            evaluation_id=evaluation,
            judge=judge,
            judge_digest=identity.digest,
            ratings_digest=digest_of_rows("rating", [(i, *rating) for i, rating in enumerate(ratings)]),
            created_at=now,
        )
        session.add(judgement)
        session.flush()
        session.add_all(
            t.Rating(judgement_id=judgement.id, evaluation_id=evaluation, position=position, value=value, reply=reply)
            for position, (value, reply) in enumerate(ratings)
        )
        record_run(
            session,
            activity,
            inputs=[("evaluation", evaluation)],
            subject={"evaluation": evaluation, "judgement": judgement.id, "judge": identity.digest},
        )
        number = judgement.id
    return Judged(
        number,
        judge,
        now,
        {position: value for position, (value, _) in enumerate(ratings)},
        {position: reply for position, (_, reply) in enumerate(ratings)},
    )
