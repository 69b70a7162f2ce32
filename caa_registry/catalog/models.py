"""Every table of the catalogue, under one import.

Each module of tables is imported when one of its names is first used (PEP 562), since a listing needs few of them.
``Base`` knows all: with it they are all imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caa_registry.catalog.base import Base
    from caa_registry.catalog.tables.aliases import Alias
    from caa_registry.catalog.tables.curation import LintReport, Recall, Review
    from caa_registry.catalog.tables.described import Amendment, SearchEntry, Tag
    from caa_registry.catalog.tables.evaluations import Evaluation, Judgement, Plan, Rating, Response, Score
    from caa_registry.catalog.tables.pairs import Dataset, DatasetMember, DatasetQuestion, DatasetVersion, Pair
    from caa_registry.catalog.tables.records import Blob, Event, Meta, Run, RunIO
    from caa_registry.catalog.tables.retired import Deprecation, Quarantine
    from caa_registry.catalog.tables.signatures import Signature
    from caa_registry.catalog.tables.vectors import Model, Vector, VectorLayer, VectorVersion

_NAMES = {
    "aliases": "Alias",
    "curation": "LintReport Recall Review",
    "described": "Amendment SearchEntry Tag",
    "evaluations": "Evaluation Judgement Plan Rating Response Score",
    "pairs": "Dataset DatasetMember DatasetQuestion DatasetVersion Pair",
    "records": "Blob Event Meta Run RunIO",
    "retired": "Deprecation Quarantine",
    "signatures": "Signature",
    "vectors": "Model Vector VectorLayer VectorVersion",
}
_MODULES = {name: f"caa_registry.catalog.tables.{module}" for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "Alias",
    "Amendment",
    "Base",
    "Blob",
    "Dataset",
    "DatasetMember",
    "DatasetQuestion",
    "DatasetVersion",
    "Deprecation",
    "Evaluation",
    "Event",
    "Judgement",
    "LintReport",
    "Meta",
    "Model",
    "Pair",
    "Plan",
    "Quarantine",
    "Rating",
    "Recall",
    "Response",
    "Review",
    "Run",
    "RunIO",
    "Score",
    "SearchEntry",
    "Signature",
    "Tag",
    "Vector",
    "VectorLayer",
    "VectorVersion",
]


def __getattr__(name: str) -> Any:
    if name == "Base":
        for module in set(_MODULES.values()):
            import_module(module)
        value = import_module("caa_registry.catalog.base").Base
    elif name in _MODULES:
        value = getattr(import_module(_MODULES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value
