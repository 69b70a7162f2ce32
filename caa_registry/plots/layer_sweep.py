"""A statistic against the layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from caa_registry.evaluation.inference.intervals import Interval
from caa_registry.plots.ranges import Band, draw_band, draw_line
from caa_registry.plots.style import LINES, figure, shown, style, titled

# More than these are not all labelled.
_MOST_TICKS = 12


def layer_sweep(
    layers: Sequence[int],
    points: Sequence[Interval],
    *,
    title: str,
    ylabel: str,
    caption: str,
    bands: Sequence[Band] = (),
    chosen: int | None = None,
) -> Figure:
    """One interval a layer, over bands of what should do nothing; the ``chosen`` layer is marked."""
    with style():
        picture = figure(5.2, 3.2, caption)
        axes = picture.add_subplot()
        for band in bands:
            # Steps: a range is of a layer, a single layer's has a width too, and nothing is said between layers that
            # were left out.
            steps: list[tuple[float, float, float]] = []
            for layer, point in zip(layers, band.points, strict=True):
                if steps and steps[-1][0] != layer - 0.5:
                    steps.append((steps[-1][0], math.nan, math.nan))
                low, high = (math.nan if bound is None else bound for bound in (point.low, point.high))
                steps += [(layer + side, low, high) for side in (-0.5, 0.5)]
            edges, lower, upper = zip(*steps, strict=True)
            draw_band(axes, band, edges, lower, upper)
        axes.axhline(0, color="#555555", linewidth=0.7, linestyle=(0, (1, 2)))
        draw_line(axes, layers, points, "vector, 95 %", LINES[0], 3)
        if chosen is not None and chosen in layers:
            value = points[list(layers).index(chosen)].value
            axes.plot(
                chosen, value, marker="o", markersize=10, fillstyle="none", color="black", linestyle="none",
                label=f"layer {chosen}", zorder=4,
            )  # fmt: skip
        if len(layers) <= _MOST_TICKS:
            axes.set_xticks(list(layers))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
        axes.set_xlim(min(layers) - 0.6, max(layers) + 0.6)
        axes.set_xlabel("layer")
        axes.set_ylabel(shown(ylabel))
        axes.set_title(titled(title, 2.6), loc="left")
        picture.legend(loc="outside right upper", frameon=False)
        return picture
