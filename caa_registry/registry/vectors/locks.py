"""Locks of vectors: written from a registry, read from a file, and followed in another registry."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from caa_registry.catalog import models as t
from caa_registry.errors import InputError, ModelMismatchError, NotFoundError, UsageError, one_line
from caa_registry.models.loading import DEMO_MODEL, DTYPES
from caa_registry.pairs.record import Imported
from caa_registry.pairs.source import Source, SourceFile
from caa_registry.progress import Progress
from caa_registry.references import check_new_name
from caa_registry.registry.datasets.recipe import read_recipe, recipe_json, recipe_steps
from caa_registry.registry.datasets.store import NewVersion, load_pairs, register
from caa_registry.registry.models import MORE, PARTS, Models
from caa_registry.registry.provenance.lineage import maker
from caa_registry.registry.provenance.recalls import warn_of_pairs
from caa_registry.registry.provenance.runs import Activity, environment, failure_kept, machine
from caa_registry.registry.records import (
    DatasetVersion,
    FollowedLock,
    Lock,
    LockedDataset,
    LockedLayer,
    LockedModel,
    VectorVersion,
    Verification,
)
from caa_registry.registry.records.lock_text import LARGEST
from caa_registry.registry.rows import dataset_record
from caa_registry.registry.vectors.circumstances import check_alone, environment_differences, part_name
from caa_registry.registry.vectors.computation import Computation, computation
from caa_registry.registry.vectors.store import check_target, store
from caa_registry.registry.vectors.tensors import compared, load_set
from caa_registry.registry.vectors.verification import check_from_pairs, recipe_differences
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.models.folder.fingerprint import ModelInfo
    from caa_registry.models.model import Model
    from caa_registry.registry.datasets.datasets import Datasets

_log = logging.getLogger(__name__)


def lock(workspace: Workspace, datasets: Datasets, version: VectorVersion) -> Lock:
    """The lock of a version, every digest of what goes into it checked. See ``Vectors.lock``."""
    check_from_pairs(version, "Lock")
    vectors = load_set(workspace.blobs, version)
    dataset = datasets.get(f"dataset:{version.dataset}@{version.dataset_digest}")
    with workspace.database.read() as session:
        items = load_pairs(session, dataset.id)
        made = maker(session, ("vector", version.id))
        try:
            recipe = recipe_json(recipe_steps(session, dataset))
        except NotFoundError:  # what it was made from is in another registry
            recipe = None
    return Lock(
        name=version.name,
        number=version.number,
        version_digest=version.digest,
        tensor_digest=version.tensor_digest,
        recipe=version.known_recipe(),
        layers=tuple(
            LockedLayer(layer.layer, layer.sha256, layer.values.astype("<f4").tobytes()) for layer in vectors.layers
        ),
        dataset=LockedDataset(
            dataset.name,
            dataset.number,
            dataset.digest,
            dataset.licence,
            dataset.message,
            dataset.source,
            recipe,
            tuple(items),
        ),
        model=_locked_model(version.known_model()),
        environment=machine(made.environment) if made else {},
    )


def _locked_model(info: ModelInfo) -> LockedModel:
    return LockedModel(
        info.name, info.architecture, info.n_layers, info.d_model, info.fingerprint, info.repo_id, info.revision
    )


def read_lock(path: Path) -> Lock:
    """The lock in a file. Raises ``NotFoundError`` where there is none, ``InputError`` naming the field."""
    name = one_line(str(path), 400)
    try:
        if not path.is_file():
            what = "is not a regular file" if path.exists() else "is missing"
            raise NotFoundError(f"the lock {name} {what}", "Name the file that caa vector lock wrote.")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"it is not UTF-8 (byte {error.start:,})", source=name) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"it cannot be read ({reason})", "Check its name and permissions.", source=name) from error
    found = Lock.from_text(text, name)
    if found.dataset.recipe is not None:
        try:
            read_recipe(found.dataset.recipe, name)
        except UsageError as error:
            raise InputError(error.message, error.hint, source=name, field="dataset.recipe") from error
    return found


@dataclass(frozen=True)
class LockRequest:
    """That a lock is to be followed, as vector ``name``. ``model`` and ``adapter``: where their files are, where the
    lock or the registry does not say it. ``message``: a note for the version. ``fresh``: no activation is taken from
    the cache."""

    lock: Lock
    name: str
    model: str | Path | None
    adapter: str | Path | None
    message: str
    fresh: bool


def follow(
    workspace: Workspace, models: Models, request: LockRequest, reading: Progress, measuring: Progress
) -> FollowedLock:
    """Compute what a lock says and compare; what comes out the same is stored. See ``Vectors.compute_locked``."""
    locked = request.lock
    check_alone("locks are followed")
    there = _checked_target(workspace, request)
    if there is not None:
        warn_of_pairs(workspace, there, locked.recipe.split)
    model = _model(models, request)
    computed = _computation(locked, model, there or _described(locked.dataset))
    activity = Activity(
        "compute",
        workspace.actor,
        {"name": request.name, **computed.recipe.to_json(), "lock": locked.digest, "locked": locked.version_digest},
    )
    pairs = len(computed.pairs)
    differences = tuple(recipe_differences(locked.recipe, computed.recipe))
    if differences:
        return FollowedLock(locked, Verification(locked.reference, pairs, differences, _environment(locked)))
    inputs = [("dataset", there.id)] if there is not None else []
    with failure_kept(workspace, activity, inputs=inputs, subject={"of": request.name}):
        vectors, work = computed.run(fresh=request.fresh, reading=reading, measuring=measuring)
    assert vectors is not None  # of one process
    found = Verification(
        locked.reference,
        pairs,
        environment=_environment(locked),
        layers=tuple(compared(locked.vectors, vectors)),
        dtype=model.dtype,
    )
    if not found.holds:
        return FollowedLock(locked, found)
    dataset = there or _register(workspace, locked)
    version = store(
        workspace, request.name, replace(computed, dataset=dataset), vectors, work, activity, request.message
    )
    return FollowedLock(locked, found, version, dataset)


def _environment(locked: Lock) -> tuple[str, ...]:
    return tuple(environment_differences(locked.environment, environment()))


def _checked_target(workspace: Workspace, request: LockRequest) -> DatasetVersion | None:
    """The dataset version of the lock, where the registry has it under any name, its own first. Raises ``UsageError``
    where the vector or the dataset cannot have its name."""
    locked = request.lock.dataset
    with workspace.database.read() as session:
        check_target(session, request.name)
        row = session.scalar(
            select(t.DatasetVersion)
            .join(t.Dataset, t.Dataset.id == t.DatasetVersion.dataset_id)
            .where(t.DatasetVersion.digest == locked.digest, t.DatasetVersion.deleted_at.is_(None))
            .order_by(t.Dataset.name != locked.name, t.DatasetVersion.id)
            .limit(1)
        )
        if row is not None:
            return dataset_record(session, row)
        kind = session.scalar(select(t.Dataset.kind).where(t.Dataset.name == locked.name))
    if kind is None:
        check_new_name(locked.name)
    elif kind != "pairs":
        raise UsageError(
            f"the lock's dataset is called {locked.name}, and here that is a set of {kind}",
            "Follow the lock in another registry.",
        )
    return None


def _described(locked: LockedDataset) -> DatasetVersion:
    """The version as the lock describes it, before it is in the registry."""
    return DatasetVersion(
        id=0,
        name=locked.name,
        number=locked.number,
        digest=locked.digest,
        kind="pairs",
        n_items=len(locked.items),
        splits=Counter(item.split for item in locked.items),
        source=locked.source,
        licence=locked.licence,
        message=locked.message,
        parent=None,
        created_at=datetime.now(UTC),
    )


def _computation(locked: Lock, model: Model, dataset: DatasetVersion) -> Computation:
    recipe = locked.recipe
    return computation(
        dataset,
        [item.pair for item in locked.dataset.items if item.split == recipe.split],
        model,
        split=recipe.split,
        method=recipe.method,
        read=recipe.read,
        layers=recipe.layers,
        template=recipe.template,
    )


def _model(models: Models, request: LockRequest) -> Model:
    """The lock's model, from where it is said to be, the registry knows it, or a hub has it. Raises
    ``ModelMismatchError`` naming what differs, ``UsageError`` where nobody says where it is."""
    wanted = request.lock.model
    dtype = request.lock.recipe.dtype if request.lock.recipe.dtype in DTYPES else None
    if request.model is not None:
        revision = wanted.revision if str(request.model) == wanted.repo_id else None
        model = models.load(request.model, revision=revision, dtype=dtype, adapter=request.adapter)
    elif (known := _known(models, wanted)) is not None:
        model = models.load_recorded(known, dtype=dtype, adapter=request.adapter)
    elif wanted.repo_id is not None:
        model = models.load(f"hf:{wanted.repo_id}", revision=wanted.revision, dtype=dtype, adapter=request.adapter)
    elif wanted.name == DEMO_MODEL:
        model = models.load(DEMO_MODEL, dtype=dtype, adapter=request.adapter)
    else:
        raise UsageError(
            f"the lock's model {one_line(wanted.name, 100)} is on no hub, and this registry does not know it",
            "Say where its files are: --model FOLDER (--adapter FOLDER).",
        )
    if differing := list(_differing_parts(wanted, model.info)):
        raise ModelMismatchError(
            f"{model.info.name} is not the model of the lock, {one_line(wanted.name, 100)}: "
            f"{' and '.join(differing)} of it {'are' if len(differing) > 1 else 'is'} not the same",
            "Give that model: --model M, with --adapter FOLDER where it has one.",
        )
    return model


def _known(models: Models, wanted: LockedModel) -> ModelInfo | None:
    try:
        return models.get(wanted.fingerprint.digest).info
    except NotFoundError:
        return None


def _differing_parts(wanted: LockedModel, model: ModelInfo) -> Iterator[str]:
    one, other = wanted.fingerprint, model.fingerprint
    for part in (*PARTS, *MORE):
        if getattr(one, part) == getattr(other, part):
            continue
        if part == "weights" and one.tensors is not None and one.tensors == other.tensors:
            _log.warning("%s: its weights lie in other files than the lock says; every tensor is the same.", model.name)
            continue
        yield f"the {part_name(part)}"


def _register(workspace: Workspace, locked: Lock) -> DatasetVersion:
    """Store the pairs of a lock as a version."""
    pairs = locked.dataset
    source = pairs.source
    if source.operation is not None:
        # What it was made from is not here, so that its recipe could not be followed from this registry.
        splits = Counter(item.split for item in pairs.items)
        files = tuple(SourceFile(pairs.reference, locked.digest, split, rows) for split, rows in splits.items())
        source = Source(uri=f"lock:{locked.reference}", format="lock", files=files, card=source.card)
    return register(
        workspace,
        NewVersion(
            Imported("pairs", pairs.items, source, pairs.licence, pairs.source.notes or ()),
            Activity("import", workspace.actor, {"name": pairs.name, "lock": locked.digest, "recipe": pairs.recipe}),
            name=pairs.name,
            behavior=pairs.source.behavior or "",
            message=pairs.message,
        ),
    )
