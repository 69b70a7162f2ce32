"""The dose at which two are compared."""

from __future__ import annotations

import math

from caa_registry.errors import NoCommonDoseError
from caa_registry.evaluation.doses.equal import DoseCurve
from caa_registry.evaluation.doses.ladder import DOSES, DoseSides

_SAID = {"both": "on both sides of 0", "up": "above 0", "down": "below 0"}


def common_dose(
    one: DoseCurve, other: DoseCurve, dose: float | None, names: tuple[str, str]
) -> tuple[float, DoseSides]:
    """``dose``, by default the largest of ``DOSES`` that ``one`` and ``other`` reach, and the sides of 0 that both
    have. Raises ``NoCommonDoseError``, which says what each of ``names`` reaches and what to measure."""
    sides = next((each for each in one.sides if each in other.sides), None)
    if sides is None:
        raise NoCommonDoseError(
            f"{names[0]} and {names[1]} were not measured on a common side of 0, with 0 itself",
            "Evaluate both at multipliers on both sides (caa eval propensity), as -1,0,1.",
        )
    reached = [curve.reach(sides) for curve in (one, other)]
    least, largest = max(low for low, _ in reached), min(high for _, high in reached)
    for wanted in reversed(DOSES) if dose is None else [dose]:
        if least <= wanted <= largest:
            return wanted, sides
    doses = " and ".join(f"{_between(*each)} of {name}" for name, each in zip(names, reached, strict=True))
    raise NoCommonDoseError(
        f"{'there is no common dose' if dose is None else f'{dose:g} is beyond a dose that was measured'}: "
        f"{_SAID[sides]}, in nats per token, {doses}",
        _to_measure(least, largest, dose, reached, names),
    )


def _between(low: float, high: float) -> str:
    return f"{low:.3g} to {high:.3g}" if low <= high else "none"


def _to_measure(
    least: float, largest: float, dose: float | None, reached: list[tuple[float, float]], names: tuple[str, str]
) -> str:
    if dose is None and largest > 0 and least <= largest:
        return f"Name a dose from {least:.3g} to {largest:.3g} (--dose), or evaluate further out."
    target = max(least, DOSES[0]) if dose is None else dose
    todo = []
    for name, (low, high) in zip(names, reached, strict=True):
        if low > high:
            todo.append(f"Evaluate {name} at smaller multipliers and at 0 (caa eval propensity).")
        elif target > high:
            times = f", about {math.sqrt(target / high):.1f} times those measured" if high > 0 else ""
            todo.append(f"Evaluate {name} at larger multipliers{times} (caa eval propensity).")
        elif target < low:
            todo.append(f"Evaluate {name} at smaller multipliers and at 0 (caa eval propensity).")
    return " ".join(todo)
