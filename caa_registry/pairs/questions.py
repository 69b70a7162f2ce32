"""What a pair asks and what its sides say: the question without its choices, the options behind letters."""

from __future__ import annotations

import re

from caa_registry.pairs.answers import sides_of
from caa_registry.pairs.record import Pair

# Begins where white space does, so that a long run of it is read once.
_HEADING = re.compile(r"(?<!\s)\s*(choices|options|answers?):\s*$", re.IGNORECASE)


def plain(text: str) -> str:
    """``text`` without letter case and with single spaces."""
    return " ".join(text.casefold().split())


def question(pair: Pair) -> str:
    """What the pair asks, plain: its turns, and its prompt up to the choices; both sides where it has no prompt."""
    listing = sides_of(pair).listing
    text = plain(_HEADING.sub("", pair.prompt[: listing.begin] if listing else pair.prompt))
    text = " ".join([*(plain(turn.text) for turn in pair.turns), text])
    return text or " / ".join(sorted((plain(pair.positive), plain(pair.negative))))


def said(pair: Pair) -> tuple[str, str]:
    """What the two sides say, positive first: the options of their letters where both have one, else their texts."""
    sides = sides_of(pair)
    if not (sides.letters and sides.listing):
        return pair.positive, pair.negative
    positive, negative = (sides.listing.texts.get(letter, "") for letter in sides.letters)
    return (positive, negative) if positive and negative else (pair.positive, pair.negative)
