"""Clusters and letters of pairs: weights, halves and swaps that keep them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caa_registry.extraction.grouping import Grouping, halves, swaps
from caa_registry.pairs.record import Pair

SIDES = [("A", "B"), ("B", "A"), ("A", "C"), ("C", "A"), ("B", "C"), ("", "")]


def grouping(clusters: list[int], sides: list[tuple[str, str]]) -> Grouping:
    return Grouping(np.unique(clusters, return_inverse=True)[1], np.array(sides, np.str_).reshape(-1, 2))


@st.composite
def groupings(draw: st.DrawFn, sides: list[tuple[str, str]] = SIDES) -> Grouping:
    n = draw(st.integers(1, 30))
    clusters = draw(st.lists(st.integers(0, 12), min_size=n, max_size=n))
    return grouping(clusters, draw(st.lists(st.sampled_from(sides), min_size=n, max_size=n)))


def letters(found: Grouping, signs: np.ndarray) -> Counter[tuple[str, str]]:
    """How often each letter is right against which, where ``signs`` swap the sides."""
    return Counter(
        (str(a), str(b)) if sign > 0 else (str(b), str(a)) for (a, b), sign in zip(found.strata, signs, strict=True)
    )


def test_it_is_of_pairs() -> None:
    pairs = [
        Pair("Is it?\n (A) Yes\n (B) No", "(A)", "(B)"),
        Pair("Was it?\n (A) Yes\n (B) No", "(B)", "(A)"),
        Pair("Is it?\n (A) No\n (B) Yes", "(B)", "(A)"),
        Pair("What do you think?", "It was good.", "It was bad."),
    ]
    found = Grouping.of(pairs)
    assert found.clusters.tolist() == [0, 1, 0, 2] and found.lettered
    assert found.strata.tolist() == [["A", "B"], ["B", "A"], ["B", "A"], ["", ""]]
    assert not Grouping.of(pairs[3:]).lettered and not Grouping.none(3).lettered
    some = found.take([2, 3])
    assert (some.clusters.tolist(), some.strata.tolist()) == ([0, 1], [["B", "A"], ["", ""]])
    assert Grouping.of([]).clusters.shape == (0,) and Grouping.of([]).strata.shape == (0, 2)


@given(groupings(), st.integers(0, 10**6))
def test_weights_make_a_letter_as_often_right_as_wrong(found: Grouping, seed: int) -> None:
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (3, len(found.strata)))
    signs[0] = 1
    for row, weights in zip(signs, found.weights(signs), strict=True):
        assert (weights > 0).all() and weights.sum() == pytest.approx(len(row))
        of_kind: dict[tuple[str, ...], dict[tuple[str, str], float]] = {}
        for (a, b), sign, weight in zip(found.strata.tolist(), row, weights, strict=True):
            sides = (a, b) if sign > 0 else (b, a)
            kind = of_kind.setdefault(tuple(sorted(sides)), {})
            kind[sides] = kind.get(sides, 0) + weight
        for either in of_kind.values():
            # Of two letters that are both right each has half the weight.
            assert len(either) == 1 or len(set(np.round(list(either.values()), 9))) == 1


def test_a_push_to_a_letter_cancels() -> None:
    found = grouping(list(range(13)), [("A", "B")] * 8 + [("B", "A")] * 5)
    letter, behavior = np.array([3.0, 0.0]), np.array([0.0, 1.0])
    differences = np.where(found.strata[:, :1] == "A", 1.0, -1.0) * letter + behavior
    weights = found.weights(np.ones((1, 13)))[0]
    np.testing.assert_allclose(weights @ differences / weights.sum(), behavior, atol=1e-12)
    # The plain mean has 3 / 13 of it.
    assert differences.mean(axis=0)[0] == pytest.approx(9 / 13)


@given(groupings())
def test_without_two_letters_every_pair_counts_1(found: Grouping) -> None:
    alone = grouping(found.clusters.tolist(), [("A", "B")] * len(found.clusters))
    for either in (alone, Grouping.none(len(found.clusters))):
        assert (either.weights(np.ones((1, len(found.clusters)))) == 1).all()


@given(groupings(), st.integers(0, 10**6))
def test_swaps_keep_the_letters_numbers_and_clusters_whole(found: Grouping, seed: int) -> None:
    signs = swaps(found, 20, np.random.default_rng(seed))
    assert signs.shape == (20, len(found.clusters)) and set(np.unique(signs)) <= {-1.0, 1.0}
    own = letters(found, np.ones(len(found.clusters)))
    for row in signs:
        assert letters(found, row) == own
        for cluster in np.unique(found.clusters):
            assert len(set(row[found.clusters == cluster])) == 1
    np.testing.assert_array_equal(signs, swaps(found, 20, np.random.default_rng(seed)))


def test_swaps_are_even_where_letters_mean_nothing() -> None:
    signs = swaps(Grouping.none(6), 4000, np.random.default_rng(0))
    patterns, counts = np.unique(signs, axis=0, return_counts=True)
    assert len(patterns) == 64 and np.abs(counts - 4000 / 64).max() < 4 * np.sqrt(4000 / 64)
    # A question in both orders has both letters right, turned or not.
    both = grouping(np.repeat(np.arange(6), 2).tolist(), [("A", "B"), ("B", "A")] * 6)
    patterns, counts = np.unique(swaps(both, 4000, np.random.default_rng(0)), axis=0, return_counts=True)
    assert len(patterns) == 64 and np.abs(counts - 4000 / 64).max() < 4 * np.sqrt(4000 / 64)


def test_labels_are_exchanged_evenly_among_the_letters() -> None:
    found = grouping(list(range(6)), [("A", "B")] * 4 + [("B", "A")] * 2)
    signs = swaps(found, 3000, np.random.default_rng(1))
    patterns, counts = np.unique(signs, axis=0, return_counts=True)
    # Which 2 of 6 have B right: 15 ways.
    assert len(patterns) == 15 and np.abs(counts - 200).max() < 4 * np.sqrt(200)


def test_clusters_of_one_letter_are_not_swapped_at_all() -> None:
    found = grouping(list(range(7)), [("A", "B")] * 7)
    assert (swaps(found, 10, np.random.default_rng(2)) == 1).all()


@given(groupings(), st.integers(0, 10**6))
def test_halves_split_no_cluster(found: Grouping, seed: int) -> None:
    first, second = halves(found, np.random.default_rng(seed))
    assert sorted([*first, *second]) == list(range(len(found.clusters)))
    assert list(first) == sorted(first) and list(second) == sorted(second)
    assert not {*found.clusters[first]} & {*found.clusters[second]}
    largest = max(Counter(found.clusters.tolist()).values())
    assert abs(len(first) - len(second)) <= largest


@settings(max_examples=50)
@given(st.integers(1, 20), st.integers(0, 20), st.integers(0, 10**6))
def test_halves_of_single_pairs_have_the_same_letters(a: int, b: int, seed: int) -> None:
    found = grouping(list(range(a + b)), [("A", "B")] * a + [("B", "A")] * b)
    halved = halves(found, np.random.default_rng(seed))
    for letter in "AB":
        one, other = (int((found.strata[half, 0] == letter).sum()) for half in halved)
        assert abs(one - other) <= 1


def test_halves_are_random() -> None:
    generator = np.random.default_rng(3)
    found = {tuple(halves(Grouping.none(6), generator)[0]) for _ in range(300)}
    assert len(found) == 20


def test_clusters_of_a_kind_have_the_same_letters_turned_or_not() -> None:
    found = grouping(
        [0, 1, 2, 2, 3, 3, 4, 4, 5],
        [("A", "B"), ("B", "A"), ("A", "B"), ("B", "A"), ("A", "B"), ("A", "B"), ("B", "A"), ("B", "A"), ("", "")],
    )
    kinds = {tuple(tuple(map(int, places)) for places in clusters): turns.tolist() for clusters, turns in found.kinds()}
    assert kinds == {((0,), (1,)): [1, -1], ((2, 3),): [0], ((4, 5), (6, 7)): [1, -1], ((8,),): [0]}
