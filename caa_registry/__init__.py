"""CAA Registry: contrastive pairs, steering vectors and their scores in one catalogue.

The public names are imported when first used (PEP 562), so that ``import caa_registry`` costs next to nothing
and brings in neither MLX nor SQLAlchemy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from caa_registry.package import __version__ as __version__

if TYPE_CHECKING:
    from caa_registry.errors import BlobStoreError as BlobStoreError
    from caa_registry.errors import CaaError as CaaError
    from caa_registry.errors import ConflictError as ConflictError
    from caa_registry.errors import HubError as HubError
    from caa_registry.errors import InputError as InputError
    from caa_registry.errors import IntegrityError as IntegrityError
    from caa_registry.errors import JudgeError as JudgeError
    from caa_registry.errors import LicenceError as LicenceError
    from caa_registry.errors import ModelError as ModelError
    from caa_registry.errors import ModelMismatchError as ModelMismatchError
    from caa_registry.errors import NoCommonDoseError as NoCommonDoseError
    from caa_registry.errors import NotFoundError as NotFoundError
    from caa_registry.errors import PassphraseError as PassphraseError
    from caa_registry.errors import RegistryError as RegistryError
    from caa_registry.errors import UsageError as UsageError
    from caa_registry.errors import WriteError as WriteError
    from caa_registry.evaluation.calibration import Calibration as Calibration
    from caa_registry.evaluation.calibration import Choice as Choice
    from caa_registry.evaluation.calibration import KlRange as KlRange
    from caa_registry.evaluation.categories import CategoryScores as CategoryScores
    from caa_registry.evaluation.comparison import Compared as Compared
    from caa_registry.evaluation.cross_behavior import CrossBehavior as CrossBehavior
    from caa_registry.evaluation.cross_behavior import Dominance as Dominance
    from caa_registry.evaluation.doses.shape import CurveShape as CurveShape
    from caa_registry.evaluation.inference.caveats import Caveat as Caveat
    from caa_registry.evaluation.inference.intervals import Interval as Interval
    from caa_registry.evaluation.inference.power import Power as Power
    from caa_registry.evaluation.measurements import Measurements as Measurements
    from caa_registry.evaluation.open_ended.endpoint import EndpointJudge as EndpointJudge
    from caa_registry.evaluation.open_ended.judging import Answered as Answered
    from caa_registry.evaluation.open_ended.judging import Judge as Judge
    from caa_registry.evaluation.open_ended.judging import JudgeIdentity as JudgeIdentity
    from caa_registry.evaluation.open_ended.judging import Rating as Rating
    from caa_registry.evaluation.open_ended.local_judge import LocalJudge as LocalJudge
    from caa_registry.evaluation.open_ended.rubrics import Rubric as Rubric
    from caa_registry.evaluation.shards import MissingShardsError as MissingShardsError
    from caa_registry.evaluation.shards import Shard as Shard
    from caa_registry.evaluation.token_projection import TokenProjection as TokenProjection
    from caa_registry.evaluation.verdict import Condition as Condition
    from caa_registry.evaluation.verdict import Verdict as Verdict
    from caa_registry.formats.claims import Claims as Claims
    from caa_registry.formats.claims import FileDigest as FileDigest
    from caa_registry.formats.imported import ImportedVectors as ImportedVectors
    from caa_registry.models.folder.fingerprint import Fingerprint as Fingerprint
    from caa_registry.models.folder.fingerprint import ModelInfo as ModelInfo
    from caa_registry.models.generation import NextToken as NextToken
    from caa_registry.models.lengths import Longest as Longest
    from caa_registry.models.model import Model as Model
    from caa_registry.pairs.agreement import Agreement as Agreement
    from caa_registry.pairs.curation.operations import Balance as Balance
    from caa_registry.pairs.curation.operations import Dedupe as Dedupe
    from caa_registry.pairs.curation.operations import Drop as Drop
    from caa_registry.pairs.curation.operations import Edit as Edit
    from caa_registry.pairs.curation.operations import Expand as Expand
    from caa_registry.pairs.curation.operations import Filter as Filter
    from caa_registry.pairs.curation.operations import Keep as Keep
    from caa_registry.pairs.curation.operations import Merge as Merge
    from caa_registry.pairs.curation.operations import Operation as Operation
    from caa_registry.pairs.curation.operations import Relabel as Relabel
    from caa_registry.pairs.curation.operations import Sample as Sample
    from caa_registry.pairs.curation.operations import Split as Split
    from caa_registry.pairs.curation.operations import ToAB as ToAB
    from caa_registry.pairs.curation.operations import ToFreeForm as ToFreeForm
    from caa_registry.pairs.curation.result import CurationResult as CurationResult
    from caa_registry.pairs.diff import Change as Change
    from caa_registry.pairs.diff import Diff as Diff
    from caa_registry.pairs.lint.findings import Finding as Finding
    from caa_registry.pairs.record import Imported as Imported
    from caa_registry.pairs.record import Pair as Pair
    from caa_registry.pairs.record import PairItem as PairItem
    from caa_registry.pairs.record import QuestionItem as QuestionItem
    from caa_registry.pairs.source import OperationRecord as OperationRecord
    from caa_registry.pairs.source import Source as Source
    from caa_registry.pairs.source import SourceCard as SourceCard
    from caa_registry.pairs.source import SourceFile as SourceFile
    from caa_registry.pairs.source import SourceInput as SourceInput
    from caa_registry.pairs.statistics import Lengths as Lengths
    from caa_registry.pairs.statistics import SplitStatistics as SplitStatistics
    from caa_registry.pairs.turns import Turn as Turn
    from caa_registry.registry.evaluations.layers import best_layer as best_layer
    from caa_registry.registry.opening import copy as copy
    from caa_registry.registry.opening import open as open
    from caa_registry.registry.opening import restore as restore
    from caa_registry.registry.provenance.recalls import Downstream as Downstream
    from caa_registry.registry.provenance.script_runs import ScriptRun as ScriptRun
    from caa_registry.registry.records import Alias as Alias
    from caa_registry.registry.records import AliasMove as AliasMove
    from caa_registry.registry.records import Answer as Answer
    from caa_registry.registry.records import AuditCheck as AuditCheck
    from caa_registry.registry.records import AuditEvent as AuditEvent
    from caa_registry.registry.records import Backup as Backup
    from caa_registry.registry.records import Beside as Beside
    from caa_registry.registry.records import Blame as Blame
    from caa_registry.registry.records import BundledVersion as BundledVersion
    from caa_registry.registry.records import BundleInfo as BundleInfo
    from caa_registry.registry.records import Calibrated as Calibrated
    from caa_registry.registry.records import CalibrationOutcome as CalibrationOutcome
    from caa_registry.registry.records import CalibrationSettings as CalibrationSettings
    from caa_registry.registry.records import Collected as Collected
    from caa_registry.registry.records import CombinedOrigin as CombinedOrigin
    from caa_registry.registry.records import CombinedTerm as CombinedTerm
    from caa_registry.registry.records import Comparison as Comparison
    from caa_registry.registry.records import Curated as Curated
    from caa_registry.registry.records import DatasetStatistics as DatasetStatistics
    from caa_registry.registry.records import DatasetVersion as DatasetVersion
    from caa_registry.registry.records import Decision as Decision
    from caa_registry.registry.records import Difference as Difference
    from caa_registry.registry.records import Evaluation as Evaluation
    from caa_registry.registry.records import EvaluationSettings as EvaluationSettings
    from caa_registry.registry.records import EvaluationVerification as EvaluationVerification
    from caa_registry.registry.records import Evidence as Evidence
    from caa_registry.registry.records import Fault as Fault
    from caa_registry.registry.records import FileOrigin as FileOrigin
    from caa_registry.registry.records import FollowedLock as FollowedLock
    from caa_registry.registry.records import FsckReport as FsckReport
    from caa_registry.registry.records import Hit as Hit
    from caa_registry.registry.records import Judged as Judged
    from caa_registry.registry.records import LayerNearness as LayerNearness
    from caa_registry.registry.records import LayerRecord as LayerRecord
    from caa_registry.registry.records import Leaked as Leaked
    from caa_registry.registry.records import Lineage as Lineage
    from caa_registry.registry.records import LineageNode as LineageNode
    from caa_registry.registry.records import LintReport as LintReport
    from caa_registry.registry.records import Listing as Listing
    from caa_registry.registry.records import Lock as Lock
    from caa_registry.registry.records import LockedDataset as LockedDataset
    from caa_registry.registry.records import LockedLayer as LockedLayer
    from caa_registry.registry.records import LockedModel as LockedModel
    from caa_registry.registry.records import LogEntry as LogEntry
    from caa_registry.registry.records import ModelRecord as ModelRecord
    from caa_registry.registry.records import Neighbour as Neighbour
    from caa_registry.registry.records import NextTokenTable as NextTokenTable
    from caa_registry.registry.records import Normalized as Normalized
    from caa_registry.registry.records import OpenEndedSettings as OpenEndedSettings
    from caa_registry.registry.records import Pinned as Pinned
    from caa_registry.registry.records import Plan as Plan
    from caa_registry.registry.records import PlannedCondition as PlannedCondition
    from caa_registry.registry.records import PlannedLayer as PlannedLayer
    from caa_registry.registry.records import PlannedOutcome as PlannedOutcome
    from caa_registry.registry.records import PlannedRecipe as PlannedRecipe
    from caa_registry.registry.records import PlanSettings as PlanSettings
    from caa_registry.registry.records import PropensitySettings as PropensitySettings
    from caa_registry.registry.records import Published as Published
    from caa_registry.registry.records import PublishedFile as PublishedFile
    from caa_registry.registry.records import Pushed as Pushed
    from caa_registry.registry.records import Ranked as Ranked
    from caa_registry.registry.records import Reading as Reading
    from caa_registry.registry.records import Recall as Recall
    from caa_registry.registry.records import Recipe as Recipe
    from caa_registry.registry.records import Recommendation as Recommendation
    from caa_registry.registry.records import RecomputedItems as RecomputedItems
    from caa_registry.registry.records import RecomputedLayer as RecomputedLayer
    from caa_registry.registry.records import RecomputedScore as RecomputedScore
    from caa_registry.registry.records import RecordedOpenEnded as RecordedOpenEnded
    from caa_registry.registry.records import RecordedPropensity as RecordedPropensity
    from caa_registry.registry.records import RecordedSideEffects as RecordedSideEffects
    from caa_registry.registry.records import Remote as Remote
    from caa_registry.registry.records import Repaired as Repaired
    from caa_registry.registry.records import Reviews as Reviews
    from caa_registry.registry.records import RunDetail as RunDetail
    from caa_registry.registry.records import RunRecord as RunRecord
    from caa_registry.registry.records import Sampling as Sampling
    from caa_registry.registry.records import Score as Score
    from caa_registry.registry.records import SentVersion as SentVersion
    from caa_registry.registry.records import SignatureCheck as SignatureCheck
    from caa_registry.registry.records import Signed as Signed
    from caa_registry.registry.records import Similar as Similar
    from caa_registry.registry.records import Standing as Standing
    from caa_registry.registry.records import Steer as Steer
    from caa_registry.registry.records import Steering as Steering
    from caa_registry.registry.records import Step as Step
    from caa_registry.registry.records import Tag as Tag
    from caa_registry.registry.records import Terms as Terms
    from caa_registry.registry.records import ToCompute as ToCompute
    from caa_registry.registry.records import Transfer as Transfer
    from caa_registry.registry.records import Transferred as Transferred
    from caa_registry.registry.records import VectorVersion as VectorVersion
    from caa_registry.registry.records import Verification as Verification
    from caa_registry.registry.registry import Registry as Registry
    from caa_registry.registry.reports.tables import ReportTable as ReportTable
    from caa_registry.registry.transfer.exchange import read_bundle as read_bundle
    from caa_registry.steering.additions import Addition as Addition
    from caa_registry.vectors import DirectionSet as DirectionSet
    from caa_registry.vectors import LayerQuality as LayerQuality
    from caa_registry.vectors import LayerVector as LayerVector
    from caa_registry.vectors import VectorSet as VectorSet

# Module -> the public names in it, which the imports above repeat for type checkers.
_PUBLIC = {
    "caa_registry.errors": [
        "BlobStoreError",
        "CaaError",
        "ConflictError",
        "HubError",
        "InputError",
        "IntegrityError",
        "JudgeError",
        "LicenceError",
        "ModelError",
        "ModelMismatchError",
        "NoCommonDoseError",
        "NotFoundError",
        "PassphraseError",
        "RegistryError",
        "UsageError",
        "WriteError",
    ],
    "caa_registry.evaluation.calibration": ["Calibration", "Choice", "KlRange"],
    "caa_registry.evaluation.categories": ["CategoryScores"],
    "caa_registry.evaluation.comparison": ["Compared"],
    "caa_registry.evaluation.cross_behavior": ["CrossBehavior", "Dominance"],
    "caa_registry.evaluation.doses.shape": ["CurveShape"],
    "caa_registry.evaluation.inference.caveats": ["Caveat"],
    "caa_registry.evaluation.inference.intervals": ["Interval"],
    "caa_registry.evaluation.inference.power": ["Power"],
    "caa_registry.evaluation.measurements": ["Measurements"],
    "caa_registry.evaluation.open_ended.endpoint": ["EndpointJudge"],
    "caa_registry.evaluation.open_ended.judging": ["Answered", "Judge", "JudgeIdentity", "Rating"],
    "caa_registry.evaluation.open_ended.local_judge": ["LocalJudge"],
    "caa_registry.evaluation.open_ended.rubrics": ["Rubric"],
    "caa_registry.evaluation.shards": ["MissingShardsError", "Shard"],
    "caa_registry.evaluation.token_projection": ["TokenProjection"],
    "caa_registry.evaluation.verdict": ["Condition", "Verdict"],
    "caa_registry.formats.claims": ["Claims", "FileDigest"],
    "caa_registry.formats.imported": ["ImportedVectors"],
    "caa_registry.models.folder.fingerprint": ["Fingerprint", "ModelInfo"],
    "caa_registry.models.generation": ["NextToken"],
    "caa_registry.models.lengths": ["Longest"],
    "caa_registry.models.model": ["Model"],
    "caa_registry.pairs.agreement": ["Agreement"],
    "caa_registry.pairs.curation.operations": [
        "Balance",
        "Dedupe",
        "Drop",
        "Edit",
        "Expand",
        "Filter",
        "Keep",
        "Merge",
        "Operation",
        "Relabel",
        "Sample",
        "Split",
        "ToAB",
        "ToFreeForm",
    ],
    "caa_registry.pairs.curation.result": ["CurationResult"],
    "caa_registry.pairs.diff": ["Change", "Diff"],
    "caa_registry.pairs.lint.findings": ["Finding"],
    "caa_registry.pairs.record": ["Imported", "Pair", "PairItem", "QuestionItem"],
    "caa_registry.pairs.source": ["OperationRecord", "Source", "SourceCard", "SourceFile", "SourceInput"],
    "caa_registry.pairs.statistics": ["Lengths", "SplitStatistics"],
    "caa_registry.pairs.turns": ["Turn"],
    "caa_registry.registry.evaluations.layers": ["best_layer"],
    "caa_registry.registry.provenance.recalls": ["Downstream"],
    "caa_registry.registry.provenance.script_runs": ["ScriptRun"],
    "caa_registry.registry.records": [
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
        "CombinedOrigin",
        "CombinedTerm",
        "Comparison",
        "Curated",
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
    ],
    "caa_registry.registry.opening": ["copy", "open", "restore"],
    "caa_registry.registry.registry": ["Registry"],
    "caa_registry.registry.reports.tables": ["ReportTable"],
    "caa_registry.registry.transfer.exchange": ["read_bundle"],
    "caa_registry.steering.additions": ["Addition"],
    "caa_registry.vectors": ["DirectionSet", "LayerQuality", "LayerVector", "VectorSet"],
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = sorted([*_MODULE_OF, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'caa_registry' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
