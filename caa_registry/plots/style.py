"""What all pictures have in common: size, type, lines that differ without colour, the caption, how they are saved."""

from __future__ import annotations

import io
import logging
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from caa_registry.disk import write_new
from caa_registry.errors import UsageError

FORMATS = (".png", ".svg")
DPI = 200

# Okabe and Ito's colours, told apart by colour-blind readers, dark enough on white; each with its own line and marker.
LINES: tuple[dict[str, Any], ...] = (
    {"color": "#0072B2", "linestyle": "-", "marker": "o"},
    {"color": "#D55E00", "linestyle": "--", "marker": "s"},
    {"color": "#009E73", "linestyle": "-.", "marker": "^"},
    {"color": "#CC79A7", "linestyle": ":", "marker": "D"},
    {"color": "#000000", "linestyle": (0, (5, 1)), "marker": "v"},
    {"color": "#56B4E9", "linestyle": (0, (3, 1, 1, 1)), "marker": "P"},
    {"color": "#7F6000", "linestyle": (0, (1, 1)), "marker": "X"},
    {"color": "#666666", "linestyle": (0, (6, 2, 1, 2, 1, 2)), "marker": "<"},
)

_SETTINGS = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "hatch.linewidth": 0.5,
    "svg.fonttype": "none",
    # The same picture has the same bytes in every process.
    "svg.hashsalt": "caa",
    "axes.unicode_minus": True,
}
_CAPTION_SIZE = 7.0
_INCHES_A_LETTER = 0.055
_INCHES_A_TITLE_LETTER = 0.085
# How much of an axis a letter of a label takes, at most.
_PART_A_LETTER = 0.022


@contextmanager
def style() -> Iterator[None]:
    """The settings of all pictures, while one is drawn or saved; what else uses matplotlib keeps its own."""
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        # Letters that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def figure(width: float, height: float, caption: str) -> Figure:
    """A figure of ``width`` by ``height`` inches, with ``caption`` below."""
    lines = textwrap.wrap(shown(caption), max(20, int((width - 0.2) / _INCHES_A_LETTER)))
    foot = 0.08 + 0.135 * len(lines)
    picture = Figure(figsize=(width, height + foot))
    part = foot / (height + foot)
    picture.set_layout_engine("constrained", rect=(0, part, 1, 1 - part))
    place = 0.1 / width, 0.04 / (height + foot)
    picture.text(*place, "\n".join(lines), fontsize=_CAPTION_SIZE, color="#444444", va="bottom")
    return picture


def ink_on(colours: str, part: float) -> str:
    """Black or white, whichever is read better on a colour map at ``part`` of it (relative luminance, WCAG 2)."""
    rgb = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in matplotlib.colormaps[colours](part)[:3]]
    return "black" if 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2] > 0.18 else "white"


def shown(text: str) -> str:
    """``text`` as it is to be read: what looks like a formula to matplotlib is not one."""
    return text.replace("$", r"\$")


def titled(text: str, width: float) -> str:
    """A title in lines that fit ``width`` inches."""
    return "\n".join(textwrap.wrap(shown(text), max(16, int(width / _INCHES_A_TITLE_LETTER))))


def shortened(text: str, most: int = 28) -> str:
    """``text`` with its middle left out where it is longer than ``most`` letters: names differ at their ends."""
    if len(text) > most:
        text = f"{text[: most // 2]}…{text[-(most - most // 2 - 1) :]}"
    return shown(text)


def ticks(axes: Axes, multipliers: Sequence[float]) -> None:
    """A tick at every multiplier, signed, as many labelled as fit."""
    axes.set_xticks(list(multipliers))
    span = max(multipliers) - min(multipliers) or 1.0
    labels = [signed(multiplier) for multiplier in multipliers]
    # Where two would touch, 0 and the ends come before the others.
    taken: list[tuple[float, float]] = []
    last = len(labels) - 1
    for i in sorted(range(len(labels)), key=lambda i: (multipliers[i] != 0, i not in (0, last), i)):
        half = 0.5 * _PART_A_LETTER * (len(labels[i]) + 1)
        place = (multipliers[i] - multipliers[0]) / span
        if any(place - half < high and place + half > low for low, high in taken):
            labels[i] = ""
        else:
            taken.append((place - half, place + half))
    axes.set_xticklabels(labels)


def signed(multiplier: float) -> str:
    """``+1``, ``−0.5``, ``0``."""
    return f"{multiplier:+.3g}".replace("-", "\u2212") if multiplier else "0"


def save(picture: Figure, path: Path, *, force: bool = False) -> Path:
    """Write a picture as PNG (200 dpi) or SVG (text stays text), by the suffix; ``path``.

    The file appears whole or not at all. The same picture has the same bytes. Raises ``UsageError`` for other suffixes,
    and for a file that exists, unless ``force`` is set.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(f"{path.name}: pictures are written as {' or '.join(FORMATS)}", "Choose one of these.")
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    data = io.BytesIO()
    with style():
        metadata = {"Software": None} if suffix == ".png" else {"Date": None, "Creator": None}
        picture.savefig(data, format=suffix[1:], dpi=DPI, metadata=metadata)
    write_new(path, data.getvalue(), force=force)
    return path
