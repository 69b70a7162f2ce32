"""What checking versions and evaluations again found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from caa_registry.display.records import Record, Table

_TOLERANCES: Mapping[str, float] = {"float32": 1e-4}
_OF_16_BITS = 2e-2
_OF_SCORES: Mapping[str, float] = {"float32": 1e-3}
_SCORES_OF_16_BITS = 1e-1
_COUNTED = {"answers_first", "anti_steerable", "wrong_way_up", "wrong_way_down"}


@dataclass(frozen=True)
class RecomputedLayer(Record):
    """One layer of a vector beside what was computed again. ``same_bits``: whether all bits agree; ``cosine``: of the
    two, ``None`` where one is zero; ``difference``: the largest of a coordinate, relative to the norm of the largest
    layer that is stored."""

    layer: int
    same_bits: bool
    cosine: float | None
    difference: float


@dataclass(frozen=True)
class Verification(Table):
    """What a version was checked for, with what came of it.

    ``pairs``: how many were checked. ``differences``: in words, what is not as it was when the version was made, of its
    pairs, its model and its recipe. ``environment``: what is otherwise about machine and packages, which may move last
    digits. ``layers``: of what was computed again, empty where nothing was; ``dtype``: what it was computed in.
    ``run``: the number of the run that keeps the outcome, of a computation.
    """

    _facts: ClassVar = "reference holds pairs differences environment same_bits tolerance dtype run"

    reference: str
    pairs: int
    differences: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    layers: tuple[RecomputedLayer, ...] = ()
    dtype: str = ""
    run: int | None = None

    def _rows(self) -> Sequence[RecomputedLayer]:
        return self.layers

    @property
    def tolerance(self) -> float:
        """How large ``difference`` may be: what another order of summation explains in float32, or where a model is
        computed in 16 bits. A cosine may be as far from 1."""
        return _TOLERANCES.get(self.dtype, _OF_16_BITS)

    @property
    def apart(self) -> tuple[RecomputedLayer, ...]:
        """The layers that differ by more than that."""
        return tuple(
            layer
            for layer in self.layers
            if not layer.same_bits
            and not (layer.difference <= self.tolerance and 1 - (layer.cosine or 0.0) <= self.tolerance)
        )

    @property
    def holds(self) -> bool:
        """Whether all is as it was, and what was computed again agrees."""
        return not self.differences and not self.apart

    @property
    def same_bits(self) -> bool:
        """Whether every layer was computed again to the same bits."""
        return bool(self.layers) and all(layer.same_bits for layer in self.layers)


@dataclass(frozen=True)
class RecomputedScore(Record):
    """One score beside what was computed again, ``None`` where it is not there now, or was not then.

    ``same_bits``: whether value and interval are the same numbers. ``difference``: the largest of theirs, relative to
    the stored number where that is larger than 1; ``None`` where one of the two is missing. ``n``: how many items it
    rests on.
    """

    condition: str
    layer: int
    multiplier: float | None
    metric: str
    stored: float | None
    now: float | None
    same_bits: bool
    difference: float | None
    n: int

    def within(self, tolerance: float) -> bool:
        """Whether rounding explains the difference. A share or a p-value may be off by one of the items or vectors that
        it counts."""
        counts = self.metric in _COUNTED or self.metric.startswith("p_")
        allowed = max(tolerance, 1.5 / self.n) if counts and self.n else tolerance
        return self.same_bits or (self.difference is not None and self.difference <= allowed)

    @property
    def name(self) -> str:
        """What it is called: ``propensity at layer 3, multiplier -1``."""
        of = "" if self.condition == "vector" else f" of {self.condition}"
        at = "" if self.multiplier is None else f", multiplier {self.multiplier:g}"
        return f"{self.metric}{of} at layer {self.layer}{at}"


@dataclass(frozen=True)
class RecomputedItems(Record):
    """What scores are made of, beside what was measured again: the ``what`` (``items of vector``, ``draws of
    covariance``, ``answers``, ``ratings of ...``), ``count`` of them. ``difference``: the largest of a number, absolute
    (of log-probabilities, nats); of texts and ratings, how many are others; ``None`` where the two cannot be compared.
    ``apart``: the worst of those that differ, in words."""

    what: str
    count: int
    same_bits: bool
    difference: float | None
    apart: str = ""

    def within(self, tolerance: float) -> bool:
        """Whether rounding explains the difference."""
        return self.same_bits or (self.difference is not None and self.difference <= tolerance)


@dataclass(frozen=True)
class EvaluationVerification(Table):
    """What an evaluation was checked for, with what came of it.

    ``questions``, ``figures``, ``answers`` and ``ratings``: how many were checked. ``differences``: in words, what is
    not as it was when it was made. ``environment``: what is otherwise about machine and packages. ``scores`` and
    ``items``: of what was measured again, empty where nothing was; ``dtype``: what it was computed in. ``left_out``:
    what was not done again on request, in words. ``run``: the number of the run that keeps the outcome.
    """

    _facts: ClassVar = (
        "kind vector dataset holds questions figures answers ratings "
        "differences environment left_out same_bits tolerance dtype items run"
    )

    evaluation: int
    kind: str
    vector: str
    dataset: str
    questions: int
    figures: int
    answers: int = 0
    ratings: int = 0
    differences: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    scores: tuple[RecomputedScore, ...] = ()
    items: tuple[RecomputedItems, ...] = ()
    dtype: str = ""
    left_out: tuple[str, ...] = ()
    run: int | None = None

    def _called(self) -> str:
        return f"of evaluation:{self.evaluation}"

    def _rows(self) -> Sequence[RecomputedScore]:
        return self.scores

    @property
    def tolerance(self) -> float:
        """How large a ``difference`` of scores and items may be: what another order of summation explains in float32,
        or where a model is computed in 16 bits. Texts and ratings have to be the same."""
        return _OF_SCORES.get(self.dtype, _SCORES_OF_16_BITS)

    @property
    def apart(self) -> tuple[RecomputedScore, ...]:
        """The scores that differ by more than that."""
        return tuple(score for score in self.scores if not score.within(self.tolerance))

    @property
    def items_apart(self) -> tuple[RecomputedItems, ...]:
        """What scores are made of that differs by more than that."""
        return tuple(each for each in self.items if not each.within(self.tolerance))

    @property
    def same_bits(self) -> bool:
        """Whether all that was measured again has the same bits."""
        return (
            bool(self.scores)
            and all(score.same_bits for score in self.scores)
            and all(each.same_bits for each in self.items)
        )

    @property
    def holds(self) -> bool:
        """Whether all is as it was, and what was measured again agrees."""
        return not (self.differences or self.apart or self.items_apart)
