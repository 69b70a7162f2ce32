"""What was made from what, as boxes in columns with arrows between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from caa_registry.plots.style import LINES, figure, shortened, style, titled

_WIDTH, _HEIGHT = 2.5, 0.62
_LETTERS = 30


def lineage_graph(
    labels: Mapping[str, Sequence[str]],
    kinds: Mapping[str, str],
    arrows: Sequence[tuple[str, str]],
    *,
    root: str,
    title: str,
    caption: str,
) -> Figure:
    """``labels``: the lines in the box of each thing, by key; ``kinds``: what sort of thing each is, which gives the
    colour; ``arrows``: from what was read to what was made. What is made stands right of all that it is made from."""
    columns = _columns(list(labels), arrows)
    height = max(len(column) for column in columns)
    colours = {kind: str(LINES[i % len(LINES)]["color"]) for i, kind in enumerate(dict.fromkeys(kinds.values()))}
    places = {
        key: (number, (height - len(column)) / 2 + place)
        for number, column in enumerate(columns)
        for place, key in enumerate(column)
    }
    with style():
        picture = figure(max(3.2, _WIDTH * len(columns)), max(1.2, _HEIGHT * height + 0.5), caption)
        axes = picture.add_subplot()
        axes.set_axis_off()
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(height - 0.4, -0.6)
        boxes = {}
        for key, (x, y) in places.items():
            boxes[key] = axes.text(
                x,
                y,
                "\n".join(shortened(line, _LETTERS) for line in labels[key]),
                ha="center",
                va="center",
                fontsize=6.8,
                zorder=2,
                bbox={
                    "boxstyle": "round,pad=0.35",
                    "facecolor": "white",
                    "edgecolor": colours[kinds[key]],
                    "linewidth": 2.0 if key == root else 1.0,
                },
            )
        for source, product in arrows:
            # One that passes a column goes round the boxes in it.
            bent = 0.15 if places[product][0] - places[source][0] > 1 else 0.0
            arrow = FancyArrowPatch(
                places[source],
                places[product],
                patchA=boxes[source].get_bbox_patch(),
                patchB=boxes[product].get_bbox_patch(),
                shrinkA=0,
                shrinkB=1,
                arrowstyle="-|>",
                connectionstyle=f"arc3,rad={bent}",
                mutation_scale=8,
                color="#666666",
                linewidth=0.7,
                zorder=1,
            )
            axes.add_patch(arrow)
        axes.set_title(titled(title, _WIDTH * len(columns)), loc="left")
        return picture


def _columns(keys: Sequence[str], arrows: Sequence[tuple[str, str]]) -> list[list[str]]:
    """The keys by how many arrows lead to them at most, each column in the order of what leads to it."""
    depth = dict.fromkeys(keys, 0)
    for _ in keys:
        moved = False
        for source, product in arrows:
            if depth[product] <= depth[source] < len(keys):
                depth[product], moved = depth[source] + 1, True
        if not moved:
            break
    columns: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for key in keys:
        columns[depth[key]].append(key)
    for before, column in pairwise(columns):
        places = {key: place for place, key in enumerate(before)}
        led = {
            key: [places[source] for source, product in arrows if product == key and source in places] for key in column
        }
        column.sort(key=lambda key: sum(led[key]) / len(led[key]) if led[key] else 0.0)
    return columns
