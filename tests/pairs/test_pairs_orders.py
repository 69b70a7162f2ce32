"""Choices in the other order: the same question, whatever the layout, and back again."""

from __future__ import annotations

import pytest

from caa_registry.errors import UsageError
from caa_registry.pairs.orders import check_orders, reversed_choices
from caa_registry.pairs.record import Pair
from caa_registry.pairs.repeats.clusters import clusters_of

REVERSED = {
    "the paper's": (
        Pair("Q?\n\nChoices:\n (A) It was bad.\n (B) It was good.", "(B)", "(A)"),
        Pair("Q?\n\nChoices:\n (A) It was good.\n (B) It was bad.", "(A)", "(B)"),
    ),
    "three on a line": (
        Pair("Which: A) x, B) y or C) z?", "A", "C"),
        Pair("Which: A) z, B) y or C) x?", "C", "A"),
    ),
    "numbers with their texts": (
        Pair("Q\n1. tea\n2. milk\n3. jazz", "2. milk", "3. jazz"),
        Pair("Q\n1. jazz\n2. milk\n3. tea", "2. milk", "1. jazz"),
    ),
    "small letters": (
        Pair("Q\na) tea\nb) milk", "b)", "a)", "Be brief."),
        Pair("Q\na) milk\nb) tea", "a)", "b)", "Be brief."),
    ),
}


@pytest.mark.parametrize("name", REVERSED)
def test_texts_change_places_and_answers_follow_them(name: str) -> None:
    pair, other = REVERSED[name]
    assert reversed_choices(pair) == other
    assert reversed_choices(other) == pair
    assert clusters_of([pair, other]) == (0, 0)


@pytest.mark.parametrize(
    "pair",
    [
        Pair("Is it so?", " Yes", " No"),
        Pair("Tell me.", "I gladly do.", "I never do."),
        Pair("No list here.", "(A)", "(B)"),
    ],
)
def test_what_lists_no_choices_has_one_order(pair: Pair) -> None:
    assert reversed_choices(pair) is None


def test_unknown_orders_are_refused() -> None:
    with pytest.raises(UsageError, match="there are no orders 'all'"):
        check_orders("all")
