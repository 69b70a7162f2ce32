"""Ratings of open-ended answers, by judges and by people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select

from caa_registry import settings
from caa_registry.catalog import models as t
from caa_registry.progress import Progress, silent
from caa_registry.registry.evaluations.open_ended import Answer, answers
from caa_registry.registry.provenance.runs import Activity, record_run
from caa_registry.registry.records import Evaluation

if TYPE_CHECKING:
    from caa_registry.evaluation.intervals import Interval
    from caa_registry.evaluation.open_ended.judging import Answered, Judge, JudgeIdentity
    from caa_registry.registry.registry import Registry


@dataclass(frozen=True)
class Judged:
    """One pass of a judge. ``ratings``: by position of the answer, ``None`` where the reply was no rating, with the
    replies beside them."""

    id: int
    judge: dict[str, Any]
    created_at: datetime
    ratings: dict[int, float | None]
    replies: dict[int, str]

    @property
    def unparsable(self) -> int:
        """How many replies were no rating."""
        return sum(value is None for value in self.ratings.values())


def rate(registry: Registry, evaluation: Evaluation, judge: Judge, progress: Progress = silent) -> Judged:
    """Have a judge rate every answer, and store its ratings; the same answer to the same question is rated once.

    Unparsable replies are kept and counted. What an interrupted call had rated is not rated again. Raises
    ``JudgeError``, and what ``answers`` raises; then nothing is stored.
    """
    from caa_registry.evaluation.open_ended.judging import Answered
    from caa_registry.evaluation.unfinished import Unfinished

    given = answers(registry, evaluation)
    asked = [Answered(answer.question, answer.text) for answer in given]
    distinct = list(dict.fromkeys(asked))
    digest = judge.identity.digest
    identity = {"judge": digest, "answers": [[one.question, one.answer] for one in distinct]}
    unfinished = Unfinished(settings.unfinished(), identity)
    found: dict[Answered, tuple[float | None, str]] = {
        distinct[kept["index"]]: (kept["value"], kept["reply"]) for kept in unfinished.kept("ratings")
    }
    places = {one: place for place, one in enumerate(distinct)}
    open_ones = [one for one in distinct if one not in found]
    progress(len(found), len(distinct))
    for rating in judge.ratings(open_ones):
        one = open_ones[rating.index]
        reply = rating.reply.replace("\x00", "\ufffd")
        found[one] = rating.value, reply
        unfinished.add("ratings", {"index": places[one], "value": rating.value, "reply": reply})
        progress(len(found), len(distinct))
    judged = _store_ratings(registry, evaluation, judge.identity, [found[one] for one in asked])
    unfinished.delete()
    return judged


def rate_by_sheet(registry: Registry, evaluation: Evaluation, path: Path, identity: JudgeIdentity) -> Judged:
    """Store a person's ratings from a sheet. Answers without one count as unparsable, with an empty reply."""
    from caa_registry.evaluation.open_ended.human_ratings import read_sheet

    found = read_sheet(path, answered(registry, evaluation))
    return _store_ratings(registry, evaluation, identity, [(rating.value, rating.reply) for rating in found])


def answered(registry: Registry, evaluation: Evaluation) -> list[Answered]:
    """The answers of an evaluation as a judge reads them."""
    from caa_registry.evaluation.open_ended.judging import Answered

    return [Answered(answer.question, answer.text) for answer in answers(registry, evaluation)]


def judgements(registry: Registry, evaluation: Evaluation) -> list[Judged]:
    """All passes of all judges over an evaluation, oldest first."""
    query = select(t.Judgement).where(t.Judgement.evaluation_id == evaluation.id).order_by(t.Judgement.id)
    found = []
    with registry.database.read() as session:
        for row in session.scalars(query).all():
            ratings = session.scalars(
                select(t.Rating).where(t.Rating.judgement_id == row.id).order_by(t.Rating.position)
            )
            by_position = {rating.position: rating for rating in ratings}
            found.append(
                Judged(
                    row.id,
                    row.judge,
                    row.created_at,
                    {position: rating.value for position, rating in by_position.items()},
                    {position: rating.reply for position, rating in by_position.items()},
                )
            )
    return found


def mean_ratings(given: Sequence[Answer], judged: Judged) -> dict[float, Interval | None]:
    """By multiplier the mean rating, 0 to 10, with its bootstrap interval over answers; ``None`` where none was
    rated."""
    from caa_registry.evaluation.intervals import bootstrap_mean

    found: dict[float, Interval | None] = {}
    for multiplier in dict.fromkeys(answer.multiplier for answer in given):
        values = [judged.ratings.get(answer.position) for answer in given if answer.multiplier == multiplier]
        rated = [value for value in values if value is not None]
        found[multiplier] = bootstrap_mean(np.array(rated)) if rated else None
    return dict(sorted(found.items()))


def _store_ratings(
    registry: Registry, evaluation: Evaluation, identity: JudgeIdentity, found: Sequence[tuple[float | None, str]]
) -> Judged:
    made = datetime.now(UTC)
    activity = Activity("rate", registry.actor, {"evaluation": evaluation.id, "judge": identity.as_json()})
    with registry.database.write() as session:
        judgement = t.Judgement(
            evaluation_id=evaluation.id, judge=identity.as_json(), judge_digest=identity.digest, created_at=made
        )
        session.add(judgement)
        session.flush()
        session.add_all(
            t.Rating(
                judgement_id=judgement.id, evaluation_id=evaluation.id, position=position, value=value, reply=reply
            )
            for position, (value, reply) in enumerate(found)
        )
        record_run(
            session,
            activity,
            inputs=[("evaluation", evaluation.id)],
            subject={"evaluation": evaluation.id, "judgement": judgement.id, "judge": identity.digest},
        )
        number = judgement.id
    return Judged(
        number,
        identity.as_json(),
        made,
        {position: value for position, (value, _) in enumerate(found)},
        {position: reply for position, (_, reply) in enumerate(found)},
    )
