"""A statistic against the layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from caa_registry.evaluation.intervals import Interval
from caa_registry.evaluation.plots.dose_response import Band
from caa_registry.evaluation.plots.style import LINES, figure, shown, style, titled

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
        made = figure(5.2, 3.2, caption)
        axes = made.add_subplot()
        for band in bands:
            # Steps: a range is of a layer, a single layer's has a width too, and nothing is said between layers that
            # were left out.
            steps: list[tuple[float, float, float]] = []
            for layer, point in zip(layers, band.points, strict=True):
                if steps and steps[-1][0] != layer - 0.5:
                    steps.append((steps[-1][0], math.nan, math.nan))
                steps += [(layer + side, point.low, point.high) for side in (-0.5, 0.5)]
            edges, low, high = zip(*steps, strict=True)
            if band.hatched:
                axes.fill_between(
                    edges, low, high, facecolor="none", edgecolor="#777777", hatch="////", linewidth=0.4,
                    label=band.label, zorder=1,
                )  # fmt: skip
            else:
                axes.fill_between(edges, low, high, color="#DDDDDD", linewidth=0, label=band.label, zorder=0)
        axes.axhline(0, color="#555555", linewidth=0.7, linestyle=(0, (1, 2)))
        values = [point.value for point in points]
        errors = [
            [max(0.0, point.value - point.low) for point in points],
            [max(0.0, point.high - point.value) for point in points],
        ]
        axes.errorbar(
            layers, values, yerr=errors, capsize=2, elinewidth=0.8, linewidth=1.2, markersize=4, zorder=3,
            label="vector, 95 %", **LINES[0],
        )  # fmt: skip
        if chosen is not None and chosen in layers:
            place = list(layers).index(chosen)
            axes.plot(
                chosen, values[place], marker="o", markersize=10, fillstyle="none", color="black", linestyle="none",
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
        made.legend(loc="outside right upper", frameon=False)
        return made
