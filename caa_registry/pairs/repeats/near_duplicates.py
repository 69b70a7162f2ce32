"""Near duplicates: pairs whose texts, as sets of their three-word sequences, have a Jaccard similarity of a threshold
or more (Broder 1997).

They are found in two ways. ``NearIndex`` finds all of them, at any threshold, and takes pairs one after the other:
curation keeps and drops rows by it, and ``overlap`` looks for questions that another set has seen. ``near_duplicates``
looks at a whole set at once: MinHash finds candidates, each is then compared exactly; lint and ``diff`` use it on sets
of any size. Its sketch of 126 permutations in 21 bands misses two in a thousand of the pairs at similarity 0.8, and
fewer above.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from caa_registry.pairs.questions import plain
from caa_registry.pairs.record import Pair
from caa_registry.progress import Progress

THRESHOLD = 0.8
SEED = 1
# Two sets at 0.8 agree in one whole band or more with probability 1 - (1 - 0.8 ** 6) ** 21 = 0.998.
BANDS, ROWS = 21, 6

# Odd 64-bit numbers: a sequence of words is hashed as a sum of the words' hashes times these.
_FACTORS = np.array(
    [
        0x9E3779B97F4A7C15,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0xD6E8FEB86659FD93,
        0xA0761D6478BD642F,
        0xE7037ED1A0B428DB,
    ],
    np.uint64,
)
# Of those that agree in a band no more than this many before an item are compared with it: in a set of one template all
# agree with all.
_COMPARED = 32
# A product such as 0.8 * 5 must not be a little more than the whole number that it is.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Near:
    """The pair at place ``later`` is nearly the pair at place ``earlier``."""

    later: int
    earlier: int
    similarity: float


def near_duplicates(
    pairs: Sequence[Pair],
    groups: Sequence[Hashable],
    *,
    first: int = 0,
    progress: Progress | None = None,
) -> list[Near]:
    """For each pair from ``first`` on, and each group of the pairs before it, the most similar one of that group, where
    it is a near duplicate.

    ``groups``: of each pair, for example its split. Pairs are taken in the order given; for a result that does not
    depend on the order of a file, sort them first.
    """
    best: dict[tuple[int, Hashable], Near] = {}
    for near in all_near(pairs, first=first, progress=progress):
        key = (near.later, groups[near.earlier])
        if key not in best or near.similarity > best[key].similarity:
            best[key] = near
    return sorted(best.values(), key=lambda near: (near.later, near.earlier))


def all_near(pairs: Sequence[Pair], *, first: int, progress: Progress | None = None) -> Iterator[Near]:
    """Every two near duplicates, the later of them from ``first`` on; ascending by place."""
    words: dict[str, int] = {}
    sets = [_shingles(pair, words) for pair in pairs]
    for later, earlier in _candidates(sets, progress):
        if later >= first:
            similarity = _jaccard(sets[later], sets[earlier])
            if similarity >= THRESHOLD:
                yield Near(later, earlier, similarity)


def _candidates(sets: Sequence[NDArray[np.uint64]], progress: Progress | None) -> list[tuple[int, int]]:
    """Pairs of places, the later first, whose sketches agree in a band; ascending, each once."""
    sketches = _sketches(sets, progress)
    full = np.flatnonzero([len(hashes) > 0 for hashes in sets])
    candidates: set[tuple[int, int]] = set()
    for band in range(BANDS):
        values = sketches[full, band * ROWS : (band + 1) * ROWS].astype(np.uint64)
        keys = (values * _FACTORS[:ROWS]).sum(axis=1, dtype=np.uint64)
        order = np.argsort(keys, kind="stable")
        ends = np.flatnonzero(np.diff(keys[order])) + 1
        for run in np.split(full[order], ends):
            for k in range(1, len(run)):
                candidates.update((int(run[k]), int(earlier)) for earlier in run[max(0, k - _COMPARED) : k])
    return sorted(candidates)


def _sketches(sets: Sequence[NDArray[np.uint64]], progress: Progress | None) -> NDArray[np.uint32]:
    """The minima of ``BANDS * ROWS`` permutations of each set."""
    from datasketch import MinHash

    sketches = np.empty((len(sets), BANDS * ROWS), np.uint32)
    for i, hashes in enumerate(sets):
        sketch = MinHash(num_perm=BANDS * ROWS, seed=SEED, hashfunc=int, scheme="affine32")
        sketch.update_batch((hashes >> np.uint64(32)).tolist())
        sketches[i] = sketch.digest()
        if progress is not None and i % 1000 == 0:
            progress(i, len(sets))
    return sketches


def _shingles(pair: Pair, words: dict[str, int]) -> NDArray[np.uint64]:
    """The hashes of the three-word sequences of a pair's texts, ascending, each once."""
    parts = []
    for text in (*(turn.text for turn in pair.turns), pair.prompt, pair.positive, pair.negative):
        split = plain(text).split()
        hashes = np.fromiter((_hash(word, words) for word in split), np.uint64, len(split))
        # A text of one or two words is one sequence.
        n = max(1, len(hashes) - 2) if len(hashes) else 0
        if n:
            parts.append(sum((hashes[k : n + k] * _FACTORS[k] for k in range(min(3, len(hashes)))), np.uint64(0)))
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.uint64)


def _hash(word: str, known: dict[str, int]) -> int:
    value = known.get(word)
    if value is None:
        value = int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        known[word] = value
    return value


def _jaccard(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> float:
    """How much two sets have in common, of all that they have; both ascending and not empty."""
    common = len(np.intersect1d(a, b, assume_unique=True))
    return common / (len(a) + len(b) - common)


class NearIndex:
    """The pairs that were added, of ``pairs``, by place: near duplicates of them are found exactly, however many are
    alike.

    Two sets of similarity t share one of the first ``|x| - ceil(t |x|) + 1`` elements of each, in any common order
    (Bayardo et al. 2007). Of those only, rarest first, an index is kept: what all texts of one template share stands
    last and is hardly ever looked up.
    """

    def __init__(self, pairs: Sequence[Pair], threshold: float, progress: Progress | None = None) -> None:
        words: dict[str, int] = {}
        self._sets = [_shingles(pair, words) for pair in pairs]
        self._threshold = threshold
        self._progress = progress
        every = np.concatenate(self._sets) if self._sets else np.empty(0, np.uint64)
        self._known, self._counts = np.unique(every, return_counts=True)
        self._index: dict[int, list[int]] = {}

    def near(self, place: int, passed: Callable[[int], bool] | None = None) -> Iterator[int]:
        """The places added so far that are near duplicates of ``place``, each once; those for which ``passed`` holds
        are not compared."""
        if self._progress is not None and place % 1000 == 0:
            self._progress(place, len(self._sets))
        seen: set[int] = set()
        for shingle in self._prefix(place):
            for added in self._index.get(shingle, ()):
                if added in seen or (passed is not None and passed(added)):
                    continue
                seen.add(added)
                if _jaccard(self._sets[place], self._sets[added]) >= self._threshold:
                    yield added

    def add(self, place: int) -> None:
        """Compare later pairs with ``place`` too."""
        for shingle in self._prefix(place):
            self._index.setdefault(shingle, []).append(place)

    def _prefix(self, place: int) -> list[int]:
        own = self._sets[place]
        if not len(own):
            return []
        # By count, and then by the hash itself, which is the same everywhere.
        order = np.lexsort((own, self._counts[np.searchsorted(self._known, own)]))
        length = len(own) - max(1, math.ceil(self._threshold * len(own) - _ROUNDING)) + 1
        rarest: list[int] = own[order[:length]].tolist()
        return rarest


@dataclass(frozen=True)
class Overlap:
    """Places of the questions that the other set has: ``same``, and ``near`` without being the same."""

    same: tuple[int, ...]
    near: tuple[int, ...]


def overlap(questions: Sequence[Pair], seen: Sequence[Pair]) -> Overlap:
    """Which of ``questions`` are among ``seen``, computed exactly, whatever the size.

    Two pairs are the same where their prompts and turns are, or without prompts their completions, in any letter case
    and spacing; nearly the same where their texts are near duplicates at ``THRESHOLD``.
    """
    texts = {_text(pair) for pair in seen}
    same = {i for i, pair in enumerate(questions) if _text(pair) in texts}
    index = NearIndex([*seen, *questions], THRESHOLD)
    for place in range(len(seen)):
        index.add(place)
    near = [i for i in range(len(questions)) if i not in same and any(True for _ in index.near(len(seen) + i))]
    return Overlap(tuple(sorted(same)), tuple(near))


def _text(pair: Pair) -> tuple[str, ...]:
    if pair.prompt.strip():
        return (*(plain(turn.text) for turn in pair.turns), plain(pair.prompt))
    return tuple(sorted((plain(pair.positive), plain(pair.negative))))
