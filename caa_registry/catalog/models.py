"""Every table of the catalogue, under one import."""

from __future__ import annotations

from caa_registry.catalog.base import Base
from caa_registry.catalog.tables.curation import LintReport, Recall, Review
from caa_registry.catalog.tables.evaluations import Evaluation, Judgement, Rating, Response, Score
from caa_registry.catalog.tables.pairs import Dataset, DatasetMember, DatasetQuestion, DatasetVersion, Pair
from caa_registry.catalog.tables.records import Alias, Blob, Event, Meta, Run, RunIO
from caa_registry.catalog.tables.vectors import Model, Vector, VectorLayer, VectorVersion

__all__ = [
    "Alias",
    "Base",
    "Blob",
    "Dataset",
    "DatasetMember",
    "DatasetQuestion",
    "DatasetVersion",
    "Evaluation",
    "Event",
    "Judgement",
    "LintReport",
    "Meta",
    "Model",
    "Pair",
    "Rating",
    "Recall",
    "Response",
    "Review",
    "Run",
    "RunIO",
    "Score",
    "Vector",
    "VectorLayer",
    "VectorVersion",
]
