"""Datasets in the registry: import, list, read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from caa_registry.catalog import models as t
from caa_registry.errors import UsageError
from caa_registry.pairs.export.card import card
from caa_registry.pairs.record import Imported, PairItem, QuestionItem
from caa_registry.pairs.review_sheet import decisions
from caa_registry.pairs.sources import load, load_splits
from caa_registry.references import check_name
from caa_registry.registry.datasets import export as exporting
from caa_registry.registry.datasets import history
from caa_registry.registry.datasets import lint as linting
from caa_registry.registry.datasets import replay as replaying
from caa_registry.registry.datasets import review as reviewing
from caa_registry.registry.datasets.curation import Curated, curate
from caa_registry.registry.datasets.export import Pushed
from caa_registry.registry.datasets.history import Blame, LogEntry
from caa_registry.registry.datasets.replay import Step
from caa_registry.registry.datasets.review import CutRule, Reviews
from caa_registry.registry.datasets.statistics import DatasetStatistics, statistics
from caa_registry.registry.datasets.store import load_items, load_pairs, load_questions, register
from caa_registry.registry.lookup import dataset_record, find_version, of_pairs
from caa_registry.registry.provenance import recalls
from caa_registry.registry.provenance.recalls import Downstream
from caa_registry.registry.provenance.runs import Activity
from caa_registry.registry.records import DatasetVersion, LintReport

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.models.prompts import TemplateName
    from caa_registry.pairs.diff import Diff
    from caa_registry.progress import Progress
    from caa_registry.registry.registry import Registry


class Datasets:
    """The datasets of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def import_(
        self,
        source: str | Mapping[str, str],
        *,
        name: str,
        split: str | None = None,
        columns: Mapping[str, str] | None = None,
        format: str | None = None,
        licence: str = "",
        mapping: str | None = None,
        limit: int | None = None,
        behavior: str = "",
        message: str = "",
    ) -> DatasetVersion:
        """Import a source as a new version of dataset ``name``.

        ``source`` is a path, ``hf:ORG/NAME[@REVISION][/FILE]``, ``seed:NAME`` or ``lines:POSITIVE,NEGATIVE``; or a
        mapping of split to source, imported as one version. All rows are read and checked before anything is
        written. The same rows again return the version that exists. ``behavior`` says what the pairs contrast; else it
        is what a seed set's card says, or the last part of ``name``. ``mapping``: how a public dataset's rows are read,
        a saved mapping or a YAML file. ``limit``: only the first rows of a file.

        Raises ``InputError`` naming file and row, ``UsageError`` for a bad name, ``HubError``, ``NotFoundError``.
        """
        check_name(name)
        imported = read_source(
            source, split=split, columns=columns, format=format, licence=licence, mapping=mapping, limit=limit
        )
        return self.register(imported, name=name, behavior=behavior, message=message)

    def get(self, reference: str | DatasetVersion) -> DatasetVersion:
        """The version that ``reference`` names."""
        if isinstance(reference, DatasetVersion):
            return reference
        with self._registry.database.read() as session:
            (version,) = recalls.mark_datasets(
                session, [dataset_record(session, find_version(session, reference, "dataset"))]
            )
        return version

    def ls(self) -> list[DatasetVersion]:
        """The newest version of every dataset, by name."""
        newest = (
            select(func.max(t.DatasetVersion.id))
            .where(t.DatasetVersion.deleted_at.is_(None))
            .group_by(t.DatasetVersion.dataset_id)
        )
        query = (
            select(t.DatasetVersion)
            .join(t.Dataset, t.Dataset.id == t.DatasetVersion.dataset_id)
            .where(t.DatasetVersion.id.in_(newest))
            .order_by(t.Dataset.name)
        )
        with self._registry.database.read() as session:
            return recalls.mark_datasets(session, [dataset_record(session, row) for row in session.scalars(query)])

    def pairs(
        self, reference: str | DatasetVersion, split: str | None = None, *, limit: int | None = None
    ) -> list[PairItem]:
        """The pairs of a version in the order of its source, of one split or of all; the first ``limit`` of them.

        Raises ``UsageError`` for a dataset of questions or a split it does not have.
        """
        version = of_pairs(self.get(reference))
        if split is not None:
            check_split(version, split)
        with self._registry.database.read() as session:
            return load_pairs(session, version.id, split, limit=limit)

    def questions(
        self, reference: str | DatasetVersion, split: str | None = None, *, limit: int | None = None
    ) -> list[QuestionItem]:
        """The open-ended questions of a version, as ``pairs``. Raises ``UsageError`` for a dataset of pairs."""
        version = self.get(reference)
        if version.kind != "questions":
            raise UsageError(
                f"{version.reference} holds pairs, not open-ended questions", "Choose a dataset of questions."
            )
        if split is not None:
            check_split(version, split)
        with self._registry.database.read() as session:
            return load_questions(session, version.id, split, limit=limit)

    def curate(
        self,
        operation: str,
        *references: str | DatasetVersion,
        name: str | None = None,
        behavior: str = "",
        message: str = "",
        dry_run: bool = False,
        progress: Progress | None = None,
        **parameters: Any,
    ) -> Curated:
        """Make a new version of others by an operation of ``docs/curation.md``: ``split``, ``dedupe``, ``balance``,
        ``filter``, ``sample``, ``merge``, ``relabel``, ``edit``, ``drop``, ``keep``, ``to-ab``, ``to-free-form``,
        ``expand``, with its ``parameters``, which become the version's recipe.

        The version is the next one of the first set's dataset, or of ``name``. With ``dry_run``, and where nothing
        changes, none is made. Raises ``UsageError``, ``InputError``.
        """
        return curate(
            self._registry,
            operation,
            references,
            parameters,
            name=name,
            behavior=behavior,
            message=message,
            dry_run=dry_run,
            progress=progress,
        )

    def review(
        self,
        reference: str | DatasetVersion,
        said: Iterable[tuple[str, str, str]],
        *,
        reviewer: str | None = None,
    ) -> int:
        """Store what a reviewer (by default the actor) says of pairs of a version: (pair digest, state, reason) each,
        the state ``accepted``, ``rejected``, ``needs-work`` or ``proposed``; all or none. How many decisions were new.

        Raises ``UsageError`` for an unknown state, ``InputError`` for a pair that the version does not hold.
        """
        return reviewing.review(self._registry, of_pairs(self.get(reference)), said, reviewer)

    def review_sheet(
        self, reference: str | DatasetVersion, path: Path, *, reviewer: str | None = None, split: str | None = None
    ) -> int:
        """Write the pairs as a CSV sheet with what the reviewer said so far; how many. Raises ``UsageError`` for a file
        that exists."""
        return reviewing.review_sheet(self._registry, of_pairs(self.get(reference)), path, reviewer, split)

    def review_from(self, reference: str | DatasetVersion, path: Path, *, reviewer: str | None = None) -> int:
        """Store what a sheet that was filled in says, all or none; how many decisions were new. Raises ``InputError``
        naming the row."""
        return self.review(reference, decisions(path), reviewer=reviewer)

    def reviews(self, reference: str | DatasetVersion) -> Reviews:
        """What reviewers say of the pairs of a version, in whichever version of the dataset they said it."""
        version = of_pairs(self.get(reference))
        with self._registry.database.read() as session:
            return reviewing.reviews(session, version)

    def cut(
        self,
        reference: str | DatasetVersion,
        *,
        rule: CutRule = "all",
        reviewers: Sequence[str] = (),
        name: str | None = None,
        message: str = "",
        dry_run: bool = False,
    ) -> Curated:
        """A new version of the pairs that reviewers accepted: ``all`` who decided a pair, their ``majority``, or
        ``any`` of them. Its recipe lists the pairs, so that it can be replayed whatever is reviewed later."""
        found = self.reviews(reference)
        unknown = sorted(set(reviewers) - set(found.reviewers))
        if unknown:
            said = f"Reviewers: {', '.join(found.reviewers) or 'none yet'}."
            raise UsageError(f"{unknown[0]} reviewed no pair of {found.dataset}", said)
        accepted = found.accepted(rule, reviewers)
        if not accepted:
            raise UsageError(f"no pair of {found.dataset} is accepted", "Review it: caa dataset review.")
        why = reviewing.cut_reason(found, rule, reviewers)
        return self.curate("keep", reference, name=name, message=message, dry_run=dry_run, pairs=accepted, why=why)

    def diff(self, one: str | DatasetVersion, other: str | DatasetVersion) -> Diff:
        """What changed from one version to another: rows added, removed, moved between splits, and changed in their
        texts."""
        versions = self.get(one), self.get(other)
        with self._registry.database.read() as session:
            return history.compare(session, *versions)

    def log(self, name: str) -> list[LogEntry]:
        """The versions of a dataset, newest first, with how each came about."""
        with self._registry.database.read() as session:
            return history.log(session, name)

    def blame(self, pair: str) -> Blame:
        """Where a pair, named by how its digest begins, went: versions, vectors, evaluations, reviews, recalls."""
        with self._registry.database.read() as session:
            return history.blame(session, pair)

    def recall(self, what: str, *, why: str, lift: bool = False, dry_run: bool = False) -> Downstream:
        """Recall a pair (how its digest begins) or a version (a reference), or take its recall back.

        Gives every vector and evaluation that descends from it. As long as the recall stands they are quarantined:
        listings mark them, and applying such a vector warns. Raises ``UsageError``, ``NotFoundError``.
        """
        return recalls.recall(self._registry.workspace, what, why, lift=lift, dry_run=dry_run)

    def recipe(self, reference: str | DatasetVersion) -> dict[str, Any]:
        """How a version came about, from its sources on, as JSON that ``replay_recipe`` takes."""
        version = self.get(reference)
        with self._registry.database.read() as session:
            return replaying.recipe(session, version)

    def replay(
        self,
        reference: str | DatasetVersion,
        *,
        from_source: bool = False,
        sources: Mapping[str, str] | None = None,
    ) -> list[Step]:
        """Do again what made a version and compare digests step by step; nothing is stored.

        Imports are taken as stored, or with ``from_source`` read again from where they came from (``sources``: where a
        source lies now, by the name that it is recorded under).
        """
        return replaying.replay(self._registry, self.get(reference), from_source=from_source, sources=sources or {})

    def replay_recipe(
        self, recipe: Any, *, name: str | None = None, sources: Mapping[str, str] | None = None
    ) -> tuple[Sequence[Step], DatasetVersion | None]:
        """Do what a recipe says in this registry, its last dataset as ``name``. Nothing is stored unless every step
        gives the digest that the recipe has for it. Raises ``InputError`` for what is no recipe."""
        followed = replaying.follow(recipe, sources or {})
        return followed.steps, replaying.store(self._registry, followed, name) if followed.same else None

    def export(
        self, reference: str | DatasetVersion, path: Path, *, format: str | None = None, force: bool = False
    ) -> Path:
        """Write a version for other programs: ``jsonl``, ``csv``, ``parquet``, ``datasets`` (a folder for
        ``datasets.load_from_disk``) or ``caa`` (the folders of the CAA repository); by default as the suffix says.

        An import of the first three gives the same digest. Written whole or not at all; what is there already is
        replaced only with ``force``. Raises ``UsageError``.
        """
        return exporting.export(self._registry, self.get(reference), path, format, force=force)

    def to_datasets(self, reference: str | DatasetVersion) -> Any:
        """A version as a ``datasets.DatasetDict``, a ``Dataset`` for each split."""
        from caa_registry.pairs.export.tables import to_datasets

        version = self.get(reference)
        with self._registry.database.read() as session:
            return to_datasets(load_items(session, version))

    def card(self, reference: str | DatasetVersion) -> str:
        """The dataset card of a version, as Markdown."""
        version = self.get(reference)
        with self._registry.database.read() as session:
            return card(exporting.facts(session, version))

    def push(
        self,
        reference: str | DatasetVersion,
        target: str,
        *,
        public: bool = False,
        licence: str = "",
        message: str = "",
    ) -> Pushed:
        """Upload a version with its card to ``hf:ORG/NAME[@BRANCH]`` as one commit, making a private repository where
        there is none (``public``: a public one). An import of it gives the same digest.

        The token is the environment's (``HF_TOKEN``) or the client's own, and kept nowhere. Raises ``UsageError`` where
        a public set has no licence, ``HubError``; then nothing is recorded.
        """
        return exporting.push(
            self._registry, self.get(reference), target, public=public, licence=licence, message=message
        )

    def lint(
        self,
        reference: str | DatasetVersion,
        *,
        against: Sequence[str | DatasetVersion] | None = None,
        model: str | Path | Model | None = None,
        template: TemplateName | None = None,
        progress: Progress | None = None,
    ) -> LintReport:
        """Check a version by the rules of ``docs/lint.md``; the report is stored with it.

        ``against``: sets of the same behavior that it is compared with; by default the newest versions of all others
        of its behavior that were not made of it, nor it of them; none where the list is empty. With ``model`` also what
        its tokenizer makes of the pairs, rendered by ``template``. Raises ``UsageError`` for a dataset of questions.
        """
        return linting.lint(self._registry, self.get(reference), against, model, template, progress)

    def lint_report(self, reference: str | DatasetVersion) -> LintReport | None:
        """The newest report that is stored with a version."""
        version = self.get(reference)
        with self._registry.database.read() as session:
            return linting.newest_report(session, version)

    def statistics(self, reference: str | DatasetVersion) -> DatasetStatistics:
        """What a version holds, split by split; which other datasets share pairs with it; where it is used."""
        version = self.get(reference)
        with self._registry.database.read() as session:
            return statistics(session, version)

    def register(self, imported: Imported, *, name: str, behavior: str = "", message: str = "") -> DatasetVersion:
        """Store what ``read_source`` gave as a new version of dataset ``name``."""
        activity = Activity("import", self._registry.actor, {"name": name})
        return register(self._registry, imported, activity, name=name, behavior=behavior, message=message)


def read_source(
    source: str | Mapping[str, str],
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,
    licence: str = "",
    mapping: str | None = None,
    limit: int | None = None,
) -> Imported:
    """Read and check all rows of one source, or of several by split. Touches no registry."""
    options: dict[str, Any] = {
        "columns": columns, "format": format, "licence": licence, "mapping": mapping, "limit": limit
    }  # fmt: skip
    if isinstance(source, str):
        return load(source, split=split, **options)
    return load_splits(source, **options)


def check_split(version: DatasetVersion, split: str) -> None:
    """Raise ``UsageError`` where the version has no such split."""
    if split not in version.splits:
        have = ", ".join(f"{name} ({count})" for name, count in version.splits.items())
        raise UsageError(f"{version.reference} has no split {split!r}", f"It has: {have}.")
