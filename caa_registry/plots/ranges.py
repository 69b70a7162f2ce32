"""Intervals as they are drawn: along a line, and as the bands that a line is to be told from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes

from caa_registry.evaluation.inference.intervals import Interval


@dataclass(frozen=True)
class Band:
    """A range at each place that a line is to be told from. ``hatched``: filled by lines, not grey. ``at``: the places,
    where they are not those of the line."""

    label: str
    points: Sequence[Interval]
    hatched: bool = False
    at: Sequence[float] = ()


def draw_apart(axes: Axes, band: Band, width: float) -> None:
    """The ranges of a band, each ``width`` wide at its own place."""
    for i, (place, point) in enumerate(zip(band.at, band.points, strict=True)):
        if point.low is not None and point.high is not None:
            edges, low, high = [place - width / 2, place + width / 2], [point.low] * 2, [point.high] * 2
            draw_band(axes, band if i == 0 else replace(band, label="_"), edges, low, high)


def draw_band(axes: Axes, band: Band, edges: Sequence[float], low: Sequence[float], high: Sequence[float]) -> None:
    """The band between ``low`` and ``high`` at ``edges``, behind all lines."""
    look: dict[str, Any] = {"color": "#DDDDDD", "linewidth": 0, "zorder": 0}
    if band.hatched:
        look = {"facecolor": "none", "edgecolor": "#777777", "hatch": "////", "linewidth": 0.4, "zorder": 1}
    axes.fill_between(edges, low, high, label=band.label, **look)


def draw_line(
    axes: Axes, places: Sequence[float], points: Sequence[Interval], label: str, look: Mapping[str, Any], zorder: int
) -> None:
    """A line through the values, with a bar for each interval."""
    errors = [
        [0.0 if point.low is None else max(0.0, point.value - point.low) for point in points],
        [0.0 if point.high is None else max(0.0, point.high - point.value) for point in points],
    ]
    axes.errorbar(
        places, [point.value for point in points], yerr=errors, label=label, capsize=2, elinewidth=0.8, linewidth=1.3,
        markersize=4, zorder=zorder, **look,
    )  # fmt: skip
