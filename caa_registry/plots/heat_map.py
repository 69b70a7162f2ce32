"""Layer x multiplier: every cell of a sweep."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from caa_registry.plots.style import figure, ink_on, shown, signed, style, titled

# With more rows or columns the numbers would not be read.
_MOST_ROWS, _MOST_COLUMNS = 40, 11
# Lightness rises all the way, so that it reads in black and white; cividis is made for colour-blind readers.
_COLOURS = "cividis"


def heat_map(
    layers: Sequence[int],
    multipliers: Sequence[float],
    values: NDArray[np.float64],
    *,
    title: str,
    label: str,
    caption: str,
    outside: NDArray[np.bool_] | None = None,
    best: tuple[int, int] | None = None,
) -> Figure:
    """Probabilities ``values`` ``(layers, multipliers)`` as cells, layer 0 at the foot. Cells that are ``outside`` the
    null interval are printed bold with a dot, ``best`` (row, column) has a frame."""
    with style():
        rows, columns = values.shape
        # High enough for the label of the colour bar, too.
        height = min(9.0, max(0.9 + 0.2 * rows, 0.9 + 0.075 * len(label)))
        wide = max(3.6, min(7.0, 1.7 + 0.45 * columns))
        picture = figure(wide, height, caption)
        axes = picture.add_subplot()
        image = axes.imshow(values, aspect="auto", origin="lower", cmap=_COLOURS, vmin=0, vmax=1)
        step = max(1, -(-rows // 32))
        axes.set_yticks(range(0, rows, step), [str(layer) for layer in layers[::step]])
        step = max(1, -(-columns // 12))
        axes.set_xticks(range(0, columns, step), [signed(multiplier) for multiplier in multipliers[::step]])
        axes.set_ylabel("layer")
        axes.set_xlabel("multiplier")
        axes.set_title(titled(title, wide - 1.0), loc="left")
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        printed = rows <= _MOST_ROWS and columns <= _MOST_COLUMNS
        for row, column in np.ndindex(rows, columns):
            marked = outside is not None and bool(outside[row, column])
            ink = ink_on(_COLOURS, float(values[row, column]))
            if printed:
                text = f"{values[row, column]:.2f}" + ("•" if marked else "")
                axes.text(
                    column, row, text, ha="center", va="center", fontsize=7, color=ink,
                    fontweight="bold" if marked else "normal",
                )  # fmt: skip
            elif marked:
                axes.plot(column, row, marker=".", markersize=2, color=ink)
        if best is not None:
            # Black on white, seen on any ground.
            for colour, width in (("white", 4.0), ("black", 2.0)):
                place = best[1] - 0.5, best[0] - 0.5
                axes.add_patch(Rectangle(place, 1, 1, fill=False, edgecolor=colour, linewidth=width, clip_on=False))
        bar = picture.colorbar(image, ax=axes, shrink=0.8, aspect=25)
        bar.set_label(shown(label))
        bar.outline.set_visible(False)
        return picture
