"""Plans in the registry: made before anything is measured, and run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from caa_registry.display.bars import ProgressOption, shown
from caa_registry.errors import ModelMismatchError, NotFoundError, UsageError
from caa_registry.pairs.halves import half_of
from caa_registry.references import Kind
from caa_registry.registry.datasets.datasets import Datasets
from caa_registry.registry.evaluations.plans import store
from caa_registry.registry.evaluations.plans.outcome import outcome
from caa_registry.registry.evaluations.plans.standing import asked_before
from caa_registry.registry.evaluations.propensity.measurement import measure
from caa_registry.registry.evaluations.propensity.request import propensity_request
from caa_registry.registry.evaluations.sharing import Division
from caa_registry.registry.evaluations.target import Lookup, steps
from caa_registry.registry.models import Models
from caa_registry.registry.records import (
    DatasetVersion,
    Evaluation,
    Listing,
    Pinned,
    Plan,
    PlannedOutcome,
    PlannedRecipe,
    PlanSettings,
    RecordedPropensity,
    Terms,
    ToCompute,
    VectorVersion,
)
from caa_registry.registry.vectors.vectors import Vectors
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.progress import Progress


_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Asked:
    """What a plan is asked to freeze beside its vector."""

    dataset: str | DatasetVersion | None
    split: str
    model: str | Path | Model | None
    layers: Sequence[int] | Literal["all"]
    multipliers: tuple[float, ...]
    settings: PlanSettings


@dataclass(frozen=True, eq=False)
class _Understood:
    """What was asked, looked up. ``inputs``: what the plan names, by kind and id."""

    terms: Terms
    model: Model
    inputs: list[tuple[str, int]]


class Plans:
    """The plans of a registry. A plan never changes, and its digest stands in the audit."""

    def __init__(self, workspace: Workspace, datasets: Datasets, models: Models, vectors: Vectors) -> None:
        self._workspace = workspace
        self._datasets = datasets
        self._models = models
        self._vectors = vectors
        self._lookup = Lookup(workspace, datasets, models, vectors)

    def make(
        self,
        name: str,
        vector: str | VectorVersion | ToCompute,
        *,
        dataset: str | DatasetVersion | None = None,
        split: str = "test",
        model: str | Path | Model | None = None,
        layers: Sequence[int] | Literal["all"] = "all",
        multipliers: Sequence[float] = (-1.0, 0.0, 1.0),
        settings: PlanSettings = PlanSettings(),
    ) -> Plan:
        """Store what is to be measured and what must come of it, before it is.

        ``dataset`` defaults to the version that the vector is computed from, ``model`` to the one that it was computed
        on; a vector to be computed needs one. What is named is looked up and pinned by its digest. Nothing is measured.
        The same plan under the same name returns the one that exists.

        Raises ``UsageError`` for a name in use, for what does not fit, and for conditions that can never be met.
        """
        store.check_free(self._workspace, name)
        asked = _Asked(dataset, split, model, layers, steps(multipliers), settings)
        _check_statistic(settings, asked.multipliers)
        understood = self._of_recipe(vector, asked) if isinstance(vector, ToCompute) else self._of_vector(vector, asked)
        terms = understood.terms
        if len(terms.layers) > 1 and "null" not in settings.conditions:
            raise UsageError(
                f"the largest of {len(terms.layers)} layers is large by chance, and no condition counts that",
                "Plan one layer, or keep the condition null.",
            )
        return store.store(self._workspace, name, terms, understood.model.info, understood.inputs)

    def get(self, reference: str) -> Plan:
        """The plan of that name, or whose digest begins so (``sha256:`` and at least 8 digits). Raises
        ``NotFoundError``."""
        return store.get(self._workspace, reference)

    def ls(self, *, limit: int | None = None) -> Listing[Plan]:
        """All plans, newest last; the newest ``limit`` of them."""
        return store.ls(self._workspace, limit)

    def asked_before(self, plan: Plan) -> int | None:
        """The first evaluation that had asked the plan's vector its questions before the plan: then nothing that
        follows the plan is confirmatory."""
        return asked_before(self._workspace, plan)

    def run(
        self,
        plan: str | Plan,
        *,
        model: str | Path | Model | None = None,
        progress: ProgressOption = None,
        reading: ProgressOption = None,
    ) -> Evaluation:
        """Measure what a plan says, exactly so, and store the evaluation. Its vector is computed first, where it is a
        recipe.

        ``model`` says where the model is, by default where it was last seen. An interrupted run goes on where it was. A
        plan may be run again: that is a further run of it, and all of them are shown.

        Raises ``NotFoundError`` where a version is gone, ``ModelMismatchError`` for another model than the plan's, and
        ``UsageError`` where its template writes otherwise now.
        """
        with shown(scores=progress, activations=reading) as (telling, telling_read):
            record = self.get(plan) if isinstance(plan, str) else plan
            terms = record.terms
            now = store.names_now(self._workspace, record)
            with _all_there(record):
                data = self._datasets.get(_reference("dataset", terms.dataset, now))
                loaded = self._model(record, model)
                version = self._vector(record, loaded, now, telling_read)
            on = self._lookup.target(version, loaded, terms.layers, terms.multipliers, allow_mismatch=False)
            questions = self._lookup.questions(data, terms.split)
            own = self._lookup.own(version, questions)
            asked = propensity_request(on, questions, own, terms.settings.measured(), Division.asked(None))
            if asked.template_digest != terms.template_digest:
                raise UsageError(
                    f"plan {record.name} cannot be run: template {asked.template.name} writes questions otherwise now",
                    "Run it with the release that made it.",
                )
            return measure(self._workspace, replace(asked, plan=record), telling, telling_read)

    def outcome(self, evaluation: Evaluation) -> PlannedOutcome:
        """What a run of a plan comes to. Raises ``UsageError`` for an evaluation without one."""
        recorded = evaluation.settings
        if not isinstance(recorded, RecordedPropensity) or not recorded.plan:
            raise UsageError(f"evaluation {evaluation.id} follows no plan", "List plans with: caa eval plans")
        return outcome(self._workspace, self.get(recorded.plan), evaluation)

    def _of_vector(self, vector: str | VectorVersion, asked: _Asked) -> _Understood:
        version = self._vectors.get(vector)
        data = self._lookup.with_split(version.known_dataset() if asked.dataset is None else asked.dataset, asked.split)
        model = asked.model
        loaded = self._models.load_recorded(version.known_model()) if model is None else self._lookup.model(model)
        on = self._lookup.target(version, loaded, asked.layers, asked.multipliers, allow_mismatch=False)
        questions = self._lookup.questions(data, asked.split)
        own = self._lookup.own(version, questions)
        if not own.complete:
            _log.warning(
                "Not all pairs that %s was made from are known, so the condition leaks cannot be met and no run is "
                "confirmatory.",
                version.reference,
            )
        request = propensity_request(on, questions, own, asked.settings.measured(), Division.asked(None))
        terms = Terms(
            vector=Pinned(version.name, version.digest),
            recipe=None,
            model=loaded.info.fingerprint.digest,
            dataset=Pinned(data.name, data.digest),
            split=asked.split,
            layers=on.layers,
            multipliers=on.multipliers,
            template_digest=request.template_digest,
            settings=replace(asked.settings, template=request.template.name, controls=request.beside.controls),
        )
        return _Understood(terms, loaded, [("vector", version.id), ("dataset", data.id)])

    def _of_recipe(self, vector: ToCompute, asked: _Asked) -> _Understood:
        if asked.model is None:
            raise UsageError("a vector to be computed needs a model", "Give --model M.")
        pairs, recipe, loaded = self._vectors.recipe(
            vector.name,
            dataset=vector.dataset,
            model=asked.model,
            split=vector.split,
            method=vector.method,
            read=vector.read,
            template=asked.settings.template,
        )
        data = self._lookup.with_split(pairs if asked.dataset is None else asked.dataset, asked.split)
        layers = recipe.layers if asked.layers == "all" else tuple(sorted(set(asked.layers)))
        loaded.check_layers(layers)
        items = half_of(self._datasets.pairs(data, asked.split), asked.settings.rows)
        rendering = loaded.template(recipe.template).rendering(system=any(item.pair.system for item in items))
        terms = Terms(
            vector=None,
            recipe=PlannedRecipe(
                vector.name,
                Pinned(pairs.name, pairs.digest),
                recipe.split,
                recipe.method,
                recipe.read,
                recipe.template,
            ),
            model=loaded.info.fingerprint.digest,
            dataset=Pinned(data.name, data.digest),
            split=asked.split,
            layers=layers,
            multipliers=asked.multipliers,
            template_digest=rendering.digest,
            settings=replace(asked.settings, template=recipe.template),
        )
        return _Understood(terms, loaded, [("dataset", id) for id in dict.fromkeys((pairs.id, data.id))])

    def _model(self, plan: Plan, model: str | Path | Model | None) -> Model:
        planned = plan.terms.model
        if model is None:
            loaded = self._models.load_recorded(self._models.get(planned).info)
        else:
            loaded = self._lookup.model(model)
        if loaded.info.fingerprint.digest != planned:
            raise ModelMismatchError(
                f"plan {plan.name} cannot be run on {loaded.info.name}: its fingerprint is "
                f"{loaded.info.fingerprint.digest[:19]}, and the plan's is {planned[:19]}",
                "Give the model that was planned: --model M.",
            )
        return loaded

    def _vector(self, plan: Plan, model: Model, now: Callable[[Kind, str], str], reading: Progress) -> VectorVersion:
        recipe = plan.terms.recipe
        if recipe is None:
            assert plan.terms.vector is not None
            return self._vectors.get(_reference("vector", plan.terms.vector, now))
        return self._vectors.compute(
            now("vector", recipe.name),
            dataset=self._datasets.get(_reference("dataset", recipe.dataset, now)),
            model=model,
            split=recipe.split,
            method=recipe.method,
            read=recipe.read,
            template=recipe.template,
            progress=reading,
        )


def _reference(kind: Kind, pinned: Pinned, now: Callable[[Kind, str], str]) -> str:
    """What a plan names, which may have been renamed since."""
    return f"{kind}:{now(kind, pinned.name)}@{pinned.digest}"


@contextmanager
def _all_there(plan: Plan) -> Iterator[None]:
    """Say of what is gone that the plan cannot be run without it."""
    try:
        yield
    except NotFoundError as error:
        raise NotFoundError(f"plan {plan.name} cannot be run: {error.message}", error.hint) from error


def _check_statistic(settings: PlanSettings, multipliers: tuple[float, ...]) -> None:
    if len(multipliers) < 2:
        raise UsageError("one multiplier shows no effect", "Plan at least two: -1,0,1.")
    if settings.statistic == "steerability" and not multipliers[0] < 0 < multipliers[-1]:
        raise UsageError(
            f"a slope is planned over multipliers of one sign, {multipliers[0]:g} to {multipliers[-1]:g}",
            "Plan multipliers on both sides of 0, such as -1,0,1, or the effect.",
        )
