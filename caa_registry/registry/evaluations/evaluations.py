"""Evaluations in the registry: measure, store, list."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.errors import NotFoundError, UsageError
from caa_registry.evaluation.control_names import check_controls
from caa_registry.progress import Progress, silent
from caa_registry.registry.datasets.datasets import check_split
from caa_registry.registry.evaluations.calibration import Calibrated, calibrate
from caa_registry.registry.evaluations.cross import categories, cross
from caa_registry.registry.evaluations.evidence import Evidence, Statistic, best, compare, leaderboard
from caa_registry.registry.evaluations.open_ended import Answer, AnswerRequest, answers, generate_answers, questions_of
from caa_registry.registry.evaluations.propensity import Beside, Request, measure
from caa_registry.registry.evaluations.ratings import Judged, answered, judgements, rate, rate_by_sheet
from caa_registry.registry.evaluations.side_effects import TextRequest, measure_text, neutral_text
from caa_registry.registry.evaluations.target import applied
from caa_registry.registry.lookup import find_version, model_info
from caa_registry.registry.provenance.recalls import mark_evaluations
from caa_registry.registry.records import (
    DatasetVersion,
    Evaluation,
    Score,
    VectorVersion,
    behavior_of,
)
from caa_registry.registry.vectors.steering import same_weights
from caa_registry.steering.positions import SteeredPositions, check_positions

if TYPE_CHECKING:
    from caa_registry.evaluation.categories import CategoryScores
    from caa_registry.evaluation.comparison import Compared
    from caa_registry.evaluation.cross_behavior import CrossBehavior
    from caa_registry.evaluation.measurements import Measurements
    from caa_registry.evaluation.open_ended.judging import Judge
    from caa_registry.evaluation.open_ended.rubrics import Rubric
    from caa_registry.models.model import Model
    from caa_registry.models.prompts import TemplateName
    from caa_registry.pairs.record import PairItem
    from caa_registry.registry.registry import Registry

_ROWS = {"all": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}


class Evaluations:
    """The evaluations of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def propensity(
        self,
        vector: str | VectorVersion,
        *,
        dataset: str | DatasetVersion | None = None,
        split: str = "test",
        model: str | Path | Model,
        layers: Sequence[int] | Literal["all"] = "all",
        multipliers: Sequence[float] = (-1.0, 0.0, 1.0),
        positions: SteeredPositions = "after_prompt",
        template: TemplateName | None = None,
        rows: Literal["all", "even", "odd"] = "all",
        paper: bool = False,
        controls: Sequence[str] = ("random", "shuffled"),
        seeds: int = 20,
        system_positive: str = "",
        system_negative: str = "",
        few_shot: int = 0,
        allow_mismatch: bool = False,
        progress: Progress = silent,
        reading: Progress = silent,
    ) -> Evaluation:
        """Score a vector at every layer and multiplier, with controls beside it, and store the scores and the items.

        The metric is ``propensity`` where all items answer by a letter or Yes/No, ``propensity_completion`` for free
        text. ``dataset`` defaults to the version the vector was computed from, ``template`` to the one it was
        computed with. ``rows`` takes only the even or the odd rows of the split (counted from 0), so that a layer can
        be chosen on one half and reported on the other. An item with more than two letters is scored over all of them;
        ``paper`` scores over A and B and counts items whose matching letter is beyond them as 0, as the paper does.

        ``controls``: ``random`` are ``seeds`` directions of the vector's length, ``shuffled`` as many vectors of the
        same pairs with their sides swapped or not by lot, which cannot be had for another model than the vector's own
        and are left out there. Baselines, each alone (multiplier 0) and with the vector: ``system_positive`` and
        ``system_negative`` are system prompts for and against the behavior, ``few_shot`` a number of the vector's own
        pairs, drawn by lot, that stand before the question with their positive completions.

        An interrupted evaluation leaves nothing in the registry, and the same call goes on where it was. Re-runs are
        separate observations. ``progress`` counts questions at layers, ``reading`` activations for shuffled labels.

        Raises ``UsageError`` for an unknown split, layer, template or control, ``ModelMismatchError`` for another
        model.
        """
        check_controls(controls)
        if controls and seeds < 2:
            raise UsageError(f"{seeds} is too few vectors for a control", "20 give a null interval.")
        if rows not in _ROWS:
            raise UsageError(f"there is no half {rows!r}", f"Choose one of {', '.join(_ROWS)}.")
        check_positions(positions)
        version = self._registry.vectors.get(vector)
        data = self._registry.datasets.get(dataset if dataset is not None else version.dataset)
        check_split(data, split)
        found = applied(self._registry, version, model, layers, multipliers, allow_mismatch=allow_mismatch)
        own = [name for name in dict.fromkeys(controls) if name != "shuffled" or same_weights(found.verdict)]
        request = Request(
            on=found,
            dataset=data,
            split=split,
            half=rows,
            pairs=[item.pair for item in self._registry.datasets.pairs(data, split)][_ROWS[rows]],
            template=found.model.template(template or version.recipe.template),
            positions=positions,
            paper=paper,
            beside=Beside(own, seeds if own else 0, system_positive, system_negative, few_shot),
        )
        return self.get(measure(self._registry, request, progress, reading))

    def items(self, evaluation: Evaluation) -> list[PairItem]:
        """The pairs that an evaluation asked, those that were left out among them, with what their source said of them:
        rows of its measurements count these."""
        return self._registry.datasets.pairs(evaluation.dataset, evaluation.split)[_ROWS[evaluation.parameters["rows"]]]

    def evidence(self, vectors: Sequence[VectorVersion], metric: Statistic = "steerability") -> dict[str, Evidence]:
        """By digest of each of ``vectors`` what its newest evaluation says. See ``registry.evidence.best``."""
        return best(self._registry, vectors, metric)

    def leaderboard(
        self, *, behavior: str | None = None, model: str | None = None, metric: Statistic = "steerability"
    ) -> list[Evidence]:
        """Every version of every vector by how well it works, those for one behavior and model together."""
        return leaderboard(self._registry, behavior=behavior, model=model, metric=metric)

    def compare(
        self, one: str, other: str, *, layer: int | None = None, other_layer: int | None = None
    ) -> tuple[Evaluation, Evaluation, list[Compared]]:
        """Two evaluations on the items that both have, paired. See ``registry.evidence.compare``."""
        return compare(self._registry, one, other, layer=layer, other_layer=other_layer)

    def side_effects(
        self,
        vector: str | VectorVersion,
        *,
        model: str | Path | Model,
        text: str = "english",
        layers: Sequence[int] | Literal["all"] = "all",
        multipliers: Sequence[float] = (-1.0, 0.0, 1.0),
        allow_mismatch: bool = False,
        progress: Progress = silent,
    ) -> Evaluation:
        """Measure what a vector does to ordinary text, and store it: ``kl``, the KL divergence from the unsteered model
        in nats per token, and ``perplexity``, by layer and multiplier, intervals over passages.

        ``text``: a packaged set, ``english`` or ``demo``, or the path of a text file with one passage a paragraph. All
        of its tokens are steered. An interrupted call leaves nothing in the registry and goes on layer by layer.
        """
        found = applied(self._registry, vector, model, layers, multipliers, allow_mismatch=allow_mismatch)
        return self.get(measure_text(self._registry, TextRequest(found, neutral_text(text)), progress))

    def open_ended(
        self,
        vector: str | VectorVersion,
        *,
        dataset: str | DatasetVersion,
        split: str = "test",
        model: str | Path | Model,
        layers: Sequence[int],
        multipliers: Sequence[float] = (-1.0, 0.0, 1.0),
        positions: SteeredPositions = "after_prompt",
        template: TemplateName | None = None,
        system: str = "",
        max_tokens: int = 128,
        temperature: float = 0.0,
        seed: int = 0,
        limit: int | None = None,
        only: Sequence[str] | None = None,
        allow_mismatch: bool = False,
        progress: Progress = silent,
    ) -> Evaluation:
        """Generate answers to open-ended questions, or to the prompts of pairs, at each multiplier, and store them with
        their coherence. The vector of every one of ``layers`` is added at once.

        ``temperature`` 0 is greedy; above, what is drawn depends on ``seed``, prompt and multiplier alone. ``limit``:
        so many questions from the first; ``only``: these of the split's. ``rate`` has a judge rate the answers. An
        interrupted call leaves nothing in the registry and goes on where it was.
        """
        check_positions(positions)
        data = self._registry.datasets.get(dataset)
        check_split(data, split)
        found = applied(self._registry, vector, model, layers, multipliers, allow_mismatch=allow_mismatch)
        asked = questions_of(self._registry, data, split)
        chosen = [i for i, question in enumerate(asked) if only is None or question in only][:limit]
        request = AnswerRequest(
            on=found,
            dataset=data,
            split=split,
            questions=[asked[i] for i in chosen],
            places=chosen,
            template=found.model.template(template or found.version.recipe.template),
            positions=positions,
            system=system,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
        )
        return self.get(generate_answers(self._registry, request, progress))

    def answers(self, evaluation: Evaluation | int) -> list[Answer]:
        """The answers of an open-ended evaluation."""
        return answers(self._registry, self._of(evaluation))

    def rate(self, evaluation: Evaluation | int, judge: Judge, progress: Progress = silent) -> Judged:
        """Have a judge rate every answer of an open-ended evaluation. See ``registry.judging.rate``."""
        return rate(self._registry, self._of(evaluation), judge, progress)

    def write_sheet(self, evaluation: Evaluation | int, path: Path, *, seed: int = 0) -> int:
        """Write the answers for people to rate, blind and shuffled; how many rows. See ``open_ended.human_ratings``."""
        from caa_registry.evaluation.open_ended.human_ratings import write_sheet

        return write_sheet(path, answered(self._registry, self._of(evaluation)), seed)

    def read_sheet(self, evaluation: Evaluation | int, path: Path, *, rater: str, rubric: Rubric) -> Judged:
        """Store the ratings of one person from a sheet."""
        from caa_registry.evaluation.open_ended.human_ratings import rater_identity

        return rate_by_sheet(self._registry, self._of(evaluation), path, rater_identity(rater, rubric))

    def judgements(self, evaluation: Evaluation | int) -> list[Judged]:
        """All ratings of an open-ended evaluation, by judge."""
        return judgements(self._registry, self._of(evaluation))

    def calibrate(self, vector: str | VectorVersion, *, model: str | Path | Model, **options: Any) -> Calibrated:
        """Find the layer and multiplier to use and set an alias there. See ``registry.calibrating.calibrate``."""
        return calibrate(self._registry, vector, model=model, **options)

    def categories(self, evaluation: Evaluation | int, layer: int | None = None) -> dict[float, CategoryScores]:
        """By multiplier the scores at a layer by the items' category. See ``registry.crossing.categories``."""
        return categories(self._registry, self._of(evaluation), layer)

    def cross(
        self, vectors: Sequence[str | VectorVersion], *, model: str | Path | Model, layer: int, **options: Any
    ) -> tuple[CrossBehavior, list[Evaluation]]:
        """The effect of every vector on every other's questions. See ``registry.crossing.cross``."""
        return cross(self._registry, vectors, model=model, layer=layer, **options)

    def _of(self, evaluation: Evaluation | int) -> Evaluation:
        return self.get(evaluation) if isinstance(evaluation, int) else evaluation

    def measurements(self, id: int) -> Measurements:
        """The items of an evaluation. Raises ``UsageError`` where they were not kept, ``IntegrityError`` where the
        bytes are not those that were stored."""
        from caa_registry.evaluation.measurements import from_bytes

        found = self.get(id)
        if found.measurements is None:
            raise UsageError(f"evaluation {id} was stored without its items", "Evaluate again.")
        return from_bytes(self._registry.blobs.get(found.measurements))

    def ls(self, vector: str | None = None, *, conditions: Sequence[str] = ("vector",)) -> list[Evaluation]:
        """All evaluations, or those of one vector version, newest last, with the scores of some conditions only."""
        query = select(t.Evaluation).where(t.Evaluation.deleted_at.is_(None)).order_by(t.Evaluation.id)
        with self._registry.database.read() as session:
            if vector is not None:
                version = find_version(session, vector, "vector")
                query = query.where(t.Evaluation.vector_version_id == version.id)
            found = [_record(session, row, t.Score.condition.in_(conditions)) for row in session.scalars(query)]
            return mark_evaluations(session, found)

    def get(self, id: int) -> Evaluation:
        """The evaluation of that number."""
        with self._registry.database.read() as session:
            # Beyond what either database holds as a number there is nothing either.
            row = session.get(t.Evaluation, id) if 0 < id < 2**31 else None
            if row is None or row.deleted_at is not None:
                raise NotFoundError(f"there is no evaluation {id}", "List them with: caa eval ls")
            (found,) = mark_evaluations(session, [_record(session, row)])
        return found


def best_layer(evaluation: Evaluation) -> int:
    """The layer whose score moves most from the lowest to the highest multiplier, among those where it never falls.

    Where it falls somewhere at every layer, the one that moves most. The first of equals. To be reported on items
    that had no part in the choice (``rows``).
    """
    scores = evaluation.of()
    if len({score.multiplier for score in scores}) < 2:
        raise UsageError(
            f"evaluation {evaluation.id} has one multiplier, which shows no effect", "Score at least two: -1,0,1."
        )
    by_layer: dict[int, list[Score]] = {}
    for score in scores:
        by_layer.setdefault(score.layer, []).append(score)

    def merit(layer: int) -> tuple[bool, float]:
        values = [score.value for score in by_layer[layer]]
        rising = all(low <= high for low, high in itertools.pairwise(values))
        return rising, values[-1] - values[0]

    return max(by_layer, key=merit)


def _record(session: Session, row: t.Evaluation, *wanted: ColumnElement[bool]) -> Evaluation:
    vector = session.get_one(t.VectorVersion, row.vector_version_id)
    if row.dataset_version_id is None:
        reference, behavior = f"text {row.parameters['text']}", ""
    else:
        dataset = session.get_one(t.DatasetVersion, row.dataset_version_id)
        name = session.get_one(t.Dataset, dataset.dataset_id).name
        reference, behavior = f"{name}:v{dataset.number}", behavior_of(name, dataset.source)
    query = select(t.Score).where(t.Score.evaluation_id == row.id, *wanted).order_by(t.Score.position)
    scores = session.scalars(query)
    return Evaluation(
        id=row.id,
        vector=f"{session.get_one(t.Vector, vector.vector_id).name}:v{vector.number}",
        dataset=reference,
        behavior=behavior,
        split=row.split,
        model=model_info(session.get_one(t.Model, row.model_id)),
        metric=row.metric,
        positions=row.positions,
        template=row.template,
        parameters=row.parameters,
        scores=tuple(
            Score(s.layer, s.multiplier, s.metric, s.value, s.ci_low, s.ci_high, s.n, s.condition) for s in scores
        ),
        created_at=row.created_at,
        measurements=row.measurements,
        kind=row.kind,
    )
