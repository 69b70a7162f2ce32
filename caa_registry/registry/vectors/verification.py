"""Whether a vector version is what it says: its digests and its pairs, and what its recipe gives from them now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caa_registry.errors import UsageError
from caa_registry.models.folder.fingerprint import compare
from caa_registry.models.loading import DTYPES
from caa_registry.progress import Progress
from caa_registry.registry.models import Models
from caa_registry.registry.provenance.lineage import maker
from caa_registry.registry.provenance.runs import Activity, environment, machine, record_run
from caa_registry.registry.records import RecomputedLayer, VectorVersion, Verification
from caa_registry.registry.vectors.computation import recomputation
from caa_registry.registry.vectors.tensors import compared, load_set
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.models.folder.fingerprint import ModelInfo
    from caa_registry.models.model import Model
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


@dataclass(frozen=True)
class Places:
    """Where the files of a ``model`` and of its ``adapter`` are."""

    model: str
    adapter: str | None

    @classmethod
    def of(cls, info: ModelInfo, model: str | Path | None, adapter: str | Path | None) -> Places:
        """Those that are given, else where the recorded model was last seen."""
        return cls(str(model or Models.where(info)), str(adapter) if adapter else info.adapter_path)


def requested(workspace: Workspace, version: VectorVersion, datasets: Datasets) -> VerificationRequest:
    """The version with all that it was made from, every digest checked. Raises ``IntegrityError`` naming what is not
    what was stored."""
    stored = load_set(workspace.blobs, version)
    dataset = datasets.get(f"{version.dataset}@{version.dataset_digest}")
    return VerificationRequest(
        version, stored, dataset, [item.pair for item in datasets.pairs(dataset, version.recipe.split)]
    )


def check_recomputable(version: VectorVersion) -> None:
    """Raise ``UsageError`` for a version that no pairs and model give alone, and under a launcher."""
    from caa_registry.engine import processes

    if processes.count() > 1:
        raise UsageError("vectors are verified by one process", "Run the command without a launcher.")
    if version.recipe.normalized is not None:
        raise UsageError(
            f"{version.reference} is a normalized vector, made from another and not from pairs",
            f"Recompute the vector that it was made from: the one with the digest {version.recipe.normalized.of[:19]}.",
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
    activity = Activity("verify", workspace.actor, {})
    parts = models.verify(version.model.fingerprint.digest, place=places.model, adapter=places.adapter)
    differences = [_of_model(version, part, places.model) for part in parts if not parts[part]]
    model = _loaded(models, version, places)
    layers: tuple[RecomputedLayer, ...] = ()
    if compare(version.model, model.info) == "mismatch":
        differences.append(f"{model.info.name} is another model: {model.info.architecture}, {model.n_layers} layers")
    else:
        again = recomputation(version, request.dataset, request.pairs, model, version.layer_numbers)
        differences += _of_recipes(version.recipe, again.recipe)
        vectors, _ = again.run(fresh=True, reading=reading, measuring=measuring)
        assert vectors is not None  # of one process
        layers = tuple(compared(request.stored, vectors))
    with workspace.database.read() as session:
        made = maker(session, ("vector", version.id))
    found = Verification(
        version.reference,
        len(request.pairs),
        tuple(differences),
        tuple(_of_environments(machine(made.environment), environment())) if made else (),
        layers,
        model.dtype,
    )
    return replace(found, run=_record(workspace, activity, version, found))


def _record(workspace: Workspace, activity: Activity, version: VectorVersion, found: Verification) -> int:
    """Keep the outcome as a run; its number."""
    outcome = {
        "holds": found.holds,
        "differences": list(found.differences),
        "layers": [[each.layer, each.same_bits, each.cosine, each.difference] for each in found.layers],
    }
    verdict = "holds" if found.holds else "does not hold"
    with workspace.database.write() as session:
        return record_run(
            session,
            replace(activity, parameters=outcome),
            inputs=[("vector", version.id)],
            subject={"vector": version.reference, "digest": version.digest, "verdict": verdict},
        )


# What the parts of a fingerprint are called.
_PARTS = {"chat_template": "chat template", "files": "other files that decide what is computed"}
_MANY = {"weights", "files"}
_RECIPE = {
    "template_digest": "prompts are rendered with another template",
    "pairs": "it is computed from {new} pairs, and was from {old}",
    "skipped_too_long": "{new} pairs are too long for the model, and {old} were",
    "dtype": "it is computed in {new}, and was in {old}",
    "rendering": "this version of caa renders prompts otherwise",
}


def _of_model(version: VectorVersion, part: str, place: str) -> str:
    """That a part of a model differs, with the files that it is in."""
    from caa_registry.models.folder.fingerprint import weight_files
    from caa_registry.models.loading import locate

    which = _PARTS.get(part, part)
    if part == "weights":
        files = [file.name for file in weight_files(locate(place, version.model.revision)[0])]
        which += f" ({files[0]})" if len(files) == 1 else f" (in one of {', '.join(files)})"
    return f"the {which} of model {version.model.name} {'are' if part in _MANY else 'is'} not what was recorded"


def _loaded(models: Models, version: VectorVersion, places: Places) -> Model:
    dtype = version.recipe.dtype if version.recipe.dtype in DTYPES else None
    return models.load(places.model, revision=version.model.revision, dtype=dtype, adapter=places.adapter)


def _of_recipes(stored: Recipe, again: Recipe) -> Iterator[str]:
    for name, words in _RECIPE.items():
        old, new = getattr(stored, name), getattr(again, name)
        if old != new:
            yield words.format(old=old, new=new)


def _of_environments(before: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> Iterator[str]:
    """What is otherwise, in words such as ``mlx 0.32.3 before, 0.32.4 now``."""
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _of_environments(old, new, "" if key == "packages" else f"{key} ")
        elif old != new:
            yield f"{within}{key} {old or 'none'} before, {new or 'none'} now"
