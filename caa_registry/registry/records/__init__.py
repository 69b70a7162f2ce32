"""What the registry hands out: frozen records, never rows of the catalogue."""

from __future__ import annotations

from caa_registry.registry.records.alias import Alias, Recommendation, check_multiplier
from caa_registry.registry.records.dataset import DatasetVersion, LintReport, behavior_of
from caa_registry.registry.records.evaluation import Evaluation, Score
from caa_registry.registry.records.lineage import Lineage, LineageNode, RunRecord
from caa_registry.registry.records.listing import Listing, check_limit
from caa_registry.registry.records.model import ModelRecord
from caa_registry.registry.records.recipe import Normalized, Recipe
from caa_registry.registry.records.steering import Steer, Steering
from caa_registry.registry.records.vector import Comparison, LayerRecord, Reading, VectorVersion

__all__ = [
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
    "behavior_of",
    "check_limit",
    "check_multiplier",
]
