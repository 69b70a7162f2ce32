"""Vectors in the registry: compute, store, read back.

A listing needs little of this, so what one method needs is imported by that method.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from caa_registry.display.bars import ProgressOption, shown
from caa_registry.display.listing import Listing
from caa_registry.errors import RegistryError
from caa_registry.pairs.record import checked_text
from caa_registry.references import check_new_name
from caa_registry.registry.provenance.recalls import warn_of_pairs
from caa_registry.registry.records import Recipe, VectorVersion, check_multiplier, check_split
from caa_registry.registry.rows import vector_record
from caa_registry.registry.vectors.stored import StoredVectors, noted
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.extraction.methods import Method
    from caa_registry.formats.imported import ImportedVectors
    from caa_registry.models.model import Model
    from caa_registry.models.read_position import ReadPosition
    from caa_registry.models.rendering.prompts import TemplateName
    from caa_registry.registry.datasets.datasets import Datasets
    from caa_registry.registry.models import Models
    from caa_registry.registry.records import CombineOperation, DatasetVersion, FollowedLock, Lock, Verification
    from caa_registry.registry.vectors.computation import Computation
    from caa_registry.registry.vectors.store import Making


_log = logging.getLogger(__name__)


class Vectors(StoredVectors):
    """The steering vectors of a registry. ``datasets`` is asked for when the first vector is computed."""

    def __init__(self, workspace: Workspace, datasets: Callable[[], Datasets], models: Models) -> None:
        super().__init__(workspace)
        self._datasets = datasets
        self._models = models

    def compute(
        self,
        name: str,
        *,
        dataset: str | DatasetVersion,
        model: str | Path | Model,
        split: str | None = None,
        method: Method = "mean-difference",
        read: ReadPosition | None = None,
        layers: Sequence[int] | Literal["all"] = "all",
        template: TemplateName | None = None,
        message: str = "",
        force: bool = False,
        progress: ProgressOption = None,
        measuring: ProgressOption = None,
    ) -> VectorVersion:
        """Compute vectors from the pairs of a dataset and store them as a new version of ``name``.

        ``method``: ``mean-difference`` (the paper), ``pca``, ``logistic`` or ``lda`` (``extraction/estimators``).
        ``split`` defaults to ``generate``, or to the only split there is. ``read`` defaults to ``answer`` for letters
        and Yes/No, ``last`` for free text; ``template`` to the model's chat template, else ``plain``. ``message``: a
        note for the version. The same recipe
        under the same name returns the version that exists, and nothing is computed; with ``force`` all is read and
        computed again and the version comes back with a ``comparison`` of the two.

        Activations are kept in a cache on disk (``settings.activation_cache``): another method on the same pairs reads
        none of them again, and what was interrupted goes on where it was. ``progress`` counts tokens,
        ``measuring`` the layers whose vectors are made and measured. Nothing is written to the registry before all is
        computed; the version then appears whole or not at all.

        In processes that ``mlx.launch`` or MPI started, each reads a part of the pairs and the first stores the
        version. All of them must reach the registry.
        """
        from caa_registry.engine.processes import wait_for_all
        from caa_registry.registry.provenance.runs import Activity, failure_kept
        from caa_registry.registry.vectors.rendering import warn_of_earlier
        from caa_registry.registry.vectors.store import Making, store
        from caa_registry.registry.vectors.tensors import compare

        checked_text(message, field="message")
        with shown(activations=progress, layers=measuring) as (telling_read, telling_made):
            request = self._request(name, dataset, model, split, method, read, layers, template)
            making = Making.of(request)
            existing = self._find(name, making)
            if existing is not None and not force:
                return noted(existing, message)
            if existing is None and request.recipe.rendering:
                with self._workspace.database.read() as session:
                    warn_of_earlier(session, name, making, request.recipe)
            if request.left_out:
                _log.warning("%s Nothing is truncated.", request.left_out)
            activity = Activity("compute", self._workspace.actor, {"name": name, **request.recipe.to_json()})
            version: VectorVersion | None = None
            with failure_kept(
                self._workspace,
                activity,
                inputs=[("dataset", request.dataset.id)],
                subject={"of": name, "dataset": request.dataset.reference},
            ):
                vectors, reading = request.run(fresh=force, reading=telling_read, measuring=telling_made)
                try:
                    if vectors is not None and existing is not None:
                        version = replace(existing, reading=reading, comparison=compare(self.load(existing), vectors))
                    elif vectors is not None:
                        version = store(self._workspace, name, request, vectors, reading, activity, message)
                finally:
                    wait_for_all()
            # Of several processes only the first stores; the others find it there.
            version = version or self._find(name, making)
            if version is None:
                raise RegistryError("the first process stored no version", "Its own message says why.")
            return noted(version, message)

    def recipe(
        self,
        name: str,
        *,
        dataset: str | DatasetVersion,
        model: str | Path | Model,
        split: str | None = None,
        method: Method = "mean-difference",
        read: ReadPosition | None = None,
        template: TemplateName | None = None,
    ) -> tuple[DatasetVersion, Recipe, Model]:
        """How ``compute`` would make a vector at all layers, from which version on which model. Nothing is
        computed."""
        request = self._request(name, dataset, model, split, method, read, "all", template)
        return request.dataset, request.recipe, request.model

    def _request(
        self,
        name: str,
        dataset: str | DatasetVersion,
        model: str | Path | Model,
        split: str | None,
        method: Method,
        read: ReadPosition | None,
        layers: Sequence[int] | Literal["all"],
        template: TemplateName | None,
    ) -> Computation:
        """What ``compute`` is asked for, looked up and loaded; nothing is computed."""
        from caa_registry.extraction.methods import check_method
        from caa_registry.models.read_position import check_read
        from caa_registry.registry.vectors.computation import computation, default_split
        from caa_registry.registry.vectors.store import check_target

        with self._workspace.database.read() as session:
            check_target(session, name)
        check_method(method)  # a slip of the pen is said before a model is loaded
        if read is not None:
            check_read(read)
        datasets = self._datasets()
        version = datasets.get(dataset)
        chosen = split or default_split(version)
        check_split(version, chosen)
        warn_of_pairs(self._workspace, version, chosen)
        pairs = [item.pair for item in datasets.pairs(version, chosen)]
        loaded = self._models.load(model) if isinstance(model, str | Path) else model
        return computation(
            version, pairs, loaded, split=chosen, method=method, read=read, layers=layers, template=template
        )

    def import_(
        self,
        paths: str | Path | Sequence[str | Path],
        *,
        name: str,
        model: str | Path | Model | None = None,
        adapter: str | Path | None = None,
        format: str | None = None,
        layer: int | None = None,
        row: int | None = None,
        behavior: str = "",
        message: str = "",
        progress: ProgressOption = None,
    ) -> VectorVersion:
        """Store the vector of another tool as a new version of ``name``: a file, several with its layers, or a folder
        of them. What the files mean is told from what is in them and stored as the version's ``origin``.

        ``model``: which one it is of. Its width and layers are checked and the run records who said so; without it the
        vector's model is only claimed, and it is refused where it would be applied. ``format``: a name in
        ``formats.format.FORMATS``, else told from the content. ``layer``, ``row``: where the file does not say it.
        ``behavior``: what it steers (default: the last part of the name). ``message``: a note for the version. The same
        content gives the version that exists. ``progress`` counts files.

        Raises ``InputError`` naming file and field, ``ModelMismatchError`` where the model does not fit, and
        ``UsageError``; then nothing is stored.
        """
        from caa_registry.formats.reading import read_vectors

        given = [paths] if isinstance(paths, str | Path) else paths
        with shown(files=progress) as (telling,):
            found = read_vectors([Path(path) for path in given], format=format, layer=layer, row=row, progress=telling)
            return self.register(found, name=name, model=model, adapter=adapter, behavior=behavior, message=message)

    def register(
        self,
        found: ImportedVectors,
        *,
        name: str,
        model: str | Path | Model | None = None,
        adapter: str | Path | None = None,
        behavior: str = "",
        message: str = "",
    ) -> VectorVersion:
        """Store what ``formats.reading.read_vectors`` found as a new version of ``name``; see ``import_``."""
        from caa_registry.registry.records import behavior_of
        from caa_registry.registry.vectors.imports import check_numbers, store_imported
        from caa_registry.registry.vectors.store import check_target

        with self._workspace.database.read() as session:
            check_target(session, name)
        checked_text(message, field="message")
        check_numbers(found)
        loaded = self._models.load(model, adapter=adapter) if isinstance(model, str | Path) else model
        info = loaded.info if loaded else None
        stated = check_new_name(behavior) if behavior else None
        version = store_imported(self._workspace, name, found, info, behavior_of(name, stated), message)
        return noted(version, message)

    def combine(
        self,
        name: str,
        vectors: Sequence[str | tuple[str | VectorVersion, float]],
        *,
        operation: CombineOperation = "sum",
        layers: Sequence[int] | None = None,
        behavior: str = "",
        message: str = "",
    ) -> VectorVersion:
        """Make one vector of several of the same model, layer by layer, and store it as a new version of ``name``.

        ``vectors``: each a reference and its weight, as a pair or as ``"team/x:v2:-0.5"``; without a weight 1.
        ``operation``: see ``algebra.operations.combined``. ``layers`` defaults to those of the vectors, which are then
        the same. ``behavior`` defaults to that of the vectors where all have one, else to the last part of the name.
        ``message``: a note for the version.
        The same again gives the version that exists; its lineage names all that took part.

        Raises ``UsageError`` for vectors, weights or layers that the operation does not take, and for a vector that
        must not be added; ``ModelMismatchError`` for vectors of different models.
        """
        from caa_registry.registry.vectors.algebra.combine import WeightedVector, combine, weighted
        from caa_registry.registry.vectors.algebra.operations import check_operation

        pairs = [weighted(self._workspace, vector) if isinstance(vector, str) else vector for vector in vectors]
        terms = [WeightedVector(self.get(vector), check_multiplier(weight)) for vector, weight in pairs]
        stated = check_new_name(behavior) if behavior else ""
        checked_text(message, field="message")
        version = combine(self._workspace, name, terms, check_operation(operation), layers, stated, message)
        return noted(version, message)

    def normalize(
        self, vectors: Sequence[str | VectorVersion], *, suffix: str = "-normalized", message: str = ""
    ) -> Listing[VectorVersion]:
        """The paper's normalization of several behaviors: every layer of each at the mean norm of that layer over all.

        Each result is a version of the vector's name with ``suffix``, with the same pairs and model and one common
        run. ``message``: a note for each. The same vectors again give the versions that exist.

        Raises ``UsageError`` for fewer than two vectors,
        and for different models or layers.
        """
        from caa_registry.registry.vectors.algebra.normalize import normalize

        checked_text(message, field="message")
        made = normalize(self._workspace, [self.get(vector) for vector in vectors], suffix, message)
        return Listing.whole([noted(version, message) for version in made])

    def verify(
        self,
        reference: str | VectorVersion,
        *,
        recompute: bool = False,
        model: str | Path | None = None,
        adapter: str | Path | None = None,
        progress: ProgressOption = None,
        measuring: ProgressOption = None,
    ) -> Verification:
        """Check a version: its numbers and the pairs that it was made from, against every digest.

        With ``recompute`` the model's files are compared with their fingerprint too, every byte of them, and the
        vectors are computed again by the stored recipe and compared layer by layer; nothing is taken from a cache. The
        outcome is kept as a run. ``model`` and ``adapter``: where their files are now, by default where they were last
        seen.

        Raises ``IntegrityError`` naming the row, the pair or the file that is not what was stored, ``UsageError`` for a
        version that is not computed from pairs.
        """
        from caa_registry.registry.records import Verification
        from caa_registry.registry.vectors import verification
        from caa_registry.registry.vectors.circumstances import Places
        from caa_registry.registry.vectors.tensors import load_directions

        version = self.get(reference)
        if recompute:
            verification.check_recomputable(version)
        elif version.recipe is None:
            load_directions(self._workspace.blobs, version, cached=False)
            return Verification(version.reference, 0)
        request = verification.requested(self._workspace, version, self._datasets())
        if not recompute:
            return Verification(version.reference, len(request.pairs))
        places = Places.of(version.known_model(), model, adapter)
        with shown(activations=progress, layers=measuring) as (telling_read, telling_made):
            return verification.recompute(self._workspace, request, self._models, places, telling_read, telling_made)

    def lock(self, reference: str | VectorVersion) -> Lock:
        """All that another machine needs to compute a version again: pairs, recipe, the model's fingerprint, and what
        it came to. ``Lock.to_text`` is the text of its file. Raises ``UsageError`` for a normalized vector."""
        from caa_registry.registry.vectors.locks import lock

        return lock(self._workspace, self._datasets(), self.get(reference))

    def compute_locked(
        self,
        lock: Lock | Path,
        name: str | None = None,
        *,
        model: str | Path | None = None,
        adapter: str | Path | None = None,
        message: str = "",
        fresh: bool = False,
        progress: ProgressOption = None,
        measuring: ProgressOption = None,
    ) -> FollowedLock:
        """Compute the vector of a lock, or of the file of one, exactly as it says, and compare it layer by layer.

        What comes out the same, bit by bit or but for rounding, is stored as a version of ``name`` (default: as in the
        lock), with the pairs as a dataset version where the registry has none that holds the same. What does not is
        not stored. ``model`` and ``adapter``: where their files are; by default where the registry knows that very
        model, else the hub's at the recorded commit.
        ``message``: a note for the version. ``fresh``: no activation is taken from the cache.

        Raises ``InputError`` naming the field for a lock that is broken or was changed, ``ModelMismatchError`` naming
        what of the model differs, ``UsageError``; then nothing is stored.
        """
        from caa_registry.registry.vectors.locks import LockRequest, follow, read_lock

        locked = read_lock(lock) if isinstance(lock, Path) else lock
        checked_text(message, field="message")
        request = LockRequest(locked, name or locked.name, model, adapter, message, fresh)
        with shown(activations=progress, layers=measuring) as (telling_read, telling_made):
            return follow(self._workspace, self._models, request, telling_read, telling_made)

    def _find(self, name: str, making: Making) -> VectorVersion | None:
        from caa_registry.registry.vectors.store import find

        with self._workspace.database.read() as session:
            row = find(session, name, making)
            return vector_record(session, row, existing=True) if row else None
