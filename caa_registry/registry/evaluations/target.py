"""What an evaluation steers with what, and the questions it asks: looked up, loaded and checked once for all kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict

from caa_registry.errors import UsageError
from caa_registry.pairs.record import Pair, PairItem
from caa_registry.registry.provenance.recalls import warn_of_vector
from caa_registry.registry.records import DatasetVersion, VectorVersion, check_multiplier
from caa_registry.registry.vectors.computation import Computation, computation
from caa_registry.registry.vectors.steering import check_model
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.models.fingerprint import Verdict
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


def reading_of(version: VectorVersion, own: Questions, model: Model, layers: Sequence[int]) -> Computation:
    """How the activations of the pairs that a vector was made from are read again on ``model``."""
    recipe = version.recipe
    return computation(
        own.dataset,
        own.pairs,
        model,
        split=own.split,
        method=recipe.method,
        read=recipe.read,
        layers=layers,
        template=recipe.template,
    )
