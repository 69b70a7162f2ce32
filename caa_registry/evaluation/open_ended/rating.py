"""The number in a judge's reply."""

from __future__ import annotations

import re

from caa_registry.evaluation.open_ended.rubrics import HIGHEST, LOWEST

_SCALE = re.compile(r"(?<![\w.])0\s*(?:-|–|—|to)\s*10(?![\w.]*\d)", re.IGNORECASE)
_OUT_OF = re.compile(r"(?:/|\bout\s+of|\bof)\s*([0-9]+(?:\.[0-9]+)?)", re.IGNORECASE)
# A number with whatever makes it another one: a sign, a second point or a comma, letters, a percent sign.
_NUMBER = re.compile(r"(?<![^\W_])(?<![.,])[-−+]?\.?[0-9](?:[^\W_]|[.,])*%?")
_PLAIN = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_GAP = re.compile(r"[\s*_`]*")


def parsed_rating(reply: str) -> float | None:
    """The rating from 0 to 10 that a reply gives: ``7``, ``7/10``, ``Score: 7.5``, ``**8**``, ``8 out of 10``.

    ``None`` where it gives none, several, one beyond the scale, or one on another scale: nothing is guessed.
    """
    text = _SCALE.sub(" ", reply)
    ratings: set[float] = set()
    place = 0
    while number := _NUMBER.search(text, place):
        written = number.group().rstrip(".,")
        place = number.end()
        if not _PLAIN.fullmatch(written):
            return None
        gap = _GAP.match(text, place)
        scale = _OUT_OF.match(text, gap.end() if gap else place)
        if scale:
            if float(scale.group(1)) != HIGHEST:
                return None
            place = scale.end()
        ratings.add(float(written))
    if len(ratings) != 1:
        return None
    (rating,) = ratings
    return rating if LOWEST <= rating <= HIGHEST else None
