"""What is measured beside the vector under test: the nulls, and when they are enough; the vector of an untrained
network."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from caa_registry.errors import UsageError
from caa_registry.progress import Progress, silent
from caa_registry.registry.evaluations.target import OwnPairs, Target
from caa_registry.registry.records import PropensitySettings, VectorVersion
from caa_registry.registry.vectors.computation import recomputation
from caa_registry.registry.vectors.steering import same_weights

if TYPE_CHECKING:
    from caa_registry.evaluation.nulls.directions import Directions
    from caa_registry.evaluation.statistics import Figure
    from caa_registry.evaluation.unfinished import Unfinished
    from caa_registry.extraction.activations import Activations
    from caa_registry.models.model import Model
    from caa_registry.pairs.record import Pair

# How many draws are measured before the next look at whether they are enough.
_LOOKS = (39, 99)
UNTRAINED = "untrained"
"""The condition of the vector of an untrained network."""
_AUC = "untrained auc"


@dataclass(frozen=True)
class Round:
    """The draws of a null from ``first`` up to ``last``, which are measured together. ``name``: what they are kept
    under."""

    null: str
    first: int
    last: int

    @property
    def name(self) -> str:
        return f"{self.null} {self.first}-{self.last}"

    @property
    def work(self) -> int:
        """How many vectors at one multiplier each: every draw at the lowest and the highest."""
        return 2 * (self.last - self.first)


def names_of(target: Target, asked: PropensitySettings) -> tuple[str, ...]:
    """Which nulls are measured. Those that need the activations of the vector's own pairs need these and its own model;
    without them, isotropic directions take the place of the covariance's, and shuffled labels are left out. None where
    there are not two multipliers to tell a change by."""
    if len(target.multipliers) < 2:
        return ()
    names = dict.fromkeys(asked.controls)
    if not same_weights(target.verdict) or target.version.recipe is None:
        names = dict.fromkeys("isotropic" if name == "covariance" else name for name in names if name != "shuffled")
    return tuple(names)


def rounds(null: str, draws: int) -> list[Round]:
    """The draws of a null, in the parts in which they are measured."""
    edges = [0, *(look for look in _LOOKS if look < draws), draws]
    return [Round(null, first, last) for first, last in itertools.pairwise(edges)]


def seed_of(version: VectorVersion, null: str, asked: int | None) -> int:
    """The seed of a null: of the pairs, the model and the recipe that the vector comes from, unless one is given; every
    null has its own. Not of the vector's numbers, whose last bits differ between processors; those of a vector that was
    not computed here are the same everywhere."""
    from caa_registry.digests import digest_object

    made: dict[str, Any]
    if version.recipe is None:
        made = {"vector": version.digest}
    else:
        made = {
            "dataset": version.dataset_digest,
            "model": version.known_model().fingerprint.digest,
            "recipe": replace(version.recipe, normalized=None).to_json(),
        }
    digest = digest_object("null", {"of": made if asked is None else None, "seed": asked or 0, "null": null})
    return int(digest.removeprefix("sha256:")[:15], 16)


def directions(
    target: Target,
    own: OwnPairs,
    names: tuple[str, ...],
    draws: int,
    seed: int | None,
    reading: Progress,
    *,
    fresh: bool = False,
) -> dict[str, Directions]:
    """The vectors of every null, by name. Of several processes the first has all activations, and makes them for
    all. With ``fresh`` no activation is taken from the cache."""
    from caa_registry.engine.reading import Work
    from caa_registry.evaluation.nulls.directions import isotropic

    seeds = {name: seed_of(target.version, name, seed) for name in names}
    made: dict[str, Directions] = {}
    if "isotropic" in names:
        made["isotropic"] = isotropic(target.vectors, target.layers, draws, seeds["isotropic"])
    if set(names) - {"isotropic"}:
        computation = recomputation(target.version, *own.computed(), target.model, target.layers)
        with computation.activations(Work(), fresh=fresh, progress=reading) as activations:
            for name in names:
                if name != "isotropic":
                    made[name] = _from_pairs(name, target, computation.texts, activations, draws, seeds[name])
    return {name: made[name] for name in names}


@dataclass(frozen=True, eq=False)
class Untrained:
    """What the vector's recipe makes of the same pairs on an untrained network. ``vectors``: float32 ``(1, d_model)``
    by layer; ``auc``: by layer the separation of held-out pairs, and how many clusters of pairs it rests on; empty
    where it was not measured."""

    vectors: Directions
    auc: Mapping[int, tuple[float, int]]


def check_untrained(target: Target, asked: PropensitySettings) -> None:
    """Raise ``UsageError`` where an untrained network is asked for and cannot stand beside the vector."""
    if not asked.untrained:
        return
    if not same_weights(target.verdict):
        raise UsageError(
            f"{target.model.info.name} is not the model that {target.version.reference} was computed on, so an "
            "untrained network of its shape is no baseline",
            "Leave out --untrained, or evaluate on the vector's own model.",
        )
    if target.version.known_recipe().normalized:
        raise UsageError(
            f"the length of {target.version.reference} comes from other vectors, which an untrained network does not "
            "have",
            "Leave out --untrained, or evaluate the vector that was normalized.",
        )


def untrained_vector(
    target: Target, own: OwnPairs, network: Model, reading: Progress, *, fresh: bool = False
) -> Untrained:
    """Compute it on ``network``. Of several processes the first makes it, for all. ``fresh`` as of ``directions``."""
    import numpy as np

    from caa_registry.engine import processes

    computation = recomputation(target.version, *own.computed(), network, target.layers)
    computed, _ = computation.run(fresh=fresh, reading=reading, measuring=silent)
    zeros = np.zeros((1, network.d_model), np.float32)
    vectors = {layer: computed[layer].values[None] if computed else zeros for layer in target.layers}
    if processes.count() > 1:
        vectors = {layer: processes.floats_from_first(values) for layer, values in vectors.items()}
    qualities = {vector.layer: vector.quality for vector in computed.layers} if computed else {}
    return Untrained(vectors, {layer: (q.auc, q.clusters or 0) for layer, q in qualities.items() if q})


def keep_auc(unfinished: Unfinished, made: Untrained) -> None:
    """Keep the separation beside what is measured."""
    if not unfinished.kept(_AUC):
        unfinished.add(_AUC, {"layers": [[layer, repr(auc), n] for layer, (auc, n) in made.auc.items()]})


def aucs(unfinished: Unfinished) -> list[Figure]:
    """The separation by layer, as it was kept."""
    from caa_registry.evaluation.inference.intervals import Interval
    from caa_registry.evaluation.statistics import Figure

    layers = [layer for kept in unfinished.kept(_AUC)[:1] for layer in kept["layers"]]
    return [Figure(UNTRAINED, layer, None, "auc", Interval(float(auc), None, None, n)) for layer, auc, n in layers]


def _from_pairs(
    name: str, target: Target, pairs: Sequence[Pair], activations: Activations, draws: int, seed: int
) -> Directions:
    import numpy as np

    from caa_registry.engine import processes
    from caa_registry.evaluation.nulls.directions import covariance, shuffled
    from caa_registry.extraction.grouping import Grouping

    made: Directions = {layer: np.zeros((draws, target.model.d_model), np.float32) for layer in target.layers}
    if processes.rank() == 0:
        if name == "covariance":
            made = covariance(target.vectors, activations, target.layers, draws, seed)
        else:
            method, grouping = target.version.known_recipe().method, Grouping.of(pairs)
            made = shuffled(target.vectors, activations, method, grouping, target.layers, draws, seed)
    if processes.count() == 1:
        return made
    return {layer: processes.floats_from_first(values) for layer, values in made.items()}
