"""All that is stored of an evaluation, every digest checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from caa_registry.catalog import models as t
from caa_registry.pairs.record import PairItem
from caa_registry.registry.evaluations import store
from caa_registry.registry.evaluations.open_ended import answers
from caa_registry.registry.evaluations.plans.store import get as get_plan
from caa_registry.registry.evaluations.ratings import judgements
from caa_registry.registry.evaluations.target import Lookup
from caa_registry.registry.records import (
    Answer,
    DatasetVersion,
    Evaluation,
    Judged,
    Plan,
    RecordedPropensity,
    RecordedSideEffects,
    VectorVersion,
)

if TYPE_CHECKING:
    from caa_registry.evaluation.measurements import Measurements


@dataclass(frozen=True, eq=False)
class StoredEvaluation:
    """An evaluation with what it names: the ``version`` of its vector, the questions of its split as ``pairs`` or as
    ``prompts`` (``dataset`` is ``None`` for what is measured on other text), its ``plan``, its items as
    ``measurements`` where they were kept, its answers (``places``: of what was asked, among the prompts) and their
    ratings."""

    evaluation: Evaluation
    version: VectorVersion
    dataset: DatasetVersion | None
    pairs: Sequence[PairItem]
    prompts: Sequence[str]
    plan: Plan | None
    measurements: Measurements | None
    answers: Sequence[Answer]
    places: Sequence[int]
    judgements: Sequence[Judged]


def stored(lookup: Lookup, evaluation: Evaluation) -> StoredEvaluation:
    """Read all of it, and what it was measured with. ``evaluation`` itself was checked when it was read. Raises
    ``IntegrityError`` naming what is not what was stored."""
    workspace, settings = lookup.workspace, evaluation.settings
    version = lookup.vectors.get(f"vector:{evaluation.vector}")
    lookup.vectors.verify(version)  # its numbers, and the pairs that nulls are made from
    dataset: DatasetVersion | None = None
    pairs: Sequence[PairItem] = ()
    prompts: Sequence[str] = ()
    if not isinstance(settings, RecordedSideEffects):
        dataset = lookup.with_split(f"dataset:{evaluation.dataset}", evaluation.split)
        if isinstance(settings, RecordedPropensity):
            pairs = lookup.questions(dataset, evaluation.split).items
        else:
            prompts = lookup.prompts(dataset, evaluation.split)
    with workspace.database.read() as session:
        given = answers(session, evaluation, prompts)
        asked = session.scalars(
            select(t.Response.question).where(t.Response.evaluation_id == evaluation.id).order_by(t.Response.position)
        )
        places = list(dict.fromkeys(asked))
        rated = judgements(session, evaluation.id)
    return StoredEvaluation(
        evaluation,
        version,
        dataset,
        pairs,
        prompts,
        get_plan(workspace, settings.plan) if isinstance(settings, RecordedPropensity) and settings.plan else None,
        store.measurements(workspace, evaluation, cached=False) if evaluation.measurements else None,
        given,
        places,
        rated,
    )
