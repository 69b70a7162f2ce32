"""Pairs as tokens: which token is read, and what fits the model."""

from __future__ import annotations

from collections.abc import Sequence

from caa_registry.engine.reading import PairTokens
from caa_registry.errors import UsageError
from caa_registry.models.lengths import Longest
from caa_registry.models.model import Model
from caa_registry.models.read_position import ReadPosition
from caa_registry.models.rendering.prompts import Template
from caa_registry.pairs.answers import common_form, form_of
from caa_registry.pairs.record import Pair


def default_read(pairs: Sequence[Pair]) -> ReadPosition:
    """``answer`` where every pair is answered by a letter, Yes or No; ``last`` where all are free text.

    Raises ``UsageError`` for a mixture: which token is read decides what the vector means.
    """
    form = common_form(pairs)
    if form == "mixed" and any(form_of(pair) == "free-form" for pair in pairs):
        raise UsageError(
            "these pairs are partly free text and partly letters or Yes/No",
            "Say which token to read: --read answer, last or mean.",
        )
    return "last" if form == "free-form" else "answer"


def encode_pairs(
    pairs: Sequence[Pair], template: Template, model: Model, longest: Longest | None = None
) -> tuple[list[PairTokens], list[int]]:
    """All pairs as tokens, and the indexes of those left out because a side is too long. ``longest``: what
    ``model.longest`` gives.

    A pair is never cut: a cut text is another text.
    """
    kept: list[PairTokens] = []
    too_long: list[int] = []
    longest = longest or model.longest()
    for index, pair in enumerate(pairs):
        positive, negative = template.sides(pair)
        if longest.holds(max(len(positive.ids), len(negative.ids))):
            kept.append(PairTokens(index, positive, negative))
        else:
            too_long.append(index)
    return kept, too_long
