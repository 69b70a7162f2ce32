"""Evaluations in the registry: measure, store, list."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.errors import NotFoundError, UsageError
from caa_registry.evaluation.control_names import check_controls
from caa_registry.progress import Progress, silent
from caa_registry.registry.datasets import check_split
from caa_registry.registry.evidence import Evidence, Statistic, compare, leaderboard
from caa_registry.registry.measuring import Beside, Request, measure
from caa_registry.registry.records import (
    DatasetVersion,
    Evaluation,
    Score,
    VectorVersion,
    behavior_of,
    check_multiplier,
)
from caa_registry.registry.resolve import find_version, model_info
from caa_registry.registry.steer import check_model, same_weights
from caa_registry.steering.positions import SteeredPositions, check_positions

if TYPE_CHECKING:
    from caa_registry.evaluation.comparison import Compared
    from caa_registry.evaluation.measurements import Measurements
    from caa_registry.models.model import Model
    from caa_registry.models.prompts import TemplateName
    from caa_registry.pairs.record import Pair
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
        version = self._registry.vectors.get(vector)
        data = self._registry.datasets.get(dataset if dataset is not None else version.dataset)
        check_split(data, split)
        if not multipliers:
            raise UsageError("no multiplier is given", "For example --multipliers -1,0,1.")
        if rows not in _ROWS:
            raise UsageError(f"there is no half {rows!r}", f"Choose one of {', '.join(_ROWS)}.")
        check_controls(controls)
        if controls and seeds < 2:
            raise UsageError(f"{seeds} is too few vectors for a control", "20 give a null interval.")
        check_positions(positions)
        steps = sorted({check_multiplier(multiplier) for multiplier in multipliers})
        loaded = self._registry.models.load(model) if isinstance(model, str | Path) else model
        verdict = check_model(version, loaded, allow_mismatch=allow_mismatch)
        stored = self._registry.vectors.load(version)
        wanted = stored.layer_numbers if layers == "all" else sorted(set(layers))
        if not wanted:
            raise UsageError("no layer is given", "For example --layers 0-3,7, or all.")
        loaded.check_layers(wanted)
        for layer in wanted:
            stored[layer]  # refused where it was not computed
        own = [name for name in dict.fromkeys(controls) if name != "shuffled" or same_weights(verdict)]
        request = Request(
            version=version,
            vectors=stored,
            dataset=data,
            split=split,
            half=rows,
            pairs=[item.pair for item in self._registry.datasets.pairs(data, split)][_ROWS[rows]],
            model=loaded,
            verdict=verdict,
            template=loaded.template(template or version.recipe["template"]),
            layers=wanted,
            multipliers=steps,
            positions=positions,
            paper=paper,
            beside=Beside(own, seeds if own else 0, system_positive, system_negative, few_shot),
        )
        return self.get(measure(self._registry, request, progress, reading))

    def questions(self, evaluation: Evaluation) -> list[Pair]:
        """The pairs that an evaluation asked, those that were left out among them: rows of its items count these."""
        items = self._registry.datasets.pairs(evaluation.dataset, evaluation.split)
        return [item.pair for item in items][_ROWS[evaluation.parameters["rows"]]]

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
            return [_record(session, row, t.Score.condition.in_(conditions)) for row in session.scalars(query)]

    def get(self, id: int) -> Evaluation:
        """The evaluation of that number."""
        with self._registry.database.read() as session:
            # Beyond what either database holds as a number there is nothing either.
            row = session.get(t.Evaluation, id) if 0 < id < 2**31 else None
            if row is None or row.deleted_at is not None:
                raise NotFoundError(f"there is no evaluation {id}", "List them with: caa eval ls")
            return _record(session, row)


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
    dataset = session.get_one(t.DatasetVersion, row.dataset_version_id)
    dataset_name = session.get_one(t.Dataset, dataset.dataset_id).name
    query = select(t.Score).where(t.Score.evaluation_id == row.id, *wanted).order_by(t.Score.position)
    scores = session.scalars(query)
    return Evaluation(
        id=row.id,
        vector=f"{session.get_one(t.Vector, vector.vector_id).name}:v{vector.number}",
        dataset=f"{dataset_name}:v{dataset.number}",
        behavior=behavior_of(dataset_name, dataset.source),
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
    )
