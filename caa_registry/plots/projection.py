"""The pairs' activations in two dimensions, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from caa_registry.plots.style import figure, style, titled

Rows = NDArray[np.float64]

_COLUMNS, _FEW = 4, 16
# The letters of first choices.
_FIRST = ("A", "1")
_POSITIVE, _NEGATIVE = "#0072B2", "#D55E00"


@dataclass(frozen=True, eq=False)
class Projected:
    """Two coordinates of each activation: ``positive`` and ``negative`` ``(pairs, 2)``. ``explained``: the share of the
    variance of all activations that each coordinate carries."""

    positive: Rows
    negative: Rows
    explained: tuple[float, float]


def principal_components(positive: NDArray[np.float32], negative: NDArray[np.float32]) -> Projected:
    """Activations ``(pairs, d)`` of both sides, together, centred, on their first two principal components, as the
    paper shows them (Rimsky et al. 2024, section 3). The first component is turned so that positive sides lie to the
    right."""
    rows = np.concatenate([positive, negative]).astype(np.float64)
    rows -= rows.mean(axis=0)
    _, sizes, axes = np.linalg.svd(rows, full_matrices=False)
    axes, kept = axes[:2], np.zeros(2)
    kept[: min(2, len(sizes))] = sizes[:2]
    placed = np.zeros((len(rows), 2))
    placed[:, : len(axes)] = rows @ axes.T
    n = len(positive)
    if placed[:n, 0].mean() < placed[n:, 0].mean():
        placed[:, 0] *= -1
    total = float((sizes**2).sum()) or 1.0
    return Projected(placed[:n], placed[n:], (float(kept[0] ** 2 / total), float(kept[1] ** 2 / total)))


def projection(
    layers: Mapping[int, Projected], *, title: str, caption: str, letters: Sequence[tuple[str, str]] = ()
) -> Figure:
    """A panel a layer. Positive sides are circles, negative ones squares; where ``letters`` gives those of both sides
    of each pair, sides that answer A (or 1) are filled and others hollow."""
    with style():
        # Many layers are drawn smaller, so that they fit a page.
        most, side = (_COLUMNS, 1.85) if len(layers) <= _FEW else (2 * _COLUMNS, 1.2)
        columns = min(most, len(layers))
        rows = -(-len(layers) // columns)
        picture = figure(max(3.4, side * columns), 0.8 + side * rows, caption)
        for place, (layer, projected) in enumerate(layers.items()):
            axes = picture.add_subplot(rows, columns, place + 1)
            filled = np.array(
                [[letter in _FIRST for letter in both] for both in letters] or [[True, True]] * len(projected.positive)
            )
            _side(axes, projected.negative, "s", _NEGATIVE, filled[:, 1])
            _side(axes, projected.positive, "o", _POSITIVE, filled[:, 0])
            axes.set_title(f"layer {layer}", fontsize=8)
            axes.set_xlabel(f"PC 1 ({100 * projected.explained[0]:.0f} %)", fontsize=7)
            axes.set_ylabel(f"PC 2 ({100 * projected.explained[1]:.0f} %)", fontsize=7)
            axes.set_xticks([])
            axes.set_yticks([])
        look: dict[str, Any] = {"linestyle": "none", "markersize": 4}
        handles = [
            Line2D([], [], marker="o", color=_POSITIVE, label="positive", **look),
            Line2D([], [], marker="s", color=_NEGATIVE, label="negative", **look),
        ]
        if letters:
            answered = {letter for both in letters for letter in both}
            first = " or ".join(letter for letter in _FIRST if letter in answered) or "A"
            handles.append(Line2D([], [], marker="o", color="#555555", label=f"answers {first}", **look))
            handles.append(Line2D([], [], marker="o", color="#555555", fillstyle="none", label="another", **look))
        picture.suptitle(titled(title, 2.4 if columns < 3 else 3.6), x=0.01, ha="left", fontsize=9.5)
        picture.legend(handles=handles, loc="outside upper right", frameon=False, ncols=4)
        return picture


def _side(axes: Axes, rows: Rows, marker: str, colour: str, filled: NDArray[np.bool_]) -> None:
    for some, face in ((rows[filled], colour), (rows[~filled], "none")):
        axes.scatter(some[:, 0], some[:, 1], s=9, marker=marker, facecolors=face, edgecolors=colour, linewidths=0.6)
