"""A pair of letters with its choices in the other order, so that a preference for a letter cancels out."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

from caa_registry.errors import UsageError
from caa_registry.pairs.answers import sides_of
from caa_registry.pairs.record import Pair

Orders = Literal["as-written", "both"]


def check_orders(orders: str) -> Orders:
    """``orders`` if it is one, else ``UsageError``."""
    for known in get_args(Orders):
        if orders == known:
            return known  # type: ignore[no-any-return]
    raise UsageError(f"there are no orders {orders!r}", f"Choose one of {', '.join(get_args(Orders))}.")


def reversed_choices(pair: Pair) -> Pair | None:
    """``pair`` with the texts of its choices in reverse order under the same labels, and its sides answering with the
    letters that their texts now have; ``None`` where its sides are no letters of a list in its prompt."""
    sides = sides_of(pair)
    if not (sides.listing and sides.positive and sides.negative and sides.letters):
        return None
    choices = sides.listing.choices
    letters = [choice.letter for choice in choices]
    if not set(sides.letters) <= set(letters):
        return None
    prompt, end = [], 0
    for choice, other in zip(choices, reversed(choices), strict=True):
        # What joins a text to the next one, such as a comma, stays where it is.
        start = pair.prompt.find(choice.text, choice.start, choice.stop)
        if start < 0:
            return None
        prompt += [pair.prompt[end:start], other.text]
        end = start + len(choice.text)
    moved = dict(zip(letters, reversed(letters), strict=True))
    positive, negative = (
        side.exchanged(text, moved[side.letter])
        for side, text in ((sides.positive, pair.positive), (sides.negative, pair.negative))
    )
    return replace(pair, prompt="".join([*prompt, pair.prompt[end:]]), positive=positive, negative=negative)
