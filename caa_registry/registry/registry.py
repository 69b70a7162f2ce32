"""The Registry: what a user holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from caa_registry.blobs.store import BlobStore
from caa_registry.catalog.database import Database
from caa_registry.display.bars import ProgressOption, shown
from caa_registry.errors import UsageError
from caa_registry.references import parse
from caa_registry.registry.records import Lineage, NextTokenTable, Steer, Steering, VectorVersion
from caa_registry.registry.transfer.exchange import Exchange
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.models.rendering.prompts import TemplateName
    from caa_registry.registry.datasets.datasets import Datasets
    from caa_registry.registry.evaluations.evaluations import Evaluations
    from caa_registry.registry.evaluations.plans.plans import Plans
    from caa_registry.registry.models import Models
    from caa_registry.registry.order.tags import Tags
    from caa_registry.registry.provenance.aliases import Aliases
    from caa_registry.registry.provenance.audit import Audit
    from caa_registry.registry.provenance.recorded_runs import RecordedRuns
    from caa_registry.registry.provenance.script_runs import ScriptRun
    from caa_registry.registry.records import DatasetVersion, Evaluation, Hit, Listing, Published
    from caa_registry.registry.reports.reports import Reports
    from caa_registry.registry.vectors.steering import SteeringPart
    from caa_registry.registry.vectors.vectors import Vectors
    from caa_registry.steering.positions import SteeredPositions


class Registry(Exchange):
    """One registry: its datasets, models, vectors, plans, evaluations, reports, aliases, tags, runs and audit, and the
    means to steer with them.

    A context manager that closes the database. What it hands out are frozen records that stay valid afterwards. What
    takes long takes ``progress``: ``True`` shows bars, a function is called with (done, total), and nothing is silent.
    """

    def __init__(self, database: Database, blobs: BlobStore, actor: str) -> None:
        super().__init__(Workspace(database, blobs, actor))
        self.database = database
        self.blobs = blobs
        self.actor = actor

    # Each noun is imported when it is first used, so that a listing does not wait for what computes.

    @cached_property
    def models(self) -> Models:
        """The models: load, add, list, verify."""
        from caa_registry.registry.models import Models

        return Models(self.workspace)

    @cached_property
    def aliases(self) -> Aliases:
        """The movable names of versions, with what they recommend."""
        from caa_registry.registry.provenance.aliases import Aliases

        return Aliases(self.workspace)

    @cached_property
    def tags(self) -> Tags:
        """The tags of versions: labels to find them by."""
        from caa_registry.registry.order.tags import Tags

        return Tags(self.workspace)

    @cached_property
    def audit(self) -> Audit:
        """Who did what: the events, and whether all of them are there."""
        from caa_registry.registry.provenance.audit import Audit

        return Audit(self.workspace)

    @cached_property
    def runs(self) -> RecordedRuns:
        """The recorded runs: what was done from what, and what came of it."""
        from caa_registry.registry.provenance.recorded_runs import RecordedRuns

        return RecordedRuns(self.workspace)

    @cached_property
    def datasets(self) -> Datasets:
        """The pair datasets: import, curate, review, export."""
        from caa_registry.registry.datasets.datasets import Datasets

        return Datasets(self.workspace, self.models, lambda: self.vectors)

    @cached_property
    def vectors(self) -> Vectors:
        """The steering vectors: compute, list, read."""
        from caa_registry.registry.vectors.vectors import Vectors

        return Vectors(self.workspace, lambda: self.datasets, self.models)

    @cached_property
    def evaluations(self) -> Evaluations:
        """The evaluations: measure, calibrate, compare."""
        from caa_registry.registry.evaluations.evaluations import Evaluations

        return Evaluations(self.workspace, self.datasets, self.models, self.vectors, self.aliases)

    @cached_property
    def plans(self) -> Plans:
        """The plans: what is to be measured, said before it is."""
        from caa_registry.registry.evaluations.plans.plans import Plans

        return Plans(self.workspace, self.datasets, self.models, self.vectors)

    @cached_property
    def reports(self) -> Reports:
        """Reports and pictures."""
        from caa_registry.registry.reports.reports import Reports

        return Reports(self.workspace, self.vectors, self.evaluations, self.models, self.datasets)

    def steer(
        self,
        model: Model,
        vector: str | VectorVersion | Sequence[Steer],
        *,
        layer: int | Sequence[int] | None = None,
        multiplier: float | None = None,
        positions: SteeredPositions | None = None,
        allow_mismatch: bool = False,
    ) -> AbstractContextManager[Steering]:
        """Steer ``model`` while the context lasts; it is restored afterwards, exception or not.

        One vector with its ``layer`` (or several layers, each with its own vector) and ``multiplier``; or a list of
        ``Steer`` for several vectors. Without a layer the recommendation of the alias is used. ``positions`` defaults
        to the recommendation's, else ``after_prompt``.

        It holds for requests of this thread: another thread may steer the same model otherwise at the same time.

        Raises ``ModelMismatchError`` where a vector was computed on other weights, ``UsageError`` where no layer is
        known.
        """
        if isinstance(vector, str | VectorVersion):
            steers: Sequence[Steer] = [Steer(vector, layer, multiplier)]
        elif layer is not None or multiplier is not None:
            raise UsageError("several vectors carry their own layer and multiplier", "Give them in each Steer.")
        else:
            steers = vector
        from caa_registry.registry.vectors.steering import SteeringRequest, steered

        parts = [self._looked_up(steer) for steer in steers]
        return steered(self.workspace, SteeringRequest(model, parts, positions, allow_mismatch))

    def next_tokens(
        self,
        model: Model,
        vector: str | VectorVersion,
        prompt: str,
        *,
        layers: Literal["all"] | Sequence[int] = "all",
        multipliers: Sequence[float] | None = None,
        positions: SteeredPositions | None = None,
        system: str = "",
        template: TemplateName | None = None,
        top: int = 1,
        tokens: Sequence[str] = (),
        allow_mismatch: bool = False,
    ) -> NextTokenTable:
        """The next token after ``prompt``, steered at each layer by itself and at each multiplier.

        Each place lists ``tokens``, else the ``top`` most probable. Only what steering changes is computed, all
        multipliers of a layer in one batch. ``layers``: by default all that the vector has. ``multipliers`` and
        ``positions`` default as in ``steer``, ``template`` to that of the vector. Raises what ``steer`` and
        ``Model.next_tokens`` raise.
        """
        from caa_registry.registry.vectors.steering import SteeringRequest, TableRequest, next_token_table

        part = self._looked_up(Steer(vector))
        asked = part.version.layer_numbers if layers == "all" else tuple(layers)
        part = replace(part, steer=replace(part.steer, layers=asked))
        request = SteeringRequest(model, [part], positions, allow_mismatch)
        return next_token_table(
            self.workspace, TableRequest(request, prompt, multipliers, system, template, top, tokens)
        )

    def _looked_up(self, steer: Steer) -> SteeringPart:
        from caa_registry.registry.vectors.steering import SteeringPart

        vector = steer.vector
        if isinstance(vector, VectorVersion) or parse(vector).digest:
            return SteeringPart(steer, self.vectors.get(vector), None)
        alias = self.aliases.get(str(replace(parse(vector), kind="vector")))
        if alias is None:
            return SteeringPart(steer, self.vectors.get(vector), None)
        # The version that the alias pointed at when its advice was read, even if it moves meanwhile.
        return SteeringPart(steer, self.vectors.get(f"vector:{alias.target}"), alias.recommendation)

    def run(
        self,
        name: str,
        *,
        inputs: Sequence[str | DatasetVersion | VectorVersion | Evaluation] = (),
        parameters: Mapping[str, Any] | None = None,
    ) -> AbstractContextManager[ScriptRun]:
        """Record a step of a script as a run, failed or not: ``with registry.run("choose layers") as run:``.

        ``inputs``: what it reads; ``run.reads`` and ``run.made`` declare more, ``run.parameters`` holds what it ran
        with and found. What the registry imports, computes and measures in this thread meanwhile belongs to it, and
        what that read is shown as used. Raises ``UsageError`` for parameters that are not JSON, ``NotFoundError``.
        """
        from caa_registry.registry.provenance.script_runs import script_run

        return script_run(self.workspace, name, inputs, parameters or {})

    def search(self, text: str, *, limit: int | None = None) -> Listing[Hit]:
        """Everything that has the words of ``text``: datasets, vectors, models, pairs and questions, in this order; the
        first ``limit`` of them.

        Each word may be the beginning of one; case and accents do not count. Parts that are joined by other characters,
        as in ``status=reviewed``, have to follow one another. Of versions the name, behavior, description, message and
        tags are searched, and the licence of a dataset or the model of a vector; of each name the newest version that
        fits is given. Raises ``UsageError`` where there is no word.
        """
        from caa_registry.registry.order.search import search

        return search(self.workspace, text, limit)

    def describe(
        self,
        reference: str,
        *,
        text: str | None = None,
        licence: str | None = None,
        behavior: str | None = None,
    ) -> DatasetVersion | VectorVersion:
        """Say what a dataset or vector is, and give the version that ``reference`` names as it is now.

        ``text``: about the name, and so about all its versions. ``licence``: of the pairs of this dataset version.
        ``behavior``: what they contrast, or what an imported or combined vector steers; of a computed vector it is that
        of its pairs. Each counts from now on in place of what was stored, for cards, exports and listings alike; no
        digest changes. Empty texts take back what was said. Raises ``UsageError``, ``NotFoundError``.
        """
        from caa_registry.registry.order.description import describe

        return describe(self.workspace, reference, text=text, licence=licence, behavior=behavior)

    def rename(self, reference: str, name: str) -> str:
        """Give a dataset or vector another name, with all its versions, aliases and tags; what it is called now, with
        its kind.

        Runs, events, plans and signatures keep the name that they were written with. Whoever asks for the old name is
        told the new one, until something else gets it. Raises ``UsageError`` for a name that is taken, also by the
        other kind, unless a dataset and a vector that had one name are to have one again.
        """
        from caa_registry.registry.order.names import rename

        return rename(self.workspace, reference, name)

    def publish(
        self,
        *references: str,
        to: str,
        public: bool = False,
        licence: str = "",
        model_licence: str = "",
        pairs: bool | None = None,
        key: str | Path | None = None,
        passphrase: str | None = None,
        message: str = "",
        dry_run: bool = False,
        progress: ProgressOption = None,
    ) -> Published:
        """Push vectors to a repository on the hub (``to``: ``hf:ORG/NAME[@BRANCH]``, or the name of a remote that is
        one), as one commit: a card, a safetensors file each, the pairs, a list of digests, and for ``pull`` a bundle of
        all that they need.

        A new repository is private unless ``public``. ``licence``: of the pairs whose own is not recorded;
        ``model_licence``: of the models, where their folders do not say. ``pairs``: whether texts are published: all
        datasets that the vectors and their evaluations need. By default their licences decide, and where one forbids it
        the vectors go alone. ``key`` signs the list of digests. With ``dry_run`` nothing is sent.

        Raises ``LicenceError`` where a licence is not known, ``UsageError`` for what is no vector and for a repository
        that is public where that was not said, or that holds something else; ``HubError``.
        """
        from caa_registry.registry.reports.content import Contents
        from caa_registry.registry.transfer.hub.licences import Wishes
        from caa_registry.registry.transfer.hub.publishing import Publication, publish

        wishes, signing = Wishes(public, licence, model_licence, pairs), None if key is None else Path(key)
        asked = Publication(references, self.remotes.get(to).url, wishes, signing, passphrase, message, dry_run)
        cards = Contents(self.workspace, self.evaluations, self.datasets)
        with shown(bundling=progress) as (telling,):
            return publish(self.workspace, self.vectors, cards, asked, telling)

    def lineage(self, reference: str) -> Lineage:
        """What a dataset or vector was made from, and what was made from it."""
        from caa_registry.registry.provenance.lineage import lineage

        return lineage(self.workspace, reference)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
