"""Versions, models, plans and evaluations as they travel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from caa_registry.models.folder.fingerprint import ModelInfo
from caa_registry.pairs.record import DatasetKind, PairItem, QuestionItem
from caa_registry.registry.records import LayerRecord
from caa_registry.registry.transfer.documents.key import Key
from caa_registry.registry.transfer.documents.run import RunDocument


@dataclass(frozen=True)
class Described:
    """What is said of a version: the text about its name, its tags, and the behavior that counts in place of what it
    was stored with; each may be empty."""

    text: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    behavior: str = ""


@dataclass(frozen=True)
class DatasetDocument:
    """A dataset version. ``number``: in the registry that it comes from, as in all of these."""

    key: Key
    number: int
    holds: DatasetKind
    items: Sequence[PairItem] | Sequence[QuestionItem] = field(repr=False)
    source: Mapping[str, Any]
    licence: str
    message: str
    described: Described
    created_at: datetime
    unchecked_before: datetime | None
    run: RunDocument

    @property
    def needs(self) -> set[Key]:
        """The things that have to be there before it."""
        return {key for key, _ in self.run.inputs}

    @property
    def blobs(self) -> tuple[str, ...]:
        """The bytes that belong to it."""
        return ()


@dataclass(frozen=True)
class ModelDocument:
    """The identity of a model, without the folder where somebody has it."""

    key: Key
    info: ModelInfo

    needs: frozenset[Key] = frozenset()
    blobs: tuple[str, ...] = ()


@dataclass(frozen=True)
class VectorDocument:
    """A vector version. ``dataset`` and ``recipe``, or ``origin``; its numbers are the bytes ``blob``."""

    key: Key
    number: int
    tensor_digest: str
    dataset: Key | None
    model: Key | None
    recipe: Mapping[str, Any] | None
    origin: Mapping[str, Any] | None
    blob: str
    d_model: int
    layers: Sequence[LayerRecord]
    message: str
    described: Described
    created_at: datetime
    unchecked_before: datetime | None
    run: RunDocument

    @property
    def needs(self) -> set[Key]:
        """As of a dataset."""
        return {key for key, _ in self.run.inputs} | {key for key in (self.dataset, self.model) if key is not None}

    @property
    def blobs(self) -> tuple[str, ...]:
        """As of a dataset."""
        return (self.blob,)


@dataclass(frozen=True)
class PlanDocument:
    """A plan. ``name``: in the registry that it comes from."""

    key: Key
    name: str
    terms: Mapping[str, Any]
    actor: str
    created_at: datetime
    unchecked_before: datetime | None
    run: RunDocument

    blobs: tuple[str, ...] = ()

    @property
    def needs(self) -> set[Key]:
        """As of a dataset."""
        return {key for key, _ in self.run.inputs}


@dataclass(frozen=True)
class EvaluationDocument:
    """An evaluation. ``scores`` and ``responses``: rows of the columns ``rows.SCORE`` and ``rows.RESPONSE``;
    ``not_confirmatory``: why it did not count as following its plan where it comes from, empty where it did or follows
    none."""

    key: Key
    number: int
    measures: str
    vector: Key
    dataset: Key | None
    split: str
    model: Key
    metric: str
    positions: str
    template: str
    parameters: Mapping[str, Any]
    measurements: str | None
    scores: Sequence[Sequence[Any]] = field(repr=False)
    responses: Sequence[Sequence[Any]] = field(repr=False)
    not_confirmatory: str
    created_at: datetime
    unchecked_before: datetime | None
    run: RunDocument

    @property
    def needs(self) -> set[Key]:
        """As of a dataset."""
        named = {self.vector, self.model} | ({self.dataset} if self.dataset is not None else set())
        return {key for key, _ in self.run.inputs} | named

    @property
    def blobs(self) -> tuple[str, ...]:
        """As of a dataset."""
        return () if self.measurements is None else (self.measurements,)


Document = DatasetDocument | ModelDocument | VectorDocument | PlanDocument | EvaluationDocument
