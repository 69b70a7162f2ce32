"""Datasets in the registry: import, list, read, curate, review, lint, export.

A listing needs little of this, so what one method needs is imported by that method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caa_registry.display.bars import ProgressOption, shown
from caa_registry.references import check_name
from caa_registry.registry.datasets.imports import DatasetImports
from caa_registry.registry.datasets.store import listed_versions, load_items, load_pairs, load_questions
from caa_registry.registry.lookup import find_version
from caa_registry.registry.models import Models
from caa_registry.registry.provenance import deprecations, recalls
from caa_registry.registry.provenance.recalls import Downstream
from caa_registry.registry.records import (
    Blame,
    Curated,
    CutRule,
    DatasetStatistics,
    DatasetVersion,
    LintReport,
    Listing,
    LogEntry,
    Pushed,
    Reviews,
    Step,
    check_limit,
    check_split,
    of_pairs,
    of_questions,
)
from caa_registry.registry.rows import dataset_record
from caa_registry.registry.workspace import Workspace

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.models.rendering.prompts import TemplateName
    from caa_registry.pairs.curation.operation import Operation
    from caa_registry.pairs.diff import Diff
    from caa_registry.pairs.record import PairItem, QuestionItem
    from caa_registry.registry.datasets.lint import LintVectors


class Datasets(DatasetImports):
    """The datasets of a registry. ``vectors`` gives what lint compares sets by: vectors stand above datasets, so they
    are handed in."""

    def __init__(self, workspace: Workspace, models: Models, vectors: Callable[[], LintVectors]) -> None:
        super().__init__(workspace)
        self._models = models
        self._vectors = vectors

    def get(self, reference: str | DatasetVersion) -> DatasetVersion:
        """The version that ``reference`` names."""
        if isinstance(reference, DatasetVersion):
            return reference
        with self._workspace.database.read() as session:
            version = dataset_record(session, find_version(session, reference, "dataset"))
            (version,) = deprecations.marked(session, "dataset", recalls.mark_datasets(session, [version]))
        deprecations.warn(version)
        return version

    def ls(
        self, *, tags: Mapping[str, str] | None = None, all_versions: bool = False, limit: int | None = None
    ) -> Listing[DatasetVersion]:
        """The newest version of every dataset, or all versions, by name; the first ``limit`` of them. ``tags``: only
        versions that have all of these, and of each dataset the newest that has."""
        check_limit(limit)
        with self._workspace.database.read() as session:
            found, total = listed_versions(session, tags, limit, all_versions=all_versions)
            versions = deprecations.marked(session, "dataset", recalls.mark_datasets(session, found))
        return Listing(tuple(versions), total)

    def pairs(
        self, reference: str | DatasetVersion, split: str | None = None, *, limit: int | None = None
    ) -> Listing[PairItem]:
        """The pairs of a version in the order of its source, of one split or of all; the first ``limit`` of them.

        Raises ``UsageError`` for a dataset of questions or a split it does not have.
        """
        version = of_pairs(self.get(reference))
        check_split(version, split)
        with self._workspace.database.read() as session:
            items = load_pairs(session, version.id, split, limit=limit)
        return Listing(tuple(items), version.n_items if split is None else version.splits[split])

    def questions(
        self, reference: str | DatasetVersion, split: str | None = None, *, limit: int | None = None
    ) -> Listing[QuestionItem]:
        """The open-ended questions of a version, as ``pairs``. Raises ``UsageError`` for a dataset of pairs."""
        version = of_questions(self.get(reference))
        check_split(version, split)
        with self._workspace.database.read() as session:
            items = load_questions(session, version.id, split, limit=limit)
        return Listing(tuple(items), version.n_items if split is None else version.splits[split])

    def curate(
        self,
        operation: Operation,
        *references: str | DatasetVersion,
        name: str | None = None,
        behavior: str = "",
        message: str = "",
        dry_run: bool = False,
        progress: ProgressOption = None,
    ) -> Curated:
        """Make a new version of others by an operation, such as ``Split(test=0.2)``: see ``docs/curation.md``.

        The version is the next one of the first set's dataset, or of ``name``, and its recipe is the operation. With
        ``dry_run``, and where nothing changes, none is made. Raises ``UsageError``, ``InputError``.
        """
        from caa_registry.registry.datasets.curation import CurationRequest, curate

        versions = [self.get(reference) for reference in references]
        target = check_name(name or (versions[0].name if versions else ""))
        request = CurationRequest(operation, versions, target, behavior, message, dry_run=dry_run)
        with shown(pairs=progress) as (telling,):
            return curate(self._workspace, request, telling)

    def review(
        self,
        reference: str | DatasetVersion,
        decisions: Iterable[tuple[str, str, str]],
        *,
        reviewer: str | None = None,
    ) -> int:
        """Store what a reviewer (by default the actor) decides about pairs of a version: (pair digest, state, reason)
        each, the state ``accepted``, ``rejected``, ``needs-work`` or ``proposed``; all or none. How many decisions were
        new.

        Raises ``UsageError`` for an unknown state, ``InputError`` for a pair that the version does not hold.
        """
        from caa_registry.registry.datasets.review import ReviewRequest, review

        version = of_pairs(self.get(reference))
        by = self._workspace.actor if reviewer is None else reviewer
        return review(self._workspace, ReviewRequest(version, list(decisions), by))

    def review_sheet(
        self,
        reference: str | DatasetVersion,
        path: Path,
        *,
        reviewer: str | None = None,
        split: str | None = None,
        force: bool = False,
    ) -> int:
        """Write the pairs as a CSV sheet with the reviewer's decisions so far; how many pairs. Raises ``UsageError``
        for a file that exists, unless ``force`` is set."""
        from caa_registry.pairs.review_sheet import write_sheet

        version = of_pairs(self.get(reference))
        decisions = self.reviews(version).of(self._workspace.actor if reviewer is None else reviewer)
        states = {pair: (decision.state, decision.reason) for pair, decision in decisions.items()}
        return write_sheet(path, self.pairs(version, split), states, force=force)

    def review_from(self, reference: str | DatasetVersion, path: Path, *, reviewer: str | None = None) -> int:
        """Store the decisions of a sheet that was filled in, all or none; how many were new. Raises ``InputError``
        naming the row."""
        from caa_registry.pairs.review_sheet import read_sheet

        return self.review(reference, read_sheet(path), reviewer=reviewer)

    def reviews(self, reference: str | DatasetVersion) -> Reviews:
        """The decisions of reviewers about the pairs of a version, made for whichever version of the dataset."""
        from caa_registry.registry.datasets.review import reviews

        return reviews(self._workspace, of_pairs(self.get(reference)))

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
        from caa_registry.registry.datasets.review import kept

        version = of_pairs(self.get(reference))
        operation = kept(self.reviews(version), rule, reviewers)
        return self.curate(operation, version, name=name, message=message, dry_run=dry_run)

    def diff(self, before: str | DatasetVersion, after: str | DatasetVersion) -> Diff:
        """What changed from one version to another: rows added, removed, moved between splits, and changed in their
        texts."""
        from caa_registry.registry.datasets.history import compare

        return compare(self._workspace, self.get(before), self.get(after))

    def log(self, name: str) -> Listing[LogEntry]:
        """The versions of a dataset, newest first, with how each came about."""
        from caa_registry.registry.datasets.history import log

        return Listing.whole(log(self._workspace, name))

    def blame(self, pair: str) -> Blame:
        """What holds a pair, named by how its digest begins: versions, vectors, evaluations, reviews, recalls."""
        from caa_registry.registry.datasets.history import blame

        return blame(self._workspace, pair)

    def recall(self, what: str, *, why: str, lift: bool = False, dry_run: bool = False) -> Downstream:
        """Recall a pair (how its digest begins) or a version (a reference), or take its recall back.

        Gives every vector and evaluation that descends from it. As long as the recall stands they are quarantined:
        listings mark them, and applying such a vector warns. Raises ``UsageError``, ``NotFoundError``.
        """
        return recalls.recall(self._workspace, what, why, lift=lift, dry_run=dry_run)

    def recipe(self, reference: str | DatasetVersion) -> dict[str, Any]:
        """How a version came about, from its sources on, as JSON that ``replay_recipe`` takes."""
        from caa_registry.registry.datasets.recipe import recipe_json, recipe_steps

        version = self.get(reference)
        with self._workspace.database.read() as session:
            return recipe_json(recipe_steps(session, version))

    def replay(
        self,
        reference: str | DatasetVersion,
        *,
        from_source: bool = False,
        sources: Mapping[str, str] | None = None,
    ) -> Listing[Step]:
        """Do again what made a version and compare digests step by step; nothing is stored.

        Imports are taken as stored, or with ``from_source`` read again from where they came from (``sources``: where a
        source lies now, by the name that it is recorded under).
        """
        from caa_registry.registry.datasets.replay import ReplayRequest, replay

        return Listing.whole(replay(self._workspace, ReplayRequest(self.get(reference), from_source, sources or {})))

    def replay_recipe(
        self, recipe: Any, *, name: str | None = None, sources: Mapping[str, str] | None = None
    ) -> tuple[Sequence[Step], DatasetVersion | None]:
        """Do what a recipe says in this registry, its last dataset as ``name``. Nothing is stored unless every step
        gives the digest that the recipe has for it. Raises ``InputError`` for what is not a recipe."""
        from caa_registry.registry.datasets.replay import follow, store

        followed = follow(recipe, sources or {})
        return followed.steps, store(self._workspace, followed, name) if followed.same else None

    def export(
        self, reference: str | DatasetVersion, path: Path, *, format: str | None = None, force: bool = False
    ) -> Path:
        """Write a version for other programs: ``jsonl``, ``csv``, ``parquet``, ``datasets`` (a folder for
        ``datasets.load_from_disk``) or ``caa`` (the folders of the CAA repository); by default as the suffix says.

        An import of the first three gives the same digest. Written whole or not at all; what is there already is
        replaced only with ``force``, and of a folder only the files that are written anew. Raises ``UsageError``.
        """
        from caa_registry.registry.datasets.export import ExportRequest, export

        return export(self._workspace, ExportRequest(self.get(reference), path, format, force))

    def to_datasets(self, reference: str | DatasetVersion) -> Any:
        """A version as a ``datasets.DatasetDict``, a ``Dataset`` for each split."""
        from caa_registry.pairs.export.tables import to_datasets

        version = self.get(reference)
        with self._workspace.database.read() as session:
            return to_datasets(load_items(session, version))

    def card(self, reference: str | DatasetVersion) -> str:
        """The dataset card of a version, as Markdown."""
        from caa_registry.registry.datasets.export import card_of

        return card_of(self._workspace, self.get(reference))

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
        from caa_registry.registry.datasets.export import push, push_request

        request = push_request(self.get(reference), target, public=public, licence=licence, message=message)
        return push(self._workspace, request)

    def lint(
        self,
        reference: str | DatasetVersion,
        *,
        against: Sequence[str | DatasetVersion] | None = None,
        model: str | Path | Model | None = None,
        template: TemplateName | None = None,
        progress: ProgressOption = None,
    ) -> LintReport:
        """Check a version by the rules of ``docs/lint.md``; the report is stored with it.

        ``against``: sets of the same behavior that it is compared with; by default the newest versions of all others
        of its behavior that were not made of it, nor it of them; none where the list is empty. With ``model`` also what
        its tokenizer makes of the pairs, rendered by ``template``. Raises ``UsageError`` for a dataset of questions.
        """
        from caa_registry.registry.datasets.lint import LintRequest, lint

        version = of_pairs(self.get(reference))
        others = None if against is None else [self.get(other) for other in against]
        with shown(pairs=progress) as (telling,):
            loaded = self._models.load(model) if isinstance(model, str | Path) else model
            return lint(self._workspace, LintRequest(version, self._vectors(), others, loaded, template), telling)

    def lint_report(self, reference: str | DatasetVersion) -> LintReport | None:
        """The newest report that is stored with a version."""
        from caa_registry.registry.datasets.lint import newest_report

        version = self.get(reference)
        with self._workspace.database.read() as session:
            return newest_report(session, version)

    def statistics(self, reference: str | DatasetVersion) -> DatasetStatistics:
        """What a version holds, split by split; which other datasets share pairs with it; where it is used."""
        from caa_registry.registry.datasets.statistics import statistics

        version = self.get(reference)
        with self._workspace.database.read() as session:
            return statistics(session, version)
