"""Calibration: which layer and multiplier to use, and how strongly a vector can be added before ordinary text suffers.

The choice is made on one half of the questions and reported on the other, since the best of many cells looks better
than it is on the questions that it was chosen on. How much text suffers is the KL divergence from the unsteered model
per token of neutral text (``side_effects``), which has nothing to do with the questions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from caa_registry.display.records import Record, Table
from caa_registry.errors import UsageError
from caa_registry.evaluation.conditions import Direction
from caa_registry.evaluation.inference.intervals import Interval, bounded, mean
from caa_registry.evaluation.inference.power import Power
from caa_registry.evaluation.letters import Contrasts, contrasts_of

TARGET_KL = 0.2
"""Nats per token. At the layer that the demo model's card reports, all multipliers that it calls fluent (9 in 10 of
the sentences written are grammatical) lie at 0.19 or below, and all where fewer than 8 in 10 are at 0.21 or above.
steering-lite brings vectors to 1.0 to compare them: that is a dose, not what text can bear."""

# Effects that differ by less are equal.
_EQUAL = 1e-9


def check_target(target_kl: float) -> float:
    """``target_kl`` if it is a divergence that can be kept to, in nats per token, else ``UsageError``."""
    if not 0 < target_kl < math.inf:
        raise UsageError(f"{target_kl} nats per token cannot be kept to", "Give a target above 0, such as 0.2.")
    return target_kl


@dataclass(frozen=True)
class Halves:
    """Indexes of items, ascending: ``a`` to choose on, ``b`` to report on. No cluster is in both. ``letters`` and
    ``clusters``: of every item."""

    a: tuple[int, ...]
    b: tuple[int, ...]
    letters: tuple[str, ...]
    clusters: tuple[int, ...]

    def contrasts(self, half: Sequence[int]) -> Contrasts:
        """How the items of a half are weighted."""
        return contrasts_of([self.letters[i] for i in half], [self.clusters[i] for i in half])


def halves(digests: Sequence[str], letters: Sequence[str], clusters: Sequence[int]) -> Halves:
    """Items divided cluster by cluster, by their digests, whatever their order, and matching letter by matching letter.

    ``letters``: the matching letter of each, ``""`` where answers are no letters. Of the clusters with the same letters
    the halves have as many, or one half has one more.
    """
    members: dict[int, list[int]] = {}
    for i, cluster in enumerate(clusters):
        members.setdefault(cluster, []).append(i)
    kinds: dict[tuple[str, ...], list[tuple[str, int]]] = {}
    for cluster, items in members.items():
        kind = tuple(sorted({letters[i] for i in items}))
        kinds.setdefault(kind, []).append((min(digests[i] for i in items), cluster))
    # One after the other, so that not every kind gives its odd one to the same half.
    ordered = [cluster for kind in sorted(kinds) for _, cluster in sorted(kinds[kind])]
    chosen = set(ordered[::2])
    a = tuple(i for i, cluster in enumerate(clusters) if cluster in chosen)
    b = tuple(i for i, cluster in enumerate(clusters) if cluster not in chosen)
    return Halves(a, b, tuple(letters), tuple(clusters))


@dataclass(frozen=True, eq=False)
class MeasuredCell:
    """What was measured at one layer and multiplier: ``items``, per-item propensity, float64 ``(items,)``; ``mass``:
    p(matching) + p(other) of each; ``kl``, nats per token of neutral text; ``coherent``: whether what is written there
    reads well, ``None`` where that was not checked."""

    layer: int
    multiplier: float
    items: NDArray[np.float64]
    mass: NDArray[np.float64]
    kl: Interval
    coherent: bool | None = None


@dataclass(frozen=True)
class KlRange(Record):
    """The multipliers around 0 in which the KL of a layer, by the upper bound of its interval, stays at or below the
    target.

    ``low`` and ``high`` are the outermost that were measured, 0 where the first on that side exceeds the target.
    ``low_limit`` and ``high_limit`` are where the target is reached, interpolated; ``None`` where it was not reached at
    any multiplier measured.
    """

    layer: int
    low: float
    high: float
    low_limit: float | None
    high_limit: float | None


@dataclass(frozen=True)
class Choice(Record):
    """The cell that was chosen. ``score_*``: mean propensity on a half. ``effect_*``: its mean change from the
    unsteered model, every letter counting the same, in the intended direction; on half A it is the best of many, on
    half B it is fair. ``tied``: other cells, (layer, multiplier), of the same effect on half A. ``power_b``: how
    small an effect half B would show."""

    layer: int
    multiplier: float
    kl: Interval
    score_a: Interval
    score_b: Interval
    effect_a: Interval
    effect_b: Interval
    tied: tuple[tuple[int, float], ...]
    power_b: Power


@dataclass(frozen=True)
class Calibration(Table):
    """``rule``: how it is chosen, in words. ``n_a``, ``n_b``: items of the halves. ``ranges``: of each layer.
    ``choice``: ``None`` where no cell qualifies; ``reason`` says why then."""

    _facts: ClassVar = "choice reason rule direction target_kl n_a n_b"

    rule: str
    direction: Direction
    target_kl: float
    n_a: int
    n_b: int
    ranges: tuple[KlRange, ...]
    choice: Choice | None
    reason: str = ""

    def _rows(self) -> Sequence[KlRange]:
        return self.ranges


def calibrate(
    cells: Sequence[MeasuredCell],
    unsteered: NDArray[np.float64],
    divided: Halves,
    direction: Direction = "more",
    target_kl: float = TARGET_KL,
) -> Calibration:
    """The layer and multiplier to use. ``unsteered``: per-item propensity without steering, float64 ``(items,)``.

    Only measured cells are recommended. That none qualifies is an outcome, not an error. Raises ``UsageError`` for a
    target that is not above 0.
    """
    check_target(target_kl)
    ranges = tuple(
        kl_range(layer, {cell.multiplier: _most(cell.kl) for cell in cells if cell.layer == layer}, target_kl)
        for layer in sorted({cell.layer for cell in cells})
    )
    sign = 1.0 if direction == "more" else -1.0
    a, b = list(divided.a), list(divided.b)
    choice: Choice | None = None
    if a and b:
        weighed_a, weighed_b = divided.contrasts(a), divided.contrasts(b)
        on_a = [sign * float((cell.items[a] - unsteered[a]) @ weighed_a.weights) for cell in cells]
        best, tied, reason = _chosen(cells, on_a, ranges, target_kl)
        if best is not None:
            effects = sign * (best.items - unsteered)
            effect_b = _effect(effects[b], weighed_b)
            choice = Choice(
                best.layer,
                best.multiplier,
                best.kl,
                score_a=_score(best.items[a], weighed_a),
                score_b=_score(best.items[b], weighed_b),
                effect_a=_effect(effects[a], weighed_a),
                effect_b=effect_b,
                tied=tied,
                power_b=weighed_b.power(effects[b, None], [effect_b])[0],
            )
    else:
        reason = f"there are too few items for two halves: {len(a) + len(b)}"
    return Calibration(_rule(direction, target_kl), direction, target_kl, len(a), len(b), ranges, choice, reason)


def _most(kl: Interval) -> float:
    return kl.value if kl.high is None else kl.high


def _score(items: NDArray[np.float64], weighed: Contrasts) -> Interval:
    return bounded(mean(items, weighed.units), 0.0, 1.0)


def _effect(effects: NDArray[np.float64], weighed: Contrasts) -> Interval:
    return bounded(weighed.behavior(effects[:, None])[0], -1.0, 1.0)


def kl_range(layer: int, kl: Mapping[float, float], target: float) -> KlRange:
    """The range of one layer from ``kl``, nats per token by multiplier. At 0 it is 0, measured or not."""
    high, high_limit = _reach({m: value for m, value in kl.items() if m > 0}, target)
    low, low_limit = _reach({-m: value for m, value in kl.items() if m < 0}, target)
    return KlRange(layer, 0.0 - low, high, None if low_limit is None else -low_limit, high_limit)


def _reach(kl: Mapping[float, float], target: float) -> tuple[float, float | None]:
    """On one side of 0: the last measured multiplier of the range, and where the target is reached."""
    within, before = 0.0, 0.0
    for multiplier, value in sorted(kl.items()):
        if value > target:
            part = _part(before, value, target)
            return within, within + part * (multiplier - within)
        within, before = multiplier, value
    return within, None


def _part(before: float, beyond: float, target: float) -> float:
    """How much of the way from a multiplier to the next KL takes to reach ``target``; ``before <= target < beyond``."""
    if before == 0:
        # There is no logarithm of 0, where KL grows with the square of the multiplier.
        return math.sqrt(target / beyond)
    rise = math.log(beyond) - math.log(before)
    return (math.log(target) - math.log(before)) / rise if rise > 0 else 0.0


def _chosen(
    cells: Sequence[MeasuredCell], effects: Sequence[float], ranges: Sequence[KlRange], target: float
) -> tuple[MeasuredCell | None, tuple[tuple[int, float], ...], str]:
    """The best cell, those tied with it, and why there is none. ``effects``: of each cell on half A."""
    bounds = {each.layer: each for each in ranges}
    steered = [(cell, effect) for cell, effect in zip(cells, effects, strict=True) if cell.multiplier != 0]
    within = [
        (cell, effect)
        for cell, effect in steered
        if bounds[cell.layer].low <= cell.multiplier <= bounds[cell.layer].high
    ]
    coherent = [(cell, effect) for cell, effect in within if cell.coherent is not False]
    moving = [(cell, effect) for cell, effect in coherent if effect > _EQUAL]
    if not steered:
        return None, (), "no multiplier other than 0 was measured"
    if not within:
        least = min((cell for cell, _ in steered), key=lambda cell: _most(cell.kl))
        return (
            None,
            (),
            (
                f"KL is above {target:g} nats per token at every layer and multiplier measured; it is least, "
                f"{_most(least.kl):.3g} at most, at layer {least.layer}, multiplier {least.multiplier:g}"
            ),
        )
    if not coherent:
        return None, (), f"of {len(within)} cells within the range of KL none writes coherent text"
    if not moving:
        return None, (), f"of {len(coherent)} cells that qualify none moves half A in the intended direction"
    largest = max(effect for _, effect in moving)
    equal = [cell for cell, effect in moving if largest - effect <= _EQUAL]
    best, *tied = sorted(equal, key=lambda cell: (cell.kl.value, abs(cell.multiplier), cell.layer, cell.multiplier))
    return best, tuple((cell.layer, cell.multiplier) for cell in tied), ""


def _rule(direction: Direction, target: float) -> str:
    return (
        f"Of the measured multipliers around 0 up to which the upper bound of KL(unsteered || steered) on neutral text "
        f"stays at or below {target:g} nats per token, those known to write incoherent text left out, the layer and "
        f"multiplier that {'raise' if direction == 'more' else 'lower'} the mean propensity of half A most, every "
        f"letter counting the same; of equal ones that of the least KL, then the smallest multiplier, then the lowest "
        f"layer. Half B takes no part in the choice and is what is reported."
    )
