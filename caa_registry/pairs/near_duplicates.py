"""Near duplicates in sets of any size: MinHash (Broder 1997) finds candidates, each is then compared exactly.

Texts are compared as sets of their three-word sequences. Two items are near duplicates where the Jaccard similarity of
their sets is the threshold or more. A sketch of 126 permutations in 21 bands misses of
the pairs at similarity 0.8 two in a thousand, and fewer above.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
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


@dataclass(frozen=True)
class Near:
    """Item ``one`` is nearly item ``other``, which comes before it in the order given."""

    one: int
    other: int
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
        key = (near.one, groups[near.other])
        if key not in best or near.similarity > best[key].similarity:
            best[key] = near
    return sorted(best.values(), key=lambda near: (near.one, near.other))


def all_near(pairs: Sequence[Pair], *, first: int, progress: Progress | None = None) -> Iterator[Near]:
    """Every two near duplicates, the later of them from ``first`` on; ascending by place."""
    words: dict[str, int] = {}
    sets = [shingles(pair, words) for pair in pairs]
    for one, other in _candidates(sets, progress):
        if one >= first:
            similarity = jaccard(sets[one], sets[other])
            if similarity >= THRESHOLD:
                yield Near(one, other, similarity)


def _candidates(sets: Sequence[NDArray[np.uint64]], progress: Progress | None) -> list[tuple[int, int]]:
    """Pairs of places, the later first, whose sketches agree in a band; ascending, each once."""
    sketches = _sketches(sets, progress)
    full = np.flatnonzero([len(found) > 0 for found in sets])
    candidates: set[tuple[int, int]] = set()
    for band in range(BANDS):
        values = sketches[full, band * ROWS : (band + 1) * ROWS].astype(np.uint64)
        keys = (values * _FACTORS[:ROWS]).sum(axis=1, dtype=np.uint64)
        order = np.argsort(keys, kind="stable")
        ends = np.flatnonzero(np.diff(keys[order])) + 1
        for run in np.split(full[order], ends):
            for k in range(1, len(run)):
                candidates.update((int(run[k]), int(other)) for other in run[max(0, k - _COMPARED) : k])
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


def shingles(pair: Pair, words: dict[str, int]) -> NDArray[np.uint64]:
    """The hashes of the three-word sequences of a pair's texts, ascending, each once."""
    parts = []
    for text in (pair.prompt, pair.positive, pair.negative):
        split = plain(text).split()
        hashes = np.fromiter((_hash(word, words) for word in split), np.uint64, len(split))
        # A text of one or two words is one sequence.
        n = max(1, len(hashes) - 2) if len(hashes) else 0
        if n:
            parts.append(sum((hashes[k : n + k] * _FACTORS[k] for k in range(min(3, len(hashes)))), np.uint64(0)))
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.uint64)


def _hash(word: str, known: dict[str, int]) -> int:
    found = known.get(word)
    if found is None:
        found = int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        known[word] = found
    return found


def jaccard(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> float:
    """How much two sets have in common, of all that they have; both ascending and not empty."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)
