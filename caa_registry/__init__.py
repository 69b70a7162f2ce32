"""CAA Registry: contrastive pairs, steering vectors and their scores in one catalogue.

The public names are imported when first used (PEP 562), so that ``import caa_registry`` costs next to nothing
and brings in neither MLX nor SQLAlchemy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from caa_registry.package import __version__ as __version__

if TYPE_CHECKING:
    from caa_registry.errors import CaaError as CaaError
    from caa_registry.registry.evaluations.evaluations import best_layer as best_layer
    from caa_registry.registry.records import Alias as Alias
    from caa_registry.registry.records import Comparison as Comparison
    from caa_registry.registry.records import DatasetVersion as DatasetVersion
    from caa_registry.registry.records import Evaluation as Evaluation
    from caa_registry.registry.records import LayerRecord as LayerRecord
    from caa_registry.registry.records import Lineage as Lineage
    from caa_registry.registry.records import LineageNode as LineageNode
    from caa_registry.registry.records import LintReport as LintReport
    from caa_registry.registry.records import Listing as Listing
    from caa_registry.registry.records import ModelRecord as ModelRecord
    from caa_registry.registry.records import Normalized as Normalized
    from caa_registry.registry.records import Reading as Reading
    from caa_registry.registry.records import Recipe as Recipe
    from caa_registry.registry.records import Recommendation as Recommendation
    from caa_registry.registry.records import RunRecord as RunRecord
    from caa_registry.registry.records import Score as Score
    from caa_registry.registry.records import Steer as Steer
    from caa_registry.registry.records import Steering as Steering
    from caa_registry.registry.records import VectorVersion as VectorVersion
    from caa_registry.registry.registry import Registry as Registry
    from caa_registry.registry.registry import open as open

_RECORDS = (
    "Alias",
    "Comparison",
    "DatasetVersion",
    "Evaluation",
    "LayerRecord",
    "Lineage",
    "LineageNode",
    "LintReport",
    "Listing",
    "ModelRecord",
    "Normalized",
    "Reading",
    "Recipe",
    "Recommendation",
    "RunRecord",
    "Score",
    "Steer",
    "Steering",
    "VectorVersion",
)
_PUBLIC = {
    "CaaError": "caa_registry.errors",
    "best_layer": "caa_registry.registry.evaluations.evaluations",
    **dict.fromkeys(_RECORDS, "caa_registry.registry.records"),
    "Registry": "caa_registry.registry.registry",
    "open": "caa_registry.registry.registry",
}

__all__ = sorted([*_PUBLIC, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'caa_registry' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__
