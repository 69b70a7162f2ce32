"""What of a set of pairs is no independent evidence: clusters of pairs that ask the same, and the letters of sides.

An activation after ``(A)`` differs from one after ``(B)`` whatever they mean. Where one letter is right more often, a
direction of mere letters separates the sides; so activations are compared with those after the same letter only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry.pairs.answers import sides_of
from caa_registry.pairs.record import Pair
from caa_registry.pairs.repeats.clusters import clusters_of

Signs = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Grouping:
    """Of each of n pairs: ``clusters``, the number of its cluster, int ``(n,)``; ``strata``, the letter of its positive
    and of its negative side, ``(n, 2)`` of str, empty where the pair is not answered by letters."""

    clusters: NDArray[np.intp]
    strata: NDArray[np.str_]

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> Grouping:
        letters = [sides_of(pair).letters or ("", "") for pair in pairs]
        return cls(np.array(clusters_of(pairs), np.intp), np.array(letters, np.str_).reshape(-1, 2))

    @classmethod
    def none(cls, n: int) -> Grouping:
        """Independent pairs without letters."""
        return cls(np.arange(n), np.full((n, 2), ""))

    def take(self, kept: Sequence[int] | NDArray[np.intp]) -> Grouping:
        """Of some pairs only."""
        return Grouping(np.unique(self.clusters[kept], return_inverse=True)[1], self.strata[kept])

    @property
    def lettered(self) -> bool:
        """Whether any pair is answered by letters."""
        return bool((self.strata != "").any())

    def weights(self, signs: Signs) -> Signs:
        """How much each pair counts, ``(k, n)``, where ``signs`` swap its sides, so that a letter is as often right as
        wrong: of two letters either is right with half the weight of the pairs of both."""
        reversed_ = self.strata[:, 0] > self.strata[:, 1]
        weights = np.ones_like(signs)
        for kind in np.unique(np.sort(self.strata, axis=1), axis=0):
            here = (np.sort(self.strata, axis=1) == kind).all(axis=1)
            right = (signs[:, here] < 0) ^ reversed_[here]
            counts = right.sum(axis=1, keepdims=True)
            other = here.sum() - counts
            if kind[0] != kind[1]:
                both = (counts > 0) & (other > 0)
                own = np.where(right, counts, other)
                weights[:, here] = np.where(both, here.sum() / (2 * np.maximum(own, 1)), 1.0)
        return weights

    def kinds(self) -> list[tuple[list[NDArray[np.intp]], NDArray[np.int8]]]:
        """The clusters of each kind, as places of their pairs, and by cluster how it is turned: 1, -1, or 0 where
        turning it round changes no letter. Clusters of a kind have the same letters on their sides, turned or not."""
        found: dict[tuple[tuple[str, str], ...], list[tuple[NDArray[np.intp], int]]] = {}
        order = np.argsort(self.clusters, kind="stable")
        for places in np.split(order, np.flatnonzero(np.diff(self.clusters[order])) + 1):
            sides = tuple(sorted((str(a), str(b)) for a, b in self.strata[places]))
            turned = tuple(sorted((b, a) for a, b in sides))
            how = 0 if sides == turned else 1 if sides < turned else -1
            found.setdefault(min(sides, turned), []).append((places, how))
        return [
            ([places for places, _ in kind], np.array([how for _, how in kind], np.int8))
            for _, kind in sorted(found.items())
        ]


def halves(grouping: Grouping, generator: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The places of the pairs of two random halves: no cluster is in both, and letters are as often right in each."""
    first: list[NDArray[np.intp]] = []
    second: list[NDArray[np.intp]] = []
    for clusters, turns in grouping.kinds():
        for how in (1, 0, -1):
            own = [places for places, turn in zip(clusters, turns, strict=True) if turn == how]
            for place in generator.permutation(len(own)):
                smaller = first if sum(map(len, first)) <= sum(map(len, second)) else second
                smaller.append(own[place])
    empty = np.empty(0, np.intp)
    return np.sort(np.concatenate([*first, empty])), np.sort(np.concatenate([*second, empty]))


def swaps(grouping: Grouping, count: int, generator: np.random.Generator) -> Signs:
    """``(count, n)``: -1 where the sides of a pair are swapped, at random where labels mean nothing.

    Clusters are swapped whole. Where a swap changes which letter is right, clusters of a kind exchange their labels, so
    that each letter stays right as often as it was; others are swapped or not with equal chance.
    """
    signs = np.ones((count, len(grouping.clusters)))
    kinds = grouping.kinds()
    # Each kind draws on its own, so that the first swaps are the same however many there are.
    for (clusters, turns), stream in zip(kinds, generator.spawn(len(kinds)), strict=True):
        if turns.any():
            drawn = stream.permuted(np.tile(turns, (count, 1)), axis=1) * turns
        else:
            drawn = stream.choice([-1, 1], (count, len(turns)))
        for place, members in enumerate(clusters):
            signs[:, members] = drawn[:, [place]]
    return signs
