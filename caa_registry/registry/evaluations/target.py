"""What an evaluation steers with what, and the questions it asks: looked up, loaded and checked once for all kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from caa_registry.errors import UsageError
from caa_registry.pairs.record import Pair, PairItem
from caa_registry.registry.datasets.datasets import Datasets
from caa_registry.registry.models import Models
from caa_registry.registry.provenance.descent import ancestors
from caa_registry.registry.provenance.recalls import warn_of_vector
from caa_registry.registry.records import CombinedOrigin, DatasetVersion, VectorVersion, check_multiplier, check_split
from caa_registry.registry.rows import vector_records
from caa_registry.registry.vectors.steering import check_model
from caa_registry.registry.vectors.vectors import Vectors
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.models.folder.fingerprint import Verdict
    from caa_registry.models.model import Model
    from caa_registry.vectors import VectorSet


class Recorded(TypedDict):
    """What the settings of every evaluation record of its target."""

    layers: tuple[int, ...]
    multipliers: tuple[float, ...]
    dtype: str
    operator: str
    verdict: str


@dataclass(frozen=True, eq=False)
class Target:
    """What is steered with what. ``layers`` ascending; ``multipliers`` ascending, each once."""

    version: VectorVersion
    vectors: VectorSet
    model: Model
    verdict: Verdict
    layers: tuple[int, ...]
    multipliers: tuple[float, ...]

    @property
    def recorded(self) -> Recorded:
        return Recorded(
            layers=self.layers,
            multipliers=self.multipliers,
            dtype=self.model.dtype,
            operator="add",
            verdict=self.verdict,
        )


@dataclass(frozen=True, eq=False)
class Questions:
    """The pairs of one split of a dataset version, in the order of its source."""

    dataset: DatasetVersion
    split: str
    items: Sequence[PairItem]

    @property
    def pairs(self) -> list[Pair]:
        return [item.pair for item in self.items]


@dataclass(frozen=True, eq=False)
class OwnPairs:
    """The pairs that a vector was made from. ``questions``: of one that was computed, the split that it was computed
    from. ``pairs``: all that are known, of a vector that is made of others those of all of them. ``complete``: whether
    these are all; of an imported vector none are known."""

    questions: Questions | None
    pairs: Sequence[Pair]
    complete: bool

    def computed(self) -> tuple[DatasetVersion, Sequence[Pair]]:
        """What a computed vector was computed from."""
        assert self.questions is not None, "only of a computed vector is this asked"
        return self.questions.dataset, self.pairs


def steps(multipliers: Sequence[float]) -> tuple[float, ...]:
    """``multipliers`` ascending, each once. Raises ``UsageError`` for none, or one that is not a finite number."""
    if not multipliers:
        raise UsageError("no multiplier is given", "For example --multipliers -1,0,1.")
    return tuple(sorted({check_multiplier(multiplier) for multiplier in multipliers}))


def target(
    workspace: Workspace,
    version: VectorVersion,
    vectors: VectorSet,
    model: Model,
    layers: Sequence[int] | Literal["all"],
    multipliers: tuple[float, ...],
    *,
    allow_mismatch: bool,
) -> Target:
    """``version`` with its ``vectors`` on ``model``, at ``multipliers`` as ``steps`` gives them. Warns where the vector
    is quarantined.

    Raises ``UsageError`` for no layer or one that was not computed; ``ModelMismatchError`` for another model, unless
    the mismatch is allowed.
    """
    verdict = check_model(version, model, allow_mismatch=allow_mismatch)
    warn_of_vector(workspace, version)
    chosen = vectors.layer_numbers if layers == "all" else sorted(set(layers))
    if not chosen:
        raise UsageError("no layer is given", "For example --layers 0-3,7, or all.")
    model.check_layers(chosen)
    for layer in chosen:
        vectors[layer]  # refused where it was not computed
    return Target(version, vectors, model, verdict, tuple(chosen), multipliers)


@dataclass(frozen=True)
class Lookup:
    """What requests name: vectors, models, and questions."""

    workspace: Workspace
    datasets: Datasets
    models: Models
    vectors: Vectors

    def model(self, model: str | Path | Model) -> Model:
        """The model, loaded where it is named."""
        return self.models.load(model) if isinstance(model, str | Path) else model

    def target(
        self,
        version: VectorVersion,
        model: str | Path | Model,
        layers: Sequence[int] | Literal["all"],
        multipliers: Sequence[float],
        *,
        allow_mismatch: bool,
    ) -> Target:
        """As ``target`` gives it, of multipliers in any order."""
        ordered = steps(multipliers)  # before a model is loaded
        loaded, vectors = self.model(model), self.vectors.load(version)
        return target(self.workspace, version, vectors, loaded, layers, ordered, allow_mismatch=allow_mismatch)

    def with_split(self, dataset: str | DatasetVersion, split: str) -> DatasetVersion:
        """The version of a dataset. Raises ``UsageError`` where it has no such split."""
        version = self.datasets.get(dataset)
        check_split(version, split)
        return version

    def questions(self, dataset: DatasetVersion, split: str) -> Questions:
        """The pairs of a split."""
        return Questions(dataset, split, self.datasets.pairs(dataset, split))

    def own(self, version: VectorVersion, questions: Questions) -> OwnPairs:
        """The pairs that a vector was made from. Where ``questions`` are the same they are not loaded again."""
        if version.recipe is None:
            return self._of_others(version)
        split = version.recipe.split
        if (version.dataset, split) == (questions.dataset.reference, questions.split):
            return OwnPairs(questions, questions.pairs, complete=True)
        same = version.dataset == questions.dataset.reference
        found = self.questions(questions.dataset if same else self.datasets.get(version.dataset), split)
        return OwnPairs(found, found.pairs, complete=True)

    def _of_others(self, version: VectorVersion) -> OwnPairs:
        """Of a vector with an origin the pairs that the vectors were computed from which it is made of."""
        with self.workspace.database.read() as session:
            versions = vector_records(session, ancestors("vector", version.id))
        makers = [each for each in versions if not isinstance(each.origin, CombinedOrigin)]
        sources = {(each.dataset, each.recipe.split) for each in makers if each.recipe}
        questions = [self.questions(self.datasets.get(name), split) for name, split in sorted(sources)]
        pairs = [pair for each in questions for pair in each.pairs]
        return OwnPairs(None, pairs, complete=all(each.recipe for each in makers))

    def prompts(self, dataset: DatasetVersion, split: str) -> list[str]:
        """The open-ended questions of a split, or the prompts of its pairs."""
        if dataset.kind == "questions":
            return [item.text for item in self.datasets.questions(dataset, split)]
        return [item.pair.prompt for item in self.datasets.pairs(dataset, split)]
