"""Evaluations in the registry: measure, store, list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from caa_registry.display.bars import ProgressOption, shown
from caa_registry.errors import UsageError
from caa_registry.evaluation.shards import Shard
from caa_registry.progress import part_of
from caa_registry.registry.datasets.datasets import Datasets
from caa_registry.registry.evaluations.calibration.calibrate import MULTIPLIERS, CalibrationRequest, calibrate
from caa_registry.registry.evaluations.comparing.cross import Row, check_crossed, cross
from caa_registry.registry.evaluations.merge import merge
from caa_registry.registry.evaluations.open_ended import generate_answers, open_ended_request
from caa_registry.registry.evaluations.propensity.measurement import measure
from caa_registry.registry.evaluations.propensity.request import propensity_request
from caa_registry.registry.evaluations.ratings import RatingRequest, rate, rate_by_sheet
from caa_registry.registry.evaluations.sharing import Division, usable
from caa_registry.registry.evaluations.side_effects import (
    SideEffectsRequest,
    measure_side_effects,
    neutral_text,
)
from caa_registry.registry.evaluations.stored import StoredEvaluations
from caa_registry.registry.evaluations.target import Lookup, steps
from caa_registry.registry.models import Models
from caa_registry.registry.provenance.aliases import Aliases
from caa_registry.registry.records import (
    Calibrated,
    CalibrationSettings,
    DatasetVersion,
    Evaluation,
    EvaluationVerification,
    Judged,
    OpenEndedSettings,
    PropensitySettings,
    Transferred,
    VectorVersion,
)
from caa_registry.registry.vectors.vectors import Vectors
from caa_registry.registry.workspace import Workspace
from caa_registry.wording import named_layers

if TYPE_CHECKING:
    from caa_registry.evaluation.cross_behavior import CrossBehavior
    from caa_registry.evaluation.open_ended.judging import Judge
    from caa_registry.evaluation.open_ended.rubrics import Rubric
    from caa_registry.models.model import Model


class Evaluations(StoredEvaluations):
    """The evaluations of a registry."""

    def __init__(
        self, workspace: Workspace, datasets: Datasets, models: Models, vectors: Vectors, aliases: Aliases
    ) -> None:
        super().__init__(Lookup(workspace, datasets, models, vectors))
        self._vectors = vectors
        self._aliases = aliases

    def propensity(
        self,
        vector: str | VectorVersion,
        *,
        dataset: str | DatasetVersion | None = None,
        split: str = "test",
        model: str | Path | Model,
        layers: Sequence[int] | Literal["all"] = "all",
        multipliers: Sequence[float] = (-1.0, 0.0, 1.0),
        settings: PropensitySettings = PropensitySettings(),
        shard: Shard | None = None,
        progress: ProgressOption = None,
        reading: ProgressOption = None,
    ) -> Evaluation:
        """Score a vector at every layer and multiplier, with controls beside it, and store the scores and the items.

        The metric is ``propensity`` where all questions are answered by a letter or Yes/No, ``propensity_completion``
        for free text. ``dataset`` defaults to the version that the vector was computed from.

        An interrupted evaluation leaves nothing in the registry, and the same call goes on where it was. Evaluating
        again is a separate observation. ``progress`` counts work, ``reading`` that for vectors of shuffled labels.

        With ``shard`` only that part of the questions is measured and kept; whichever shard is done last stores the
        evaluation, which is that of one call for all. Processes that ``mlx.launch`` or MPI started share the questions
        by themselves, and the first stores.

        Raises ``UsageError`` for an unknown split, layer or template, ``ModelMismatchError`` for another model,
        ``MissingShardsError`` where a shard is done and others are still to come.
        """
        with shown(scores=progress, activations=reading) as (telling, telling_read):
            version = self._vectors.get(vector)
            data = self._lookup.with_split(dataset if dataset is not None else version.known_dataset(), split)
            on = self._lookup.target(version, model, layers, multipliers, allow_mismatch=settings.allow_mismatch)
            questions = self._lookup.questions(data, split)
            own = self._lookup.own(version, questions)
            request = propensity_request(on, questions, own, settings, Division.asked(shard))
            return measure(self._workspace, request, telling, telling_read)

    def side_effects(
        self,
        vector: str | VectorVersion,
        *,
        model: str | Path | Model,
        text: str = "english",
        layers: Sequence[int] | Literal["all"] = "all",
        multipliers: Sequence[float] = (-1.0, 0.0, 1.0),
        allow_mismatch: bool = False,
        shard: Shard | None = None,
        progress: ProgressOption = None,
    ) -> Evaluation:
        """Measure what a vector does to ordinary text, and store it: ``kl``, the KL divergence from the unsteered model
        in nats per token, and ``perplexity``, by layer and multiplier, intervals over passages.

        ``text``: a packaged set, ``english`` or ``demo``, or the path of a text file with one passage a paragraph. All
        of its tokens are steered. An interrupted call leaves nothing in the registry and goes on where it
        was. ``shard`` as in ``propensity``: a part of the passages.
        """
        with shown(scores=progress) as (telling,):
            on = self._lookup.target(
                self._vectors.get(vector), model, layers, multipliers, allow_mismatch=allow_mismatch
            )
            return measure_side_effects(
                self._workspace, SideEffectsRequest(on, neutral_text(text), Division.asked(shard)), telling
            )

    def open_ended(
        self,
        vector: str | VectorVersion,
        *,
        dataset: str | DatasetVersion,
        split: str = "test",
        model: str | Path | Model,
        layers: Sequence[int],
        multipliers: Sequence[float] = (-1.0, 0.0, 1.0),
        settings: OpenEndedSettings = OpenEndedSettings(),
        shard: Shard | None = None,
        progress: ProgressOption = None,
    ) -> Evaluation:
        """Generate answers to open-ended questions, or to the prompts of pairs, at each multiplier, and store them with
        their coherence. The vectors of all ``layers`` are added at once.

        ``rate`` has a judge rate the answers. An interrupted call leaves nothing in the registry and goes on where it
        was. ``shard`` as in ``propensity``.
        """
        with shown(answers=progress) as (telling,):
            version = self._vectors.get(vector)
            data = self._lookup.with_split(dataset, split)
            on = self._lookup.target(version, model, layers, multipliers, allow_mismatch=settings.allow_mismatch)
            request = open_ended_request(
                on, data, split, self._lookup.prompts(data, split), settings, Division.asked(shard)
            )
            return generate_answers(self._workspace, request, telling)

    def transfer(
        self,
        one: str | VectorVersion,
        other: str | VectorVersion,
        *,
        dataset: str | DatasetVersion | None = None,
        split: str = "test",
        layers: Sequence[int] | Literal["all"] = "all",
        multipliers: Sequence[float] = (-1.0, 0.0, 1.0),
        progress: ProgressOption = None,
    ) -> Transferred:
        """How well the vector ``one`` does on the model of ``other``, which has the architecture and the shape of its
        own, such as another quantization of it.

        That is the cosine of the two at every layer that both have, and what each does there on the same questions
        (default: those that ``other`` was computed from), paired. Both are stored as evaluations, without nulls; that
        the model is not the vector's own is recorded.

        Raises ``ModelMismatchError`` for models of another shape, ``UsageError`` as ``propensity`` does, and
        ``NoCommonDoseError`` where the doses of the two have nothing in common; both evaluations are stored then.
        """
        with shown(scores=progress) as (telling,):
            carried, there = self._vectors.get(one), self._vectors.get(other)
            near = self._vectors.compare(carried, there, transfer=True)
            common = [each.layer for each in near]
            chosen = common if layers == "all" else sorted(set(layers))
            if not chosen or not set(chosen) <= set(common):
                raise UsageError(f"both vectors have {named_layers(common)}", "Choose among these.")
            if len(steps(multipliers)) < 2:
                raise UsageError("one multiplier shows no effect", "For example --multipliers -1,0,1.")
            model = self._lookup.models.load_recorded(there.known_model())
            settings = PropensitySettings(controls=(), allow_mismatch=True)
            first, second = (
                self.propensity(
                    version,
                    dataset=dataset if dataset is not None else there.known_dataset(),
                    split=split,
                    model=model,
                    layers=chosen,
                    multipliers=multipliers,
                    settings=settings,
                    progress=part_of(telling, place, (1, 1)),
                )
                for place, version in enumerate((carried, there))
            )
        *_, compared = self.compare(str(first.id), str(second.id))
        return Transferred(tuple(each for each in near if each.layer in chosen), first, second, tuple(compared))

    def merge(self, files: Sequence[str | Path], *, model: str | Path | Model | None = None) -> Evaluation:
        """Store the evaluation whose shards are in ``files``: what ``shard`` kept on several machines.

        ``model`` defaults to the one that was named there; of its weights nothing is read. Raises ``InputError`` for a
        file that is no shard, or one of another evaluation, ``MissingShardsError`` where one is missing.
        """
        paths = tuple(map(Path, files))
        with usable(paths):
            return merge(self._workspace, self._lookup, self._vectors, paths, model)

    def calibrate(
        self,
        vector: str | VectorVersion,
        *,
        dataset: str | DatasetVersion | None = None,
        split: str = "test",
        model: str | Path | Model,
        layers: Sequence[int] | Literal["all"] = "all",
        multipliers: Sequence[float] = MULTIPLIERS,
        settings: CalibrationSettings = CalibrationSettings(),
        progress: ProgressOption = None,
    ) -> Calibrated:
        """Find the layer and multiplier to use, and set an alias there with its evidence.

        Propensity and side effects are measured at every layer and multiplier, and at 0; the cell is chosen by the rule
        of ``evaluation.calibration``. Evaluations that measured the same earlier are used, so that an interrupted call
        goes on where it was. That no cell qualifies is an outcome, not an error. ``dataset`` defaults to the version
        that the vector was computed from.
        """
        with shown(scores=progress) as (telling,):
            version = self._vectors.get(vector)
            data = self._lookup.with_split(dataset if dataset is not None else version.known_dataset(), split)
            on = self._lookup.target(version, model, layers, [0.0, *multipliers], allow_mismatch=False)
            questions = self._lookup.questions(data, split)
            own = self._lookup.own(version, questions)
            request = CalibrationRequest(on, questions, own, neutral_text(settings.text), settings)
            return calibrate(self._workspace, self._aliases, request, telling)

    def cross(
        self,
        vectors: Sequence[str | VectorVersion],
        *,
        model: str | Path | Model,
        layer: int,
        multiplier: float = 1.0,
        split: str = "test",
        progress: ProgressOption = None,
    ) -> tuple[CrossBehavior, list[Evaluation]]:
        """The effect of every vector, from ``-multiplier`` to ``multiplier`` at ``layer``, on the questions of every
        vector's dataset, with the evaluations that it rests on: new ones, or earlier ones that measured the same.

        Raises ``UsageError`` for fewer than two behaviors, or one twice.
        """
        with shown(scores=progress) as (telling,):
            versions = [self._vectors.get(vector) for vector in vectors]
            check_crossed(versions, multiplier)
            loaded = self._lookup.model(model)
            rows = []
            for version in versions:
                on = self._lookup.target(version, loaded, [layer], [-multiplier, multiplier], allow_mismatch=False)
                questions = self._lookup.questions(self._lookup.with_split(version.known_dataset(), split), split)
                rows.append(Row(on, self._lookup.own(version, questions), questions))
            return cross(self._workspace, rows, telling)

    def verify(
        self,
        evaluation: int | str | Evaluation,
        *,
        recompute: bool = False,
        model: str | Path | None = None,
        adapter: str | Path | None = None,
        ratings: bool = True,
        progress: ProgressOption = None,
        reading: ProgressOption = None,
    ) -> EvaluationVerification:
        """Check an evaluation, or the newest of the vector that a reference names: its scores, items, answers and
        ratings, and the vector and the dataset that it was measured with, against every digest.

        With ``recompute`` the model's files are compared with their fingerprint too, every byte of them, and all is
        measured again by the stored settings and compared score by score; nothing that was kept before is used, and no
        evaluation is stored. The outcome is kept as a run. ``model`` and ``adapter``: where their files are now.
        ``ratings``: whether judges that are models on this machine rate the answers again.

        Raises ``IntegrityError`` naming what is not what was stored, ``UsageError`` for what cannot be measured again.
        """
        from caa_registry.registry.evaluations.verification.verification import Repetition, verify

        record = self._named(evaluation) if isinstance(evaluation, str) else self._record(evaluation)
        with shown(scores=progress, activations=reading) as (telling, telling_read):
            again = Repetition(model, adapter, ratings, telling, telling_read) if recompute else None
            return verify(self._lookup, record, again)

    def rate(self, evaluation: Evaluation | int, judge: Judge, progress: ProgressOption = None) -> Judged:
        """Have a judge rate every answer of an open-ended evaluation, and store its ratings; the same answer to the
        same question is rated once.

        Replies that are not a rating are kept and counted. What an interrupted call had rated is not rated again.
        Raises ``JudgeError``; then nothing is stored.
        """
        with shown(ratings=progress) as (telling,):
            return rate(self._workspace, self._to_rate(evaluation), judge, telling)

    def write_sheet(self, evaluation: Evaluation | int, path: Path, *, seed: int = 0, force: bool = False) -> int:
        """Write the answers for people to rate, blind and shuffled; how many rows. See ``open_ended.human_ratings``."""
        from caa_registry.evaluation.open_ended.human_ratings import write_sheet

        return write_sheet(path, self._to_rate(evaluation).answered, seed, force=force)

    def read_sheet(self, evaluation: Evaluation | int, path: Path, *, rater: str, rubric: Rubric) -> Judged:
        """Store the ratings of one person from a sheet."""
        from caa_registry.evaluation.open_ended.human_ratings import rater_identity

        return rate_by_sheet(self._workspace, self._to_rate(evaluation), path, rater_identity(rater, rubric))

    def _to_rate(self, evaluation: Evaluation | int) -> RatingRequest:
        record = self._record(evaluation)
        return RatingRequest(record.id, self.answers(record))
