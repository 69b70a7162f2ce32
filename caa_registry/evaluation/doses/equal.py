"""What a vector does at a given dose, so that vectors of different lengths, measured at different multipliers, compare.

The dose is KL(unsteered || steered) in nats per token at the places that answers are read at, the mean over items.
Near 0 it grows with the square of the multiplier, and log-odds in proportion to the multiplier. So an item's log-odds
are a smooth curve over the square root of the dose, negative below 0, and are interpolated on it between the measured
multipliers by monotone cubics (``doses.cubics``). The propensity follows from the log-odds.

How far cubics and straight lines are apart, in the mean over items, is taken as the error of interpolating, which
intervals are widened by. It is 0 at a measured multiplier. What a curve does between two multipliers that are far apart
is not seen: where the first step already has a large dose, smaller ones are guesses. Those below a 16th of it are not
given; of those below a quarter a part is counted as error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry.evaluation.doses.cubics import monotone_cubics
from caa_registry.evaluation.doses.ladder import DoseSides
from caa_registry.evaluation.inference.intervals import Interval
from caa_registry.evaluation.measurements import Observed
from caa_registry.evaluation.propensity import propensity_of


@dataclass(frozen=True, eq=False)
class ItemChange:
    """How much every item changes at a dose, ``(items,)``: ``values``, by cubics, and by straight ``lines``. ``guess``:
    the part of the change that may be wrong because nothing was measured near the dose."""

    values: NDArray[np.float64]
    lines: NDArray[np.float64]
    guess: float

    def error(self, weights: NDArray[np.float64]) -> float:
        """Of interpolating: the weighted mean over items of how far the two are apart, and the guess."""
        return float(np.abs(self.values - self.lines) @ weights) + self.guess * abs(float(self.values @ weights))


@dataclass(frozen=True, eq=False)
class DoseCurve:
    """What the items of one layer do at growing doses, on each side of 0 as far as the dose grows with the multiplier.

    ``doses``: nats per token, those of multipliers below 0 with a minus, rising, ``(k,)``. ``log_odds``: of every item
    there, ``(k, items)``. ``sides``: what a change can be of, that of most first; of one side alone only where
    multiplier 0 was measured too.
    """

    doses: NDArray[np.float64]
    log_odds: NDArray[np.float64]
    sides: tuple[DoseSides, ...]

    def reach(self, sides: DoseSides) -> tuple[float, float]:
        """The least and the largest dose that all of ``sides`` have, nats per token. The least is above the largest
        where they have none in common. Between 0 and the first multiplier it is a 16th of that one's dose: a step to
        a quarter of the multiplier, where what the curve does before is a guess."""
        doses = [np.abs(self.doses[sign * self.doses >= 0]) for sign in _SIGNS[sides]]
        firsts = [min(each[each > 0], default=0.0) / _FARTHEST if 0 in each else each.min() for each in doses]
        return float(max(firsts)), min(float(each.max()) for each in doses)

    def at(self, dose: float, sides: DoseSides) -> dict[str, ItemChange]:
        """``log_odds`` (nats) and ``effect`` (propensity): how both change at a dose that is reached."""
        cubics, lines = self._ends(dose, sides)
        cubic_odds, line_odds = cubics[1] - cubics[0], lines[1] - lines[0]
        cubic, line = (np.diff(propensity_of(ends, 0.0), axis=0)[0] for ends in (cubics, lines))
        guess = self._guess(dose, sides)
        return {"log_odds": ItemChange(cubic_odds, line_odds, guess), "effect": ItemChange(cubic, line, guess)}

    def _guess(self, dose: float, sides: DoseSides) -> float:
        """0 from a quarter of the first dose on, about that of half the first multiplier; below, 15 % for every
        halving of the multiplier."""
        first = max(min(each[each > 0], default=0.0) for each in (sign * self.doses for sign in _SIGNS[sides]))
        return _GUESSED * max(0.0, math.log(first / (4 * dose), 4)) if first and dose else 0.0

    def _ends(self, dose: float, sides: DoseSides) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The log-odds below and above, ``(2, items)``, by cubics and by lines."""
        if len(self.doses) == 1:
            return self.log_odds[[0, 0]], self.log_odds[[0, 0]]
        roots = np.sign(self.doses) * np.sqrt(np.abs(self.doses))
        ends = np.sqrt(dose) * np.array([-1.0 if -1 in _SIGNS[sides] else 0.0, 1.0 if 1 in _SIGNS[sides] else 0.0])
        above = np.searchsorted(roots, ends).clip(1, len(roots) - 1)
        before, after = roots[above - 1], roots[above]
        part = ((ends - before) / (after - before))[:, None]
        lines = (1 - part) * self.log_odds[above - 1] + part * self.log_odds[above]
        return monotone_cubics(roots, self.log_odds, ends), lines


# How many times a dose the first one that was measured may be.
_FARTHEST = 16
# On the demo model, at the layer where log-odds bend most, a tenth of the dose of the first multiplier was off by 8 %.
_GUESSED = 0.15
_SIGNS: dict[DoseSides, tuple[int, ...]] = {"both": (-1, 1), "up": (1,), "down": (-1,)}


def dose_curves(observed: Observed, multipliers: Sequence[float]) -> list[DoseCurve] | None:
    """Of every layer; ``None`` where the dose was not measured. Items that the model was not asked are left out."""
    if observed.kl is None:
        return None
    counted = observed.counted
    doses = observed.kl[..., counted].mean(axis=-1)
    odds = observed.log_odds[..., counted]
    return [_curve(*layer, np.asarray(multipliers)) for layer in zip(doses, odds, strict=True)]


def widened(interval: Interval, error: float) -> Interval:
    """An interval that allows for ``error`` beside chance."""
    if interval.low is None or interval.high is None:
        return interval
    return Interval(interval.value, interval.low - error, interval.high + error, interval.n)


def _curve(doses: NDArray[np.float64], odds: NDArray[np.float64], multipliers: NDArray[np.float64]) -> DoseCurve:
    zero, up, down = (np.flatnonzero(which) for which in (multipliers == 0, multipliers > 0, multipliers < 0))
    above, below = _growing(doses, [*zero, *up]), _growing(doses, [*zero, *down[::-1]])
    kept = [*below[:0:-1], *below[:1], *above[len(zero) :]]
    either: list[tuple[DoseSides, bool]] = [("both", bool(len(up) and len(down)))]
    if len(zero):
        either += [("up", bool(len(up))), ("down", bool(len(down)))]
    return DoseCurve(
        np.sign(multipliers[kept]) * doses[kept], odds[kept], tuple(name for name, there in either if there)
    )


def _growing(doses: NDArray[np.float64], outwards: Sequence[int]) -> Sequence[int]:
    """Places from 0 outwards, up to where the dose no longer grows."""
    falls = np.flatnonzero(np.diff(doses[list(outwards)]) <= 0)
    return outwards[: falls[0] + 1] if len(falls) else outwards
