"""Whether a vector version is what it says: its digests and its pairs, and what its recipe gives from them now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from caa_registry.errors import UsageError
from caa_registry.progress import Progress
from caa_registry.registry.models import Models
from caa_registry.registry.provenance.runs import Activity
from caa_registry.registry.records import CombinedOrigin, RecomputedLayer, VectorVersion, Verification
from caa_registry.registry.vectors.circumstances import (
    Places,
    check_alone,
    environment_since,
    loaded,
    model_differences,
    of_another_kind,
    record,
)
from caa_registry.registry.vectors.computation import recomputation
from caa_registry.registry.vectors.tensors import compared, load_set
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.pairs.record import Pair
    from caa_registry.registry.datasets.datasets import Datasets
    from caa_registry.registry.records import DatasetVersion, Recipe
    from caa_registry.vectors import VectorSet


@dataclass(frozen=True)
class VerificationRequest:
    """What is checked: a ``version``, with the ``stored`` numbers, the pairs and the split that it was made from."""

    version: VectorVersion
    stored: VectorSet
    dataset: DatasetVersion
    pairs: list[Pair]


def requested(workspace: Workspace, version: VectorVersion, datasets: Datasets) -> VerificationRequest:
    """The version with all that it was made from, every digest checked. Raises ``IntegrityError`` naming what is not
    what was stored."""
    stored = load_set(workspace.blobs, version, cached=False)
    dataset = datasets.get(f"{version.dataset}@{version.dataset_digest}")
    split = version.known_recipe().split
    return VerificationRequest(version, stored, dataset, [item.pair for item in datasets.pairs(dataset, split)])


def check_recomputable(version: VectorVersion) -> None:
    """Raise ``UsageError`` for a version that no pairs and model give alone, and under a launcher."""
    check_alone("vectors are verified")
    check_from_pairs(version, "Recompute")


def check_from_pairs(version: VectorVersion, instead: str) -> None:
    """Raise ``UsageError`` for a version that was not computed from pairs here: one that comes from a file, or that is
    made from others. ``instead``: what to do with those."""
    if isinstance(version.origin, CombinedOrigin):
        raise UsageError(
            f"{version.reference} is made from other vectors and not from pairs",
            f"{instead} the vectors that it was made from: caa lineage {version.reference}",
        )
    normalized = version.known_recipe().normalized
    if normalized is not None:
        raise UsageError(
            f"{version.reference} is a normalized vector, made from another and not from pairs",
            f"{instead} the vector that it was made from: the one with the digest {normalized.of[:19]}.",
        )


def recompute(
    workspace: Workspace,
    request: VerificationRequest,
    models: Models,
    places: Places,
    reading: Progress,
    measuring: Progress,
) -> Verification:
    """Compute the version again from its pairs on its model and compare layer by layer. The outcome is kept as a
    run."""

    version = request.version
    info, recipe = version.known_model(), version.known_recipe()
    workspace.database.check_writable()
    activity = Activity("verify", workspace.actor, {})
    differences = model_differences(models, info, places)
    model = loaded(models, info, recipe.dtype, places)
    layers: tuple[RecomputedLayer, ...] = ()
    if another := of_another_kind(info, model.info):
        differences.append(another)
    else:
        again = recomputation(version, request.dataset, request.pairs, model, version.layer_numbers)
        differences += recipe_differences(recipe, again.recipe)
        vectors, _ = again.run(fresh=True, reading=reading, measuring=measuring)
        assert vectors is not None  # of one process
        layers = tuple(compared(request.stored, vectors))
    found = Verification(
        version.reference,
        len(request.pairs),
        tuple(differences),
        environment_since(workspace, ("vector", version.id)),
        layers,
        model.dtype,
    )
    outcome = {
        "holds": found.holds,
        "differences": list(found.differences),
        "layers": [[each.layer, each.same_bits, each.cosine, each.difference] for each in found.layers],
    }
    subject = {"vector": version.reference, "digest": version.digest}
    return replace(found, run=record(workspace, activity, ("vector", version.id), outcome, subject))


_RECIPE = {
    "template_digest": "prompts are rendered with another template",
    "pairs": "it is computed from {new} pairs, and was from {old}",
    "skipped_too_long": "{new} pairs are too long for the model, and {old} were",
    "dtype": "it is computed in {new}, and was in {old}",
    "rendering": "this version of caa renders prompts otherwise",
}


def recipe_differences(stored: Recipe, again: Recipe) -> Iterator[str]:
    """What a recipe comes to otherwise now, in words."""
    for name, words in _RECIPE.items():
        old, new = getattr(stored, name), getattr(again, name)
        if old != new:
            yield words.format(old=old, new=new)
