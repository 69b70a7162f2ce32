"""What the registry hands out: frozen records, never rows of the catalogue.

Each module is imported when one of its names is first used (PEP 562): a listing of vectors waits for no other record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caa_registry.registry.records.alias import Alias, Recommendation, check_multiplier
    from caa_registry.registry.records.answers import Answer, Judged
    from caa_registry.registry.records.audit import AuditCheck, AuditEvent
    from caa_registry.registry.records.backup import Backup
    from caa_registry.registry.records.curation import Curated, Step
    from caa_registry.registry.records.dataset import (
        DatasetStatistics,
        DatasetVersion,
        LintReport,
        Neighbour,
        Pushed,
        behavior_of,
        check_split,
        of_pairs,
        of_questions,
    )
    from caa_registry.registry.records.evaluation import RANDOM_NULLS, Evaluation, Score
    from caa_registry.registry.records.evaluation_settings import (
        Beside,
        EvaluationSettings,
        Leaked,
        RecordedOpenEnded,
        RecordedPropensity,
        RecordedSideEffects,
        Sampling,
    )
    from caa_registry.registry.records.evidence import (
        STATISTICS,
        Calibrated,
        Evidence,
        Ranked,
        Statistic,
        check_statistic,
    )
    from caa_registry.registry.records.fsck import Fault, FsckReport, Repaired
    from caa_registry.registry.records.history import Blame, LogEntry
    from caa_registry.registry.records.lineage import Lineage, LineageNode, RunDetail, RunRecord
    from caa_registry.registry.records.listing import Listing, check_limit
    from caa_registry.registry.records.lock import FollowedLock, Lock, LockedLayer, LockedModel
    from caa_registry.registry.records.locked_dataset import LockedDataset
    from caa_registry.registry.records.model import ModelRecord
    from caa_registry.registry.records.nearness import LayerNearness, Similar, Transferred
    from caa_registry.registry.records.order import AliasMove, Hit, Tag
    from caa_registry.registry.records.origin import (
        COMBINE_OPERATIONS,
        CombinedOrigin,
        CombinedTerm,
        CombineOperation,
        FileOrigin,
        Origin,
        origin_of,
    )
    from caa_registry.registry.records.outcome import CalibrationOutcome
    from caa_registry.registry.records.plan import PLANNED, Pinned, Plan, PlannedRecipe, PlanSettings, Terms, ToCompute
    from caa_registry.registry.records.planned import PlannedCondition, PlannedLayer, PlannedOutcome
    from caa_registry.registry.records.recall import Recall
    from caa_registry.registry.records.recipe import Normalized, Recipe
    from caa_registry.registry.records.retired import Collected
    from caa_registry.registry.records.review import CUT_RULES, CutRule, Decision, Reviews
    from caa_registry.registry.records.settings import CalibrationSettings, OpenEndedSettings, PropensitySettings
    from caa_registry.registry.records.signature import SignatureCheck, Signed
    from caa_registry.registry.records.source import source_of
    from caa_registry.registry.records.standing import Standing
    from caa_registry.registry.records.steering import NextTokenTable, Steer, Steering
    from caa_registry.registry.records.transfer import (
        BundledVersion,
        BundleInfo,
        Difference,
        Published,
        PublishedFile,
        Remote,
        SentVersion,
        Transfer,
    )
    from caa_registry.registry.records.vector import Comparison, LayerRecord, Reading, VectorVersion
    from caa_registry.registry.records.verification import (
        EvaluationVerification,
        RecomputedItems,
        RecomputedLayer,
        RecomputedScore,
        Verification,
    )

_NAMES = {
    "alias": "Alias Recommendation check_multiplier",
    "answers": "Answer Judged",
    "audit": "AuditCheck AuditEvent",
    "backup": "Backup",
    "curation": "Curated Step",
    "dataset": (
        "DatasetStatistics DatasetVersion LintReport Neighbour Pushed behavior_of check_split of_pairs of_questions"
    ),
    "evaluation": "RANDOM_NULLS Evaluation Score",
    "evaluation_settings": (
        "Beside EvaluationSettings Leaked RecordedOpenEnded RecordedPropensity RecordedSideEffects Sampling"
    ),
    "evidence": "STATISTICS Calibrated Evidence Ranked Statistic check_statistic",
    "fsck": "Fault FsckReport Repaired",
    "history": "Blame LogEntry",
    "lineage": "Lineage LineageNode RunDetail RunRecord",
    "listing": "Listing check_limit",
    "lock": "FollowedLock Lock LockedLayer LockedModel",
    "locked_dataset": "LockedDataset",
    "model": "ModelRecord",
    "nearness": "LayerNearness Similar Transferred",
    "order": "AliasMove Hit Tag",
    "origin": "COMBINE_OPERATIONS CombinedOrigin CombineOperation FileOrigin Origin CombinedTerm origin_of",
    "outcome": "CalibrationOutcome",
    "plan": "PLANNED Pinned Plan PlannedRecipe PlanSettings Terms ToCompute",
    "planned": "PlannedCondition PlannedLayer PlannedOutcome",
    "recall": "Recall",
    "recipe": "Normalized Recipe",
    "retired": "Collected",
    "review": "CUT_RULES CutRule Decision Reviews",
    "settings": "CalibrationSettings OpenEndedSettings PropensitySettings",
    "signature": "SignatureCheck Signed",
    "source": "source_of",
    "standing": "Standing",
    "steering": "NextTokenTable Steer Steering",
    "transfer": "BundledVersion BundleInfo Difference Published PublishedFile Remote SentVersion Transfer",
    "vector": "Comparison LayerRecord Reading VectorVersion",
    "verification": "EvaluationVerification RecomputedItems RecomputedLayer RecomputedScore Verification",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "COMBINE_OPERATIONS",
    "CUT_RULES",
    "PLANNED",
    "RANDOM_NULLS",
    "STATISTICS",
    "Alias",
    "AliasMove",
    "Answer",
    "AuditCheck",
    "AuditEvent",
    "Backup",
    "Beside",
    "Blame",
    "BundleInfo",
    "BundledVersion",
    "Calibrated",
    "CalibrationOutcome",
    "CalibrationSettings",
    "Collected",
    "CombineOperation",
    "CombinedOrigin",
    "CombinedTerm",
    "Comparison",
    "Curated",
    "CutRule",
    "DatasetStatistics",
    "DatasetVersion",
    "Decision",
    "Difference",
    "Evaluation",
    "EvaluationSettings",
    "EvaluationVerification",
    "Evidence",
    "Fault",
    "FileOrigin",
    "FollowedLock",
    "FsckReport",
    "Hit",
    "Judged",
    "LayerNearness",
    "LayerRecord",
    "Leaked",
    "Lineage",
    "LineageNode",
    "LintReport",
    "Listing",
    "Lock",
    "LockedDataset",
    "LockedLayer",
    "LockedModel",
    "LogEntry",
    "ModelRecord",
    "Neighbour",
    "NextTokenTable",
    "Normalized",
    "OpenEndedSettings",
    "Origin",
    "Pinned",
    "Plan",
    "PlanSettings",
    "PlannedCondition",
    "PlannedLayer",
    "PlannedOutcome",
    "PlannedRecipe",
    "PropensitySettings",
    "Published",
    "PublishedFile",
    "Pushed",
    "Ranked",
    "Reading",
    "Recall",
    "Recipe",
    "Recommendation",
    "RecomputedItems",
    "RecomputedLayer",
    "RecomputedScore",
    "RecordedOpenEnded",
    "RecordedPropensity",
    "RecordedSideEffects",
    "Remote",
    "Repaired",
    "Reviews",
    "RunDetail",
    "RunRecord",
    "Sampling",
    "Score",
    "SentVersion",
    "SignatureCheck",
    "Signed",
    "Similar",
    "Standing",
    "Statistic",
    "Steer",
    "Steering",
    "Step",
    "Tag",
    "Terms",
    "ToCompute",
    "Transfer",
    "Transferred",
    "VectorVersion",
    "Verification",
    "behavior_of",
    "check_limit",
    "check_multiplier",
    "check_split",
    "check_statistic",
    "of_pairs",
    "of_questions",
    "origin_of",
    "source_of",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
