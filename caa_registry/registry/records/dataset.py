"""Dataset versions and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from caa_registry.display.records import Record, Table
from caa_registry.errors import UsageError

if TYPE_CHECKING:
    from caa_registry.pairs.lint.findings import Finding
    from caa_registry.pairs.record import DatasetKind
    from caa_registry.pairs.source import Source
    from caa_registry.pairs.statistics import SplitStatistics


def behavior_of(name: str, stated: str | None) -> str:
    """The behavior of a dataset of that name: as its source states it, else the last part of the name."""
    return stated or name.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class DatasetVersion(Record):
    """One immutable version of a dataset.

    ``splits``: split -> number of rows. ``existing``: the call found this version rather than made it. ``recalled``:
    why it, or a pair of it, was recalled; empty where nothing was. ``deprecated``: why, and what to use instead; empty
    where it is not. ``unchecked_before``: of one older than the digests of rows, since when it is checked.

    ``actor``: who made it, and ``message``: what they said of it. ``description``: what the dataset is, in a text about
    all its versions. ``licence`` and ``behavior`` are what counts now: what ``Registry.describe`` was told, else what
    the version was stored with.
    """

    _facts: ClassVar = (
        "digest behavior kind n_items splits licence description message actor parent aliases tags notes recalled "
        "deprecated created_at"
    )
    _columns: ClassVar = "reference digest kind n_items splits behavior licence actor message recalled deprecated"

    id: int = field(repr=False)
    name: str
    number: int
    digest: str
    kind: DatasetKind
    n_items: int
    splits: Mapping[str, int]
    source: Source = field(repr=False)
    licence: str
    message: str
    parent: str | None
    created_at: datetime
    aliases: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    description: str = ""
    actor: str = ""
    stated_behavior: str = field(default="", repr=False)
    unchecked_before: datetime | None = None
    existing: bool = False
    recalled: str = ""
    deprecated: str = ""

    @property
    def reference(self) -> str:
        return f"{self.name}:v{self.number}"

    @property
    def behavior(self) -> str:
        """What its pairs contrast: as somebody stated it later, or its source, else the last part of its name."""
        return behavior_of(self.name, self.stated_behavior or self.source.behavior)

    @property
    def notes(self) -> Sequence[str]:
        """What a person should know about the rows."""
        return self.source.notes or ()


def of_pairs(version: DatasetVersion) -> DatasetVersion:
    """``version`` if it holds pairs. Raises ``UsageError``."""
    if version.kind != "pairs":
        raise UsageError(
            f"{version.reference} holds open-ended questions, not pairs", "Choose a dataset of contrastive pairs."
        )
    return version


def of_questions(version: DatasetVersion) -> DatasetVersion:
    """``version`` if it holds open-ended questions. Raises ``UsageError``."""
    if version.kind != "questions":
        raise UsageError(f"{version.reference} holds pairs, not open-ended questions", "Choose a dataset of questions.")
    return version


def check_split(version: DatasetVersion, split: str | None) -> None:
    """Raise ``UsageError`` where the version has no such split; ``None`` is all of them."""
    if split is not None and split not in version.splits:
        have = ", ".join(f"{name} ({rows})" for name, rows in version.splits.items())
        raise UsageError(
            f"{version.reference} has no split {split!r}",
            f"It has: {have}. caa dataset split {version.name} --test 0.2 makes the splits generate and test.",
        )


@dataclass(frozen=True)
class LintReport(Table):
    """What lint found in a dataset version. ``parameters``: thresholds, and beside which sets and model; ``summary``:
    ``score`` of 100, ``errors``, ``warnings``, ``infos``, ``counts`` by rule and ``figures`` of the whole set."""

    _facts: ClassVar = "dataset summary parameters actor created_at"

    id: int
    dataset: str
    parameters: Mapping[str, Any]
    summary: Mapping[str, Any]
    findings: Sequence[Finding]
    actor: str
    created_at: datetime

    def _called(self) -> str:
        return f"of {self.dataset}"

    def _rows(self) -> Sequence[Finding]:
        return self.findings


@dataclass(frozen=True)
class Neighbour(Record):
    """Another dataset, at its newest version, that holds ``shared`` of the same pairs."""

    reference: str
    shared: int


@dataclass(frozen=True)
class DatasetStatistics(Table):
    """``nearest``: datasets that share pairs, most first. Where it is used: ``vectors`` computed from it,
    ``evaluations`` that ask its questions, ``versions`` of datasets made of it."""

    _facts: ClassVar = "nearest vectors evaluations versions"

    splits: Sequence[SplitStatistics]
    nearest: Sequence[Neighbour]
    vectors: Sequence[str]
    evaluations: Sequence[int]
    versions: Sequence[str]

    def _rows(self) -> Sequence[SplitStatistics]:
        return self.splits


@dataclass(frozen=True)
class Pushed(Record):
    """Where a version was pushed to. ``commit``: 40 hex digits."""

    repo: str
    commit: str
    files: Sequence[str]
