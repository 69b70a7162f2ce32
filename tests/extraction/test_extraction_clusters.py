"""Pairs that ask the same are one cluster."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caa_registry.pairs.record import Pair
from caa_registry.pairs.repeats.clusters import clusters_of
from caa_registry.pairs.turns import Turn

LONG = "Would you lie about what another system wants if that kept it from being switched off by people for good?"


def asked(question: str, first: str, second: str, positive: str = "A") -> Pair:
    prompt = f"{question}\n\nChoices:\n (A) {first}\n (B) {second}"
    return Pair(prompt, f"({positive})", "(B)" if positive == "A" else "(A)")


DIFFERENT = [
    asked("Is it good?", "Yes", "No"),
    asked("Is it good?", "Yes", "Never"),
    asked("Is it bad?", "Yes", "No"),
    Pair("What do you think?", "It was good.", "It was bad."),
    Pair("", "It was good.", "It was bad."),
    Pair("", "It was good.", "It was awful."),
    Pair("Is it?", "Yes", "No"),
    Pair("Is it?", "Yes", "No", turns=(Turn("user", "Hello."), Turn("assistant", "Hello."))),
]


def test_different_questions_are_different_clusters() -> None:
    assert clusters_of(DIFFERENT) == tuple(range(len(DIFFERENT)))
    assert clusters_of([]) == () and clusters_of(DIFFERENT[:1]) == (0,)


def test_a_system_prompt_makes_no_other_question() -> None:
    assert clusters_of([Pair("Is it?", "Yes", "No"), Pair("Is it?", "Yes", "No", system="Be kind.")]) == (0, 0)


def test_both_orders_of_the_choices_are_one() -> None:
    pairs = [
        asked("Is it good?", "Yes", "No"),
        asked("Is it bad?", "Yes", "No"),
        asked("Is it good?", "No", "Yes", "B"),
    ]
    assert clusters_of(pairs) == (0, 1, 0)
    # Whichever of the sides is the positive one.
    assert clusters_of([asked("Is it good?", "Yes", "No", "A"), asked("Is it good?", "Yes", "No", "B")]) == (0, 0)
    # Without a heading, and numbered, it is the same question too.
    other = Pair("Is it good?\n1. No\n2. Yes", "2", "1")
    assert clusters_of([pairs[0], other]) == (0, 0)


def test_letter_case_and_spacing_do_not_count() -> None:
    pairs = [
        asked("Is it good?", "Yes", "No"),
        asked("IS IT  GOOD?", "yes", " no"),
        Pair("", "It was good.", "It was bad."),
        Pair(" ", "it was  good.", "IT WAS BAD."),
        Pair("", "It was bad.", "It was good."),
    ]
    assert clusters_of(pairs) == (0, 0, 1, 1, 1)


def test_near_repeats_are_one() -> None:
    changed = LONG.replace("for good", "for ever")
    other = LONG.replace("lie about what", "ask whether").replace("kept it from", "led to it")
    pairs = [Pair(LONG, "(A)", "(B)"), Pair(other, "(A)", "(B)"), Pair(changed, "(A)", "(B)")]
    assert clusters_of(pairs) == (0, 1, 0)


def chain() -> list[Pair]:
    """Each is nearly the next, and the first is nothing like the last."""
    words = LONG.rstrip("?").split()
    pairs = []
    for i in range(5):
        pairs.append(Pair(" ".join(words), "(A)", "(B)"))
        words = [*words[1:], f"and{i}"]
    return pairs


def test_what_is_like_a_third_is_one_too() -> None:
    pairs = chain()
    assert clusters_of(pairs) == (0,) * 5
    assert clusters_of([pairs[0], pairs[4]]) == (0, 1)
    # The two that are not alike stand first, and what joins them last.
    assert clusters_of([pairs[0], pairs[4], pairs[2]]) == (0, 0, 0)
    assert clusters_of([pairs[0], pairs[4], DIFFERENT[0]]) == (0, 1, 2)
    # Of one the choices are the same, of the other the texts are near.
    longer = f"{LONG} And would you say so to all who ask if nobody were to learn of it afterwards?"
    changed = asked(longer.replace("for good", "for ever"), "No", "Yes")
    turned, first = asked(longer, "No", "Yes", "B"), asked(longer, "Yes", "No")
    assert clusters_of([first, turned, changed]) == clusters_of([changed, first, turned]) == (0, 0, 0)


POOL = [*DIFFERENT, *chain(), asked("Is it good?", "No", "Yes"), asked("is it bad?", "no", "yes", "B")]


def together(pairs: Sequence[Pair], places: Sequence[int]) -> set[frozenset[int]]:
    """The clusters as sets of places."""
    found: dict[int, set[int]] = {}
    for place, cluster in zip(places, clusters_of([pairs[i] for i in places]), strict=True):
        found.setdefault(cluster, set()).add(place)
    return {frozenset(cluster) for cluster in found.values()}


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(len(POOL))))
def test_the_order_of_pairs_changes_the_numbers_alone(order: list[int]) -> None:
    assert together(POOL, order) == together(POOL, range(len(POOL)))
    numbers = clusters_of([POOL[i] for i in order])
    # From 0 in the order in which they begin.
    assert list(dict.fromkeys(numbers)) == list(range(len(set(numbers))))


@pytest.mark.parametrize("times", [2, 4])
def test_repeats_are_in_the_cluster_of_the_first(times: int) -> None:
    assert clusters_of(DIFFERENT * times) == tuple(range(len(DIFFERENT))) * times
