"""The shape of a dose-response curve: whether more of a vector does more.

A curve is the mean propensity of all items by multiplier. Its steps are differences of neighbours, paired by item: a
step counts only where its 95 % interval lies on one side of 0. A curve that goes back shows that its far multipliers
break what nearer ones do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry.display.records import Record
from caa_registry.evaluation.inference.intervals import Units, means
from caa_registry.evaluation.measurements import Measurements

GAINS_LITTLE = 0.05
"""A curve saturates where what is still gained is less than this share of its whole range."""


@dataclass(frozen=True)
class CurveShape(Record):
    """The shape of the curve at one layer, over at least two multipliers.

    ``rises``: no step goes down. ``falls``: no step goes up. Where no step counts, both hold. ``turns_back``: the
    multipliers beyond which, away from 0, the curve goes against its own trend (the sign of its least-squares slope),
    ascending. ``saturates``: the first multiplier beyond which it gains, along its trend, less than 5 % of its range;
    ``None`` where that is the last one. ``r_squared``: that of the least-squares line; ``None`` of fewer than three
    multipliers, and where the curve is level. ``peak``: the multiplier where it is highest, the first of equals, and
    ``peak_value``, its value there.
    """

    layer: int
    rises: bool
    falls: bool
    turns_back: tuple[float, ...]
    saturates: float | None
    r_squared: float | None
    peak: float
    peak_value: float


def shapes(measurements: Measurements) -> list[CurveShape]:
    """That of the vector at every layer. Empty where there is one multiplier, or no item that the model was asked."""
    observed, multipliers = measurements.vector, measurements.multipliers
    if len(multipliers) < 2 or not observed.counted.any():
        return []
    values = observed.propensity[..., observed.counted]
    units = Units.of(np.array(observed.clusters)[observed.counted])
    differences = np.diff(values, axis=1)
    intervals = means(differences.reshape(-1, values.shape[-1]).T, units)
    signs = [0 if x.low is None or x.high is None else int(x.low > 0) - int(x.high < 0) for x in intervals]
    each = np.array(signs).reshape(differences.shape[:2])
    return [
        shape_of(layer, multipliers, curve, steps)
        for layer, curve, steps in zip(measurements.layers, values.mean(axis=-1), each.tolist(), strict=True)
    ]


def shape_of(layer: int, multipliers: Sequence[float], curve: NDArray[np.float64], steps: Sequence[int]) -> CurveShape:
    """The shape of a ``curve`` ``(multipliers,)``, whose ``steps`` go up (1), down (-1), or neither (0)."""
    x = np.asarray(multipliers, dtype=np.float64)
    centred = x - x.mean()
    slope = float(centred @ curve / (centred @ centred))
    trend = 1.0 if slope >= 0 else -1.0
    peak = int(np.argmax(curve))
    return CurveShape(
        layer,
        -1 not in steps,
        1 not in steps,
        _turns(multipliers, [step * trend < 0 for step in steps]),
        _saturation(multipliers, trend * curve),
        _r_squared(curve, centred * slope),
        float(x[peak]),
        float(curve[peak]),
    )


def in_words(shape: CurveShape) -> str:
    """The shape as one sentence."""
    if shape.rises and shape.falls:
        course = "does not change beyond chance from any multiplier to the next"
    elif shape.turns_back:
        course = f"turns back beyond {_listed(shape.turns_back)}"
    else:
        course = "rises all the way" if shape.rises else "falls all the way"
    line = "" if shape.r_squared is None else f"; a straight line explains {shape.r_squared:.2f} of it (R2)"
    told = shape.saturates is None or shape.saturates in shape.turns_back
    ending = "" if told else f"; beyond {shape.saturates:+g} it gains less than 5 % of its range"
    return (
        f"The dose-response at layer {shape.layer} {course}; it is highest at {shape.peak:+g} ({shape.peak_value:.3f})"
        f"{ending}{line}."
    )


def warning(turning: Sequence[CurveShape]) -> str:
    """What a reader must know of curves that turn back."""
    places = "; ".join(f"layer {shape.layer} beyond {_listed(shape.turns_back)}" for shape in turning)
    return (
        f"Warning: the dose-response turns back ({places}). More of the vector does less there, so that steerability "
        "and effect, which are of all multipliers, say too little. Measure between those where it still rises."
    )


def _listed(multipliers: Sequence[float]) -> str:
    return " and ".join(f"{multiplier:+g}" for multiplier in multipliers)


def _turns(multipliers: Sequence[float], back: Sequence[bool]) -> tuple[float, ...]:
    """Where steps begin to go back, away from 0. A step that passes 0 begins at its lower end."""
    found = []
    for i, goes_back in enumerate(back):
        below = multipliers[i + 1] <= 0
        inner = i + 1 if below else i - 1
        # The step that is nearer to 0, on the same side of it.
        nearer = 0 <= inner < len(back) and (multipliers[inner + 1] <= 0) == below and back[inner]
        if goes_back and not nearer:
            found.append(float(multipliers[i + 1 if below else i]))
    return tuple(found)


def _saturation(multipliers: Sequence[float], rising: NDArray[np.float64]) -> float | None:
    most = GAINS_LITTLE * float(np.ptp(rising))
    for i, multiplier in enumerate(multipliers[:-1]):
        if rising[i + 1 :].max() - rising[i] < most:
            return float(multiplier)
    return None


def _r_squared(curve: NDArray[np.float64], line: NDArray[np.float64]) -> float | None:
    apart = curve - curve.mean()
    total = float(apart @ apart)
    if len(curve) < 3 or total <= 1e-24:
        return None
    return float(1 - ((apart - line) ** 2).sum() / total)
