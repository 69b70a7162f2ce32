"""How numbers and tables are written in a report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from caa_registry.errors import visible

_ALT = {
    "dose-response": "Score against multiplier",
    "layers": "Steerability by layer",
    "heat-map": "Score at every layer and multiplier",
    "items": "Effect on each item, sorted",
    "slopes": "Slopes of single items, by matching letter",
    "cosines": "Cosines between the layers",
}

_MARKUP = re.compile(r"[\\`*_{}\[\]<>()#!~&]")


def signed(multiplier: float | None) -> str:
    """``+1``, ``-0.5``, ``0``."""
    return f"{multiplier:+g}" if multiplier else "0"


def change(value: float) -> str:
    """``+0.123``, ``-0.123``, ``+0.000``."""
    return f"{round(value, 3) + 0.0:+.3f}"


def between(low: float | None, high: float | None, digits: int = 3) -> str:
    """``0.123 to 0.345``; nothing where there is no interval."""
    if low is None or high is None:
        return ""
    # 0.0 is added so that nothing is written -0.00.
    return f"{round(low, digits) + 0.0:.{digits}f} to {round(high, digits) + 0.0:.{digits}f}"


def inline(text: str) -> str:
    """``text`` as code within a line, at most 200 characters of it."""
    short = visible(" ".join(text.split()))
    return f"`{(short if len(short) <= 200 else short[:197] + '...').replace('`', chr(39))}`"


def plain(text: str) -> str:
    """``text`` that somebody else wrote, within a line of Markdown: nothing of it is a link, a tag or an emphasis."""
    return _MARKUP.sub(lambda found: f"\\{found[0]}", visible(" ".join(text.split())))


def picture(name: str) -> tuple[str, str]:
    """The picture ``name`` that lies beside the report, with an empty line after it."""
    return f"![{_ALT[name]}]({name}.png)", ""


def _cell(value: object) -> str:
    # A bar ends a cell, within code too; behind one backslash it does not, and behind two it would.
    return re.sub(r"(\\*)\|", lambda found: found[1] * 2 + "\\|", str(value)).replace("\n", " ")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """A Markdown table with an empty line after it; columns that are empty in every row are left out."""
    kept = [i for i in range(len(columns)) if not rows or any(row[i] not in (None, "") for row in rows)]
    yield "| " + " | ".join(columns[i] for i in kept) + " |"
    yield "|" + "---|" * len(kept)
    for row in rows:
        yield "| " + " | ".join(_cell(row[i]) for i in kept) + " |"
    yield ""
