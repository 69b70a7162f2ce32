"""Every item's own effect, sorted."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from caa_registry.plots.style import figure, shown, style, titled


def item_effects(effects: NDArray[np.float64], *, title: str, xlabel: str, caption: str) -> Figure:
    """One bar an item ``(n,)``, the largest at the top. Items that move the wrong way are hatched, and their number is
    in the title."""
    with style():
        n = len(effects)
        picture = figure(5.2, min(7.0, max(2.2, 0.9 + 0.055 * n)), caption)
        axes = picture.add_subplot()
        ordered = np.sort(effects)
        wrong = ordered < 0
        places = np.arange(n)
        height = 0.85 if n <= 100 else 1.0
        right = ordered > 0
        if right.any():
            axes.barh(places[right], ordered[right], height=height, color="#0072B2", label="the right way")
        if wrong.any():
            axes.barh(
                places[wrong], ordered[wrong], height=height, color="white", edgecolor="#D55E00", hatch="/////",
                linewidth=0.6 if n <= 100 else 0.1, label="the wrong way",
            )  # fmt: skip
        axes.axvline(0, color="black", linewidth=0.7)
        mean = f"mean {round(float(effects.mean()), 2) + 0.0:+.2f}".replace("-", "\u2212")
        axes.axvline(effects.mean(), color="black", linewidth=0.9, linestyle="--", label=mean)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_ylabel(f"{n} items, sorted" if n > 1 else "1 item")
        axes.set_xlabel(shown(xlabel))
        axes.set_title(titled(f"{title}; {int(wrong.sum())} of {n} the wrong way", 3.4), loc="left")
        picture.legend(loc="outside right upper", frameon=False)
        return picture
