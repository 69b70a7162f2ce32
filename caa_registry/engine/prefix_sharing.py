"""Activations of pairs, what texts share run once.

Both sides of a pair share their tokens up to the completion, and many pairs begin alike (a system prompt, a few-shot
header). Such a head is run once for all of its pairs; from there each prompt is run once for both of its sides, in
batches of one length, so that no padding stands before anything read; then the prompt cache branches, and both sides
go on from it, right-padded. On a CPU several batches are computed at a time.

What is read is checked against the plain forward pass whenever a way of sharing is first used, and again when a
sliding window first overflows. Where the two differ, the rest is read plainly, and a warning says so.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caa_registry.engine.caches import branched, branching_cache, held, windows
from caa_registry.engine.kernels import fast_kernels
from caa_registry.engine.plan import Group, evened, groups, shared_heads
from caa_registry.engine.reading import PairTokens, Rows, Work, check_layers, gathered, read_activations
from caa_registry.engine.schedule import managed_memory, side_by_side, tokens_at_a_time, workers
from caa_registry.engine.steps import Meter, Step, Worked, building, evaluate, steps
from caa_registry.models.memory import allowed_memory
from caa_registry.models.model import Model
from caa_registry.models.read_position import ReadPosition, check_read
from caa_registry.models.rendering.prompts import CompletedTokens
from caa_registry.mx import mx
from caa_registry.progress import Progress, silent

_log = logging.getLogger(__name__)

# Largest difference from the plain forward pass, relative to the largest value: rounding, with room.
_TOLERANCE = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 1e-1}


def read_pairs(
    model: Model,
    pairs: Sequence[PairTokens],
    layers: Sequence[int],
    read: ReadPosition,
    progress: Progress = silent,
    work: Work | None = None,
    memory: int | None = None,
) -> Iterator[Rows]:
    """The residual stream after each of ``layers`` at the read position of both sides of every pair.

    ``Rows.index`` counts sides: ``2 * i`` is the positive side of ``pairs[i]``, ``2 * i + 1`` the negative; both sides
    of a pair come together. Equal to ``read_activations`` on the sides up to rounding, at about half its work or less.

    ``memory``: bytes beside the weights that may be used, by default ``allowed_memory``; one pair is run whatever it
    takes. MLX's peak memory is reset, since it is measured on the longest pair. ``work`` is added to. ``progress``
    counts tokens, what both sides share once.
    """
    check_read(read)
    check_layers(model, layers)
    if not pairs:
        return
    sides = [_cut(side, read) for pair in pairs for side in (pair.positive, pair.negative)]
    reader = _Reader(model, sides, layers, read, work or Work(), progress)
    yield from reader.rows(allowed_memory() if memory is None else memory)


def tokens_of(pair: PairTokens, read: ReadPosition) -> int:
    """How many tokens of a pair are run: those that both sides share once."""
    sides = _cut(pair.positive, read), _cut(pair.negative, read)
    return 2 * max(len(side.ids) for side in sides) - _shared(*sides, read)


def _cut(side: CompletedTokens, read: ReadPosition) -> CompletedTokens:
    """Without the tokens after the last one read, which nothing read depends on."""
    return replace(side, ids=side.ids[: side.answer + 1]) if read == "answer" else side


@dataclass(frozen=True)
class _Read:
    """A group that was read: float32 ``(sides, layers, d_model)``, in which way, and where that was checked, whether it
    equals the plain forward pass."""

    group: Group
    values: NDArray[np.float32]
    way: tuple[Any, ...]
    equal: bool | None = None


class _Reader:
    """The sides of all pairs, and how they are read."""

    def __init__(
        self,
        model: Model,
        sides: Sequence[CompletedTokens],
        layers: Sequence[int],
        read: ReadPosition,
        work: Work,
        progress: Progress,
    ) -> None:
        self.model = model
        self.sides = sides
        self.layers = layers
        self.read = read
        self.work = work
        self.windows = windows(branching_cache(model.network))
        both = [(sides[i], sides[i + 1]) for i in range(0, len(sides), 2)]
        self.shared = [_shared(positive, negative, read) for positive, negative in both]
        self.longest = [max(len(positive.ids), len(negative.ids)) for positive, negative in both]
        self.tokens = [2 * longest - shared for longest, shared in zip(self.longest, self.shared, strict=True)]
        self.meter = Meter(progress, 0, sum(self.tokens))

    def rows(self, memory: int) -> Iterator[Rows]:
        """All sides, whatever way they have to be read. ``memory`` in bytes."""
        with managed_memory(), fast_kernels():
            left = set(range(len(self.shared)))
            # The longest pair first and alone: it shows what a token takes.
            probe = max(left, key=lambda i: self.longest[i])
            mx.reset_peak_memory()
            before = mx.get_active_memory()
            first = self._run(Group(0, self.shared[probe], (probe,)), None)
            per_pair = max(1, mx.get_peak_memory() - before)
            at_a_time = max(1, min(workers(), memory // per_pair))
            most = min(tokens_at_a_time(), memory // at_a_time * self.longest[probe] // per_pair)
            # Few pairs are spread over all that are computed at a time.
            most = min(most, sum(self.longest) // at_a_time)
            with closing(side_by_side(self._tasks(left - {probe}, most, at_a_time), at_a_time)) as results:
                for result in self._equal(itertools.chain([first], results)):
                    left -= set(result.group.pairs)
                    yield Rows(_sides_of(result.group.pairs), result.values)
            if left:
                yield from self._plainly(sorted(left), most)

    def _equal(self, results: Iterable[_Read]) -> Iterator[_Read]:
        """The ``results`` whose way was found equal to the plain forward pass, until one is not."""
        equal: set[tuple[Any, ...]] = set()
        waiting: list[_Read] = []
        for result in results:
            if result.equal is False:
                self.work.not_shared = (
                    f"{self.model.info.architecture} computes differently when a prompt is run once for both sides of "
                    "a pair"
                )
                _log.warning("%s, so every text is run whole; this takes about twice as long.", self.work.not_shared)
                return
            if result.equal:
                equal.add(result.way)
            waiting.append(result)
            yield from [each for each in waiting if each.way in equal]
            waiting = [each for each in waiting if each.way not in equal]

    def _tasks(self, pairs: Iterable[int], most: int, at_a_time: int) -> Iterator[Callable[[], _Read]]:
        known: set[tuple[Any, ...]] = set()
        order = sorted(pairs)
        prefixes = [self.sides[2 * pair].ids[: self.shared[pair]] for pair in order]
        for head, part in shared_heads(prefixes):
            cache = self._run_head(prefixes[part[0]][:head]) if head else None
            planned = groups(head, [order[i] for i in part], self.shared, self.longest, most)
            for group in evened(planned, at_a_time):
                way = self._way(group)
                yield functools.partial(self._run if way in known else self._run_checked, group, cache)
                known.add(way)

    def _way(self, group: Group) -> tuple[Any, ...]:
        """What decides how caches are used: groups of one way are right or wrong together."""
        return group.length > 0, group.head > 0, *(group.length >= window for window in self.windows)

    def _run_head(self, head: Sequence[int]) -> list[Any]:
        taken: list[Step] = []
        with building:
            cache = branching_cache(self.model.network)
            self._forward([head], cache, [len(head) - 1], taken)
            arrays = held(cache[: max(self.layers) + 1]) if len(cache) == self.model.n_layers else held(cache)
        evaluate(taken, arrays)
        return cache

    def _run(self, group: Group, head: list[Any] | None) -> _Read:
        """Both sides of each pair of the group. ``head``: the cache of the head, of one row."""
        sides = [self.sides[i] for i in _sides_of(group.pairs)]
        taken: list[Step] = []
        with building:
            cache = branching_cache(self.model.network) if head is None else branched(head, len(group.pairs))
            if group.length > group.head:
                prefixes = [side.ids[group.head : group.length] for side in sides[::2]]
                self._forward(prefixes, cache, [side.prompt_end for side in sides[::2]], taken)
            if group.length > 0:
                cache = branched(cache, 2)
            values = self._ends(sides, group.length, cache, taken)
            del cache  # what one block has used is given up while the next is computed
        evaluate(taken, values, self._worked(group.pairs))
        return _Read(group, np.array(values), self._way(group))

    def _worked(self, pairs: Sequence[int]) -> Worked:
        return self.meter.of(sum(self.tokens[pair] for pair in pairs))

    def _ends(self, sides: Sequence[CompletedTokens], length: int, cache: list[Any], taken: list[Step]) -> mx.array:
        """What is read, from after the first ``length`` tokens on, which ``cache`` holds."""
        rest = [replace(s, ids=s.ids[length:], start=s.start - length, answer=s.answer - length) for s in sides]
        width = max(len(side.ids) for side in rest)
        tokens = mx.array([list(side.ids) + [0] * (width - len(side.ids)) for side in rest])
        self.work.add(sum(len(side.ids) for side in rest))
        stream = self.model.stream
        with stream.prompt([side.prompt_end for side in sides]), steps(stream, taken, max(self.layers) + 1):
            return gathered(self.model, tokens, cache, rest, self.layers, self.read)

    def _forward(self, rows: Sequence[Sequence[int]], cache: list[Any], ends: Sequence[int], taken: list[Step]) -> None:
        self.work.add(sum(map(len, rows)))
        # Of the highest layer nothing is read yet.
        with self.model.stream.prompt(ends), steps(self.model.stream, taken, max(self.layers)):
            self.model.network(mx.array([list(ids) for ids in rows]), cache=cache)

    def _run_checked(self, group: Group, head: list[Any] | None) -> _Read:
        """As ``_run``, and whether the group's last pair, whose completions stand farthest behind the branching point,
        is read as the plain forward pass reads it."""
        result = self._run(group, head)
        if group.length == 0:
            return replace(result, equal=True)
        last = [self.sides[i] for i in _sides_of(group.pairs[-1:])]
        plain = np.empty_like(result.values[-2:])
        for rows in read_activations(self.model, last, self.layers, self.read, self.work):
            plain[list(rows.index)] = rows.values
        return replace(result, equal=_close(result.values[-2:], plain, self.model.dtype))

    def _plainly(self, pairs: Sequence[int], tokens_per_batch: int) -> Iterator[Rows]:
        """Whole texts, one pair after the other in order of length, each pair's sides together."""
        order = sorted(pairs, key=lambda pair: self.longest[pair])
        rows = max(1, tokens_per_batch // (2 * max(self.longest[pair] for pair in pairs)))
        for first in range(0, len(order), rows):
            index = _sides_of(order[first : first + rows])
            sides = [self.sides[i] for i in index]
            for rows_read in read_activations(self.model, sides, self.layers, self.read, self.work, 2**62):
                yield Rows([index[i] for i in rows_read.index], rows_read.values)
            self._worked(order[first : first + rows])(1.0)


def _sides_of(pairs: Sequence[int]) -> list[int]:
    return [side for pair in pairs for side in (2 * pair, 2 * pair + 1)]


def _shared(positive: CompletedTokens, negative: CompletedTokens, read: ReadPosition) -> int:
    """How many leading tokens both sides have in common, all of them before the first one read on either side."""
    limit = min(side.start if read == "mean" else len(side.ids) - 1 for side in (positive, negative))
    for i in range(limit):
        if positive.ids[i] != negative.ids[i]:
            return i
    return limit


def _close(values: NDArray[np.float32], plain: NDArray[np.float32], dtype: str) -> bool:
    difference = float(np.abs(values - plain).max())
    # Values that are not finite are the model's, and are reported where the vector is made.
    return not np.isfinite(plain).all() or difference <= _TOLERANCE.get(dtype, 1e-3) * float(np.abs(plain).max())
