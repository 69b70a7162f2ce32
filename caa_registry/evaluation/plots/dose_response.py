"""Score against multiplier: the dose-response curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from caa_registry.errors import UsageError
from caa_registry.evaluation.intervals import Interval
from caa_registry.evaluation.plots.style import LINES, figure, shortened, shown, style, ticks, titled

# More curves than this are not told apart.
MOST = len(LINES)


@dataclass(frozen=True)
class Curve:
    """One line of the picture: an interval at each multiplier."""

    label: str
    points: Sequence[Interval]


@dataclass(frozen=True)
class Band:
    """A range at each multiplier that the curves are to be told from. ``hatched``: filled by lines, not grey."""

    label: str
    points: Sequence[Interval]
    hatched: bool = False


def dose_response(
    multipliers: Sequence[float],
    curves: Sequence[Curve],
    *,
    title: str,
    ylabel: str,
    caption: str,
    bands: Sequence[Band] = (),
    unsteered: float | None = None,
    probability: bool = True,
) -> Figure:
    """Each curve with its 95 % intervals, over bands of what should do nothing. ``unsteered``: a level line.
    ``probability``: the axis runs from 0 to 1. Raises ``UsageError`` for more than eight curves, which nobody tells
    apart."""
    if len(curves) > MOST:
        raise UsageError(f"{len(curves)} curves cannot be told apart", f"Draw at most {MOST} in one picture.")
    with style():
        made = figure(5.2, 3.7, caption)
        axes = made.add_subplot()
        # A single multiplier's band has a width too.
        single = len(multipliers) == 1
        edges = [multipliers[0] - 0.2, multipliers[0] + 0.2] if single else multipliers
        for band in bands:
            points = [*band.points, *band.points] if single else band.points
            low, high = ([getattr(point, side) for point in points] for side in ("low", "high"))
            if band.hatched:
                axes.fill_between(
                    edges, low, high, facecolor="none", edgecolor="#777777", hatch="////", linewidth=0.4,
                    label=band.label, zorder=1,
                )  # fmt: skip
            else:
                axes.fill_between(edges, low, high, color="#DDDDDD", linewidth=0, label=band.label, zorder=0)
        if unsteered is not None:
            axes.axhline(
                unsteered, color="#555555", linewidth=0.8, linestyle=(0, (1, 2)), label="unsteered", zorder=1
            )  # fmt: skip
        for i, curve in enumerate(curves):
            values = [point.value for point in curve.points]
            errors = [
                [max(0.0, point.value - point.low) for point in curve.points],
                [max(0.0, point.high - point.value) for point in curve.points],
            ]
            axes.errorbar(
                multipliers, values, yerr=errors, label=shortened(curve.label), capsize=2, elinewidth=0.8,
                linewidth=1.3, markersize=4, zorder=3 + i, **LINES[i],
            )  # fmt: skip
        ticks(axes, multipliers)
        axes.set_xlabel("multiplier")
        axes.set_ylabel(shown(ylabel))
        axes.set_title(titled(title, 2.6), loc="left")
        if probability:
            axes.set_ylim(-0.02, 1.02)
        made.legend(loc="outside right upper", frameon=False, handlelength=3.2)
        return made
