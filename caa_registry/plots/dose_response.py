"""Score against multiplier: the dose-response curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from caa_registry.errors import UsageError
from caa_registry.evaluation.inference.intervals import Interval
from caa_registry.plots.ranges import Band, draw_apart, draw_band, draw_line
from caa_registry.plots.style import LINES, figure, shortened, shown, style, ticks, titled

# More curves than this are not told apart.
MOST = len(LINES)


@dataclass(frozen=True)
class Curve:
    """One line of the picture: an interval at each multiplier."""

    label: str
    points: Sequence[Interval]


def dose_response(
    multipliers: Sequence[float],
    curves: Sequence[Curve],
    *,
    title: str,
    ylabel: str,
    caption: str,
    bands: Sequence[Band] = (),
    unsteered: float | None = None,
) -> Figure:
    """Probabilities: each curve with its 95 % intervals, over bands of what should do nothing. ``unsteered``: a level
    line. Raises ``UsageError`` for more than eight curves, which could not be told apart."""
    if len(curves) > MOST:
        raise UsageError(f"{len(curves)} curves cannot be told apart", f"Draw at most {MOST} in one picture.")
    with style():
        picture = figure(5.2, 3.7, caption)
        axes = picture.add_subplot()
        # A single multiplier's band has a width too.
        single = len(multipliers) == 1
        edges = [multipliers[0] - 0.2, multipliers[0] + 0.2] if single else multipliers
        for band in bands:
            if band.at and tuple(band.at) != tuple(multipliers):
                draw_apart(axes, band, (multipliers[-1] - multipliers[0]) / 12)
                continue
            points = [*band.points, *band.points] if single else band.points
            low, high = ([getattr(point, side) for point in points] for side in ("low", "high"))
            draw_band(axes, band, edges, low, high)
        if unsteered is not None:
            axes.axhline(
                unsteered, color="#555555", linewidth=0.8, linestyle=(0, (1, 2)), label="unsteered", zorder=1
            )  # fmt: skip
        for i, curve in enumerate(curves):
            draw_line(axes, multipliers, curve.points, shortened(curve.label), LINES[i], 3 + i)
        ticks(axes, multipliers)
        axes.set_xlabel("multiplier")
        axes.set_ylabel(shown(ylabel))
        axes.set_title(titled(title, 2.6), loc="left")
        axes.set_ylim(-0.02, 1.02)
        picture.legend(loc="outside right upper", frameon=False, handlelength=3.2)
        return picture
