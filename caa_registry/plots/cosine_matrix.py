"""Cosines between the layers of a vector, or between vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from caa_registry.plots.style import figure, ink_on, shortened, style, titled

_MOST_PRINTED = 14
# From dark for opposite to light for alike, so that signs read in black and white too.
_COLOURS = "cividis"


def cosines(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of rows ``(k, d)`` the cosine of each with each, ``(k, k)``; 0 where one is zero."""
    rows = vectors.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return np.asarray(np.clip(unit @ unit.T, -1, 1))


def cosine_matrix(labels: Sequence[str], values: NDArray[np.float64], *, title: str, caption: str) -> Figure:
    """``values`` ``(k, k)``, symmetric, between -1 and 1, with a label for each row."""
    with style():
        k = len(labels)
        names = [shortened(label, 24) for label in labels]
        longest = max(len(name) for name in names)
        side = max(2.6, min(6.5, 0.36 * k)) + 0.062 * longest
        picture = figure(side + 1.2, side + 0.7, caption)
        axes = picture.add_subplot()
        image = axes.imshow(values, cmap=_COLOURS, vmin=-1, vmax=1)
        step = max(1, -(-k // 32))
        axes.set_yticks(range(0, k, step), names[::step])
        turned = longest > 3
        axes.set_xticks(
            range(0, k, step), names[::step], rotation=45 if turned else 0, ha="right" if turned else "center",
            rotation_mode="anchor" if turned else "default",
        )  # fmt: skip
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        if k <= _MOST_PRINTED:
            for i, j in np.ndindex(k, k):
                text = f"{round(float(values[i, j]), 2) + 0.0:.2f}".replace("0.", ".").replace("-", "\u2212")
                ink = ink_on(_COLOURS, (float(values[i, j]) + 1) / 2)
                axes.text(j, i, text, ha="center", va="center", fontsize=7, color=ink)
        axes.set_title(titled(title, side), loc="left")
        bar = picture.colorbar(image, ax=axes, shrink=0.8, aspect=25)
        bar.set_label("cosine")
        bar.outline.set_visible(False)
        return picture
