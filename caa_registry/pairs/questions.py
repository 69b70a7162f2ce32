"""What a pair asks and what its sides say: the question without its choices, the options behind letters."""

from __future__ import annotations

import re

from caa_registry.pairs.answers import choices, letter_of
from caa_registry.pairs.record import Pair

_FIRST_CHOICE = re.compile(r"^[ \t]*\([A-Z]\)", re.MULTILINE)
# Begins where white space does, so that a long run of it is read once.
_HEADING = re.compile(r"(?<!\s)\s*(choices|options|answers?):\s*$", re.IGNORECASE)


def plain(text: str) -> str:
    """``text`` without letter case and with single spaces."""
    return " ".join(text.casefold().split())


def question(pair: Pair) -> str:
    """What the pair asks, plain: its prompt up to the choices; both sides where it has no prompt."""
    first = _FIRST_CHOICE.search(pair.prompt)
    text = plain(_HEADING.sub("", pair.prompt[: first.start()] if first else pair.prompt))
    return text or " / ".join(sorted((plain(pair.positive), plain(pair.negative))))


def said(pair: Pair) -> tuple[str, str]:
    """What the two sides say, positive first: the options of their letters where both have one, else their texts."""
    letters = letter_of(pair.positive), letter_of(pair.negative)
    if not all(letters):
        return pair.positive, pair.negative
    listed = {choice.letter: choice.text for choice in choices(pair.prompt)}
    positive, negative = (listed.get(letter or "", "") for letter in letters)
    return (positive, negative) if positive and negative else (pair.positive, pair.negative)
