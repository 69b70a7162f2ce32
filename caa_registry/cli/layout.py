"""Tables as lines of text that fit a width. Not by ``rich``, whose import takes a fifth as long as SQLAlchemy's."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_GAP = 2
# No column is made narrower than this to make room.
_LEAST = 8


def width(text: str) -> int:
    """How many columns of a terminal ``text`` takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    marks = sum(unicodedata.combining(character) != 0 for character in text)
    return len(text) + wide - marks


def folded(text: str, room: int) -> list[str]:
    """``text`` as lines of at most ``room`` columns, broken at spaces where there are some."""
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if width(longer) <= room:
                line = longer
                continue
            if line:
                lines.append(line)
            while width(word) > room:
                end = _fitting(word, room)
                lines.append(word[:end])
                word = word[end:]
            line = word
        lines.append(line)
    return lines


def _fitting(word: str, room: int) -> int:
    """How many characters of ``word`` fit, at least one."""
    end = 1
    while end < len(word) and width(word[: end + 1]) <= room:
        end += 1
    return end


def fitted(widths: Sequence[int], whole: Sequence[bool], room: int) -> list[int]:
    """Widths of columns that fit ``room`` with the gaps between them: the widest give way first, those that are to stay
    ``whole`` only when the others cannot."""
    chosen = list(widths)
    excess = sum(chosen) + _GAP * (len(chosen) - 1) - room
    for kept in (False, True):
        columns = [i for i in range(len(chosen)) if whole[i] is kept]
        while excess > 0 and columns:
            widest = max(columns, key=lambda i: chosen[i])
            if chosen[widest] <= _LEAST:
                break
            chosen[widest] -= 1
            excess -= 1
    return chosen


def rows(cells: Sequence[Sequence[str]], whole: Sequence[bool], right: Sequence[bool], room: int) -> list[list[str]]:
    """The lines of each row of ``cells``, in columns that fit ``room``; ``right``: columns set flush right."""
    columns = range(len(whole))
    natural = [max(width(line) for row in cells for line in row[i].split("\n")) for i in columns]
    widths = fitted(natural, whole, room)
    printed = []
    for row in cells:
        parts = [folded(row[i], widths[i]) for i in columns]
        lines = []
        for number in range(max(map(len, parts))):
            line = ""
            for i in columns:
                text = parts[i][number] if number < len(parts[i]) else ""
                padding = " " * (widths[i] - width(text))
                line += (padding + text if right[i] else text + padding) + " " * _GAP
            lines.append(line.rstrip())
        printed.append(lines)
    return printed
