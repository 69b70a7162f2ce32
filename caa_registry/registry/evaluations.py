"""Evaluations in the registry: measure, store, list."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from caa_registry.catalog import models as t
from caa_registry.errors import NotFoundError, UsageError
from caa_registry.progress import Progress, silent
from caa_registry.registry.datasets import check_split
from caa_registry.registry.models import ensure_model
from caa_registry.registry.records import DatasetVersion, Evaluation, Score, VectorVersion, check_multiplier
from caa_registry.registry.resolve import find_version, model_info
from caa_registry.registry.runs import Activity, record_run
from caa_registry.registry.steer import check_model, record_mismatch
from caa_registry.steering.positions import SteeredPositions, check_positions

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.models.prompts import TemplateName
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
        allow_mismatch: bool = False,
        progress: Progress = silent,
    ) -> Evaluation:
        """Score a vector at every layer and multiplier and store the scores.

        The metric is ``propensity`` where all items answer by a letter or Yes/No, ``propensity_completion`` for free
        text. ``dataset`` defaults to the version the vector was computed from, ``template`` to the one it was
        computed with. ``rows`` takes only the even or the odd rows of the split (counted from 0), so that a layer can
        be chosen on one half and reported on the other. Items whose matching letter is beyond A and B are left out
        and counted; ``paper`` counts them as 0, as the paper does. Re-runs are separate observations.

        Raises ``UsageError`` for an unknown split, layer or template, ``ModelMismatchError`` for another model.
        """
        from caa_registry.evaluation.propensity import prepare
        from caa_registry.evaluation.sweep import sweep

        version = self._registry.vectors.get(vector)
        data = self._registry.datasets.get(dataset if dataset is not None else version.dataset)
        check_split(data, split)
        if not multipliers:
            raise UsageError("no multiplier is given", "For example --multipliers -1,0,1.")
        if rows not in _ROWS:
            raise UsageError(f"there is no half {rows!r}", f"Choose one of {', '.join(_ROWS)}.")
        check_positions(positions)
        steps = sorted({check_multiplier(multiplier) for multiplier in multipliers})
        loaded = self._registry.models.load(model) if isinstance(model, str | Path) else model
        verdict = check_model(version, loaded, allow_mismatch=allow_mismatch)
        stored = self._registry.vectors.load(version)
        wanted = stored.layer_numbers if layers == "all" else sorted(set(layers))
        if not wanted:
            raise UsageError("no layer is given", "For example --layers 0-3,7, or all.")
        loaded.check_layers(wanted)
        rendered = loaded.template(template or version.recipe["template"])
        pairs = [item.pair for item in self._registry.datasets.pairs(data, split)][_ROWS[rows]]
        items = prepare(pairs, rendered, loaded, paper=paper)
        parameters = {
            "template_digest": rendered.digest,
            "dtype": loaded.dtype,
            "layers": wanted,
            "multipliers": steps,
            "rows": rows,
            "paper": paper,
            "beyond_letters": items.beyond,
            "too_long": items.too_long,
            "unscorable": items.unscorable,
            "interval": "percentile bootstrap over items, 95 %",
            "verdict": verdict,
        }
        activity = Activity("evaluate", self._registry.actor, {"split": split, "positions": positions, **parameters})
        cells = sweep(loaded, stored, items, wanted, steps, positions, progress)
        intervals = [(cell, cell.interval) for cell in cells]
        with self._registry.database.write() as session:
            row, _ = ensure_model(session, loaded.info)
            record_mismatch(session, self._registry.actor, version, loaded, verdict)
            evaluation = t.Evaluation(
                vector_version_id=version.id,
                dataset_version_id=data.id,
                split=split,
                model_id=row.id,
                metric=items.metric,
                positions=positions,
                template=rendered.name,
                parameters=parameters,
                created_at=datetime.now(UTC),
            )
            session.add(evaluation)
            session.flush()
            session.add_all(
                t.Score(
                    evaluation_id=evaluation.id,
                    position=place,
                    layer=cell.layer,
                    multiplier=cell.multiplier,
                    metric=items.metric,
                    value=interval.value,
                    ci_low=interval.low,
                    ci_high=interval.high,
                    n=interval.n,
                )
                for place, (cell, interval) in enumerate(intervals)
            )
            record_run(
                session,
                activity,
                inputs=[("vector", version.id), ("dataset", data.id), ("model", row.id)],
                outputs=[("evaluation", evaluation.id)],
                subject={"evaluation": evaluation.id, "vector": version.reference, "dataset": data.reference},
            )
            return _record(session, evaluation)

    def ls(self, vector: str | None = None) -> list[Evaluation]:
        """All evaluations, or those of one vector version, newest last."""
        query = select(t.Evaluation).where(t.Evaluation.deleted_at.is_(None)).order_by(t.Evaluation.id)
        with self._registry.database.read() as session:
            if vector is not None:
                version = find_version(session, vector, "vector")
                query = query.where(t.Evaluation.vector_version_id == version.id)
            return [_record(session, row) for row in session.scalars(query)]

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
    if len({score.multiplier for score in evaluation.scores}) < 2:
        raise UsageError(
            f"evaluation {evaluation.id} has one multiplier, which shows no effect", "Score at least two: -1,0,1."
        )
    by_layer: dict[int, list[Score]] = {}
    for score in evaluation.scores:
        by_layer.setdefault(score.layer, []).append(score)

    def merit(layer: int) -> tuple[bool, float]:
        values = [score.value for score in sorted(by_layer[layer], key=lambda score: score.multiplier)]
        rising = all(low <= high for low, high in itertools.pairwise(values))
        return rising, values[-1] - values[0]

    return max(by_layer, key=merit)


def _record(session: Session, row: t.Evaluation) -> Evaluation:
    vector = session.get_one(t.VectorVersion, row.vector_version_id)
    dataset = session.get_one(t.DatasetVersion, row.dataset_version_id)
    scores = session.scalars(select(t.Score).where(t.Score.evaluation_id == row.id).order_by(t.Score.position))
    return Evaluation(
        id=row.id,
        vector=f"{session.get_one(t.Vector, vector.vector_id).name}:v{vector.number}",
        dataset=f"{session.get_one(t.Dataset, dataset.dataset_id).name}:v{dataset.number}",
        split=row.split,
        model=model_info(session.get_one(t.Model, row.model_id)),
        metric=row.metric,
        positions=row.positions,
        template=row.template,
        parameters=row.parameters,
        scores=tuple(Score(s.layer, s.multiplier, s.metric, s.value, s.ci_low, s.ci_high, s.n) for s in scores),
        created_at=row.created_at,
    )
