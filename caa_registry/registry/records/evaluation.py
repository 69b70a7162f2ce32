"""Evaluations and their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from caa_registry.models.folder.fingerprint import ModelInfo
from caa_registry.registry.records.evaluation_settings import EvaluationSettings, RecordedPropensity
from caa_registry.registry.records.standing import UNPLANNED, Standing

RANDOM_NULLS = ("covariance", "isotropic", "random")
"""The nulls of random vectors, the one to be preferred first; ``random`` is an earlier release's ``isotropic``."""

_DETECTABLE = {"effect": "detectable_effect", "steerability": "detectable_slope"}


@dataclass(frozen=True)
class Score:
    """One figure: mean over ``n`` items with its 95 % interval.

    ``condition``: ``vector``; a baseline, ``system-positive``, ``system-negative`` or ``few-shot``, with the vector at
    the multiplier; or a null, ``covariance``, ``isotropic`` or ``shuffled``: the mean over ``n`` vectors, the middle
    95 % of them where they are enough, and ``p_...`` against them. ``multiplier`` is ``None`` for what is of a whole
    layer. ``evaluation.statistics.figures`` says what there is.
    """

    layer: int
    multiplier: float | None
    metric: str
    value: float
    ci_low: float | None
    ci_high: float | None
    n: int
    condition: str = "vector"


@dataclass(frozen=True)
class Evaluation:
    """Scores of one vector version on one split of one dataset version, with the exact model that was asked.

    ``kind``: ``propensity``; ``side-effects``, on neutral text, which ``dataset`` names; or ``open-ended``.
    ``behavior`` is that of the dataset. ``settings``: how it was made, a ``RecordedPropensity``,
    ``RecordedSideEffects`` or ``RecordedOpenEnded``. ``measurements``: digest of the items that the scores are made
    of, where they were kept. ``quarantined``: which recall reaches it, and why; empty where none does.
    ``unchecked_before``: of one older than the digests of rows, since when it is checked. ``standing``: whether it
    followed a plan.
    """

    id: int
    vector: str
    dataset: str
    split: str
    model: ModelInfo
    metric: str
    positions: str
    template: str
    settings: EvaluationSettings
    scores: Sequence[Score]
    created_at: datetime
    behavior: str = ""
    measurements: str | None = None
    kind: str = "propensity"
    quarantined: str = ""
    unchecked_before: datetime | None = None
    standing: Standing = UNPLANNED

    @property
    def leaked(self) -> int:
        """How many of the questions are among the vector's own pairs, the same or nearly."""
        if not isinstance(self.settings, RecordedPropensity):
            return 0
        return self.settings.leaked.same + self.settings.leaked.near

    @property
    def leaks_unknown(self) -> bool:
        """Whether more of the questions may be among the vector's own pairs, since not all of these are known."""
        return isinstance(self.settings, RecordedPropensity) and self.settings.leaked.unknown

    @property
    def half(self) -> str:
        """Which half of the split was asked: ``, even rows``; empty where all of it was."""
        return "" if self.settings.rows == "all" else f", {self.settings.rows} rows"

    @property
    def remarks(self) -> str:
        """What listings note beside it: of propensity whether it is ``confirmatory``; ``leaked`` or
        ``leaks unknown``, ``quarantined``."""
        standing = [self.standing.note] * (self.kind == "propensity")
        leaks = ["leaked"] if self.leaked else ["leaks unknown"] * self.leaks_unknown
        return ", ".join(standing + leaks + ["quarantined"] * bool(self.quarantined))

    @property
    def n(self) -> int:
        """How many items, passages or answers its own metric averages; 0 where it has no score."""
        scores = self.of()
        return scores[0].n if scores else 0

    def of(self, metric: str | None = None, condition: str = "vector") -> list[Score]:
        """The scores of one metric (default: the evaluation's own) and one condition, in order."""
        name = self.metric if metric is None else metric
        return [score for score in self.scores if score.metric == name and score.condition == condition]

    @property
    def null(self) -> str | None:
        """The null that its vector is compared with: random vectors, of the covariance where they were measured."""
        conditions = {score.condition for score in self.scores}
        return next((name for name in RANDOM_NULLS if name in conditions), None)

    def at(self, layer: int, metric: str, condition: str = "vector") -> Score | None:
        """The score of a whole layer, where there is one."""
        return next((score for score in self.of(metric, condition) if score.layer == layer), None)

    def detectable(self, layer: int, metric: str) -> Score | None:
        """The smallest ``metric`` at ``layer`` that the questions would show, where it is known."""
        return self.at(layer, _DETECTABLE.get(metric, ""))

    def is_letter_vector(self, layer: int) -> bool:
        """Whether the vector moves the answer's letter at ``layer`` more than the behavior."""
        behavior, letter = self.at(layer, "steerability"), self.at(layer, "letter_slope")
        return behavior is not None and letter is not None and abs(letter.value) > abs(behavior.value)

    @property
    def letter_layers(self) -> tuple[int, ...]:
        """The layers at which the vector moves the answer's letter more than the behavior."""
        return tuple(layer for layer in self.settings.layers if self.is_letter_vector(layer))
