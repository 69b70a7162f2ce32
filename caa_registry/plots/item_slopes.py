"""How the slopes of single items are spread, letter by letter."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from caa_registry.plots.style import LINES, figure, style, titled

_HATCHES = ("", "/////", ".....", "xxxxx")
_BINS = 16


def item_slopes(slopes: Mapping[str, NDArray[np.float64]], *, title: str, caption: str) -> Figure:
    """A histogram ``(n,)`` of each matching letter over the same bins, with its mean; ``""``: items without letters.
    The title says how many slopes are below 0."""
    every = np.concatenate(list(slopes.values()))
    edges = slope_bins(every)
    with style():
        picture = figure(5.2, 3.2, caption)
        axes = picture.add_subplot()
        for i, (letter, values) in enumerate(slopes.items()):
            colour = LINES[i % len(LINES)]["color"]
            label = f"{letter} matches, n = {len(values)}" if letter else f"n = {len(values)}"
            hatch = _HATCHES[i % len(_HATCHES)]
            axes.hist(
                values, edges, histtype="stepfilled", facecolor=(colour, 0.25), edgecolor=colour, hatch=hatch,
                linewidth=1.0, label=label,
            )  # fmt: skip
            mean = f"mean {round(float(values.mean()), 2) + 0.0:+.2f}".replace("-", "\u2212")
            axes.axvline(values.mean(), color=colour, linestyle=LINES[i % len(LINES)]["linestyle"], label=mean)
        axes.axvline(0, color="black", linewidth=0.7)
        axes.set_xlabel("slope of an item's log-odds (nats a unit of multiplier)")
        axes.set_ylabel("items")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        below = int((every < 0).sum())
        axes.set_title(titled(f"{title}; {below} of {len(every)} slopes below 0", 3.2), loc="left")
        picture.legend(loc="outside right upper", frameon=False, handlelength=3.2)
        return picture


def slope_bins(values: NDArray[np.float64]) -> list[float]:
    """The edges of at most 17 bins that hold all values ``(n,)``. One edge is 0, so that what is below it is seen."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    high = high if high > low else 1.0
    width = (high - low) / _BINS or 1.0
    edges = np.arange(np.floor(low / width), np.ceil(high / width) + 1) * width
    # Rounding leaves no value outside.
    edges[0], edges[-1] = min(low, edges[0]), max(high, edges[-1])
    return [float(edge) for edge in edges]
