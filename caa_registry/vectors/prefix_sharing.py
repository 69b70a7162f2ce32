"""Activations of pairs, the prompt of a pair run once.

Both sides of a pair share their tokens up to the completion. These are run once, in batches of one length, so that
no padding stands before anything read; then the cache branches, and both sides go on from it, right-padded. What is
read is checked against the plain forward pass at the first batch, and again when a sliding window first overflows.
Where the two differ, the rest is read plainly, and a warning says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

import caa_registry.models.blas  # noqa: F401

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from caa_registry.models.batching import TOKENS_PER_BATCH
from caa_registry.models.branching import branched, branching_cache, windows_full
from caa_registry.models.model import Model
from caa_registry.models.prompts import CompletedTokens
from caa_registry.progress import Progress, silent
from caa_registry.vectors.read_position import ReadPosition, check_read
from caa_registry.vectors.reading import PairTokens, Rows, check_layers, gathered, read_activations

_log = logging.getLogger(__name__)

# Largest difference from the plain forward pass, relative to the largest value: rounding, with room.
_TOLERANCE = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 1e-1}


def read_pairs(
    model: Model,
    pairs: Sequence[PairTokens],
    layers: Sequence[int],
    read: ReadPosition,
    progress: Progress = silent,
) -> Iterator[Rows]:
    """The residual stream after each of ``layers`` at the read position of both sides of every pair.

    ``Rows.index`` counts sides: ``2 * i`` is the positive side of ``pairs[i]``, ``2 * i + 1`` the negative. Equal to
    ``read_activations`` on the sides up to rounding, at about half its work or less.
    """
    check_read(read)
    check_layers(model, layers)
    sides = [_cut(side, read) for pair in pairs for side in (pair.positive, pair.negative)]
    shared = [_shared(sides[i], sides[i + 1], read) for i in range(0, len(sides), 2)]
    longest = [max(len(sides[i].ids), len(sides[i + 1].ids)) for i in range(0, len(sides), 2)]
    batches = list(_batches(shared, longest))
    checked: set[tuple[bool, ...]] = set()
    done = 0
    progress(0, len(sides))
    for number, batch in enumerate(batches):
        index = [side for pair in batch for side in (2 * pair, 2 * pair + 1)]
        chosen = [sides[i] for i in index]
        length = min(shared[pair] for pair in batch)
        values, full = _read_branches(model, chosen, length, layers, read)
        if length > 0 and full not in checked:
            # The last pair of a batch is the one whose completions stand farthest behind the branching point.
            plain = np.concatenate(
                [rows.values for side in chosen[-2:] for rows in read_activations(model, [side], layers, read)]
            )
            if not _close(values[-2:], plain, model.dtype):
                _log.warning(
                    "%s computes differently when a prompt is run once for both sides of a pair, so every text is run "
                    "whole; this takes about twice as long.",
                    model.info.architecture,
                )
                rest = [side for later in batches[number:] for pair in later for side in (2 * pair, 2 * pair + 1)]
                for rows in read_activations(model, [sides[i] for i in rest], layers, read):
                    yield replace(rows, index=[rest[i] for i in rows.index])
                    done += len(rows.index)
                    progress(done, len(sides))
                return
            checked.add(full)
        yield Rows(index, values)
        done += len(index)
        progress(done, len(sides))


def _cut(side: CompletedTokens, read: ReadPosition) -> CompletedTokens:
    """Without the tokens after the last one read, which nothing read depends on."""
    return replace(side, ids=side.ids[: side.answer + 1]) if read == "answer" else side


def _shared(positive: CompletedTokens, negative: CompletedTokens, read: ReadPosition) -> int:
    """How many leading tokens both sides have in common, all of them before the first one read on either side."""
    limit = min(side.start if read == "mean" else len(side.ids) - 1 for side in (positive, negative))
    for i in range(limit):
        if positive.ids[i] != negative.ids[i]:
            return i
    return limit


def _batches(shared: Sequence[int], longest: Sequence[int]) -> Iterator[list[int]]:
    """Pairs of similar shared length. The shortest is run as the prefix of all, so that a longer one costs twice the
    tokens by which it is longer, and a batch ends where that is more than a sixteenth."""
    batch: list[int] = []
    width = 0
    for pair in sorted(range(len(shared)), key=lambda i: (shared[i], longest[i], i)):
        first = shared[batch[0]] if batch else 0
        wider = max(width, longest[pair])
        tokens = (len(batch) + 1) * (first + 2 * (wider - first))
        if batch and (shared[pair] - first > first // 16 or tokens > TOKENS_PER_BATCH):
            yield batch
            batch, wider = [], longest[pair]
        batch.append(pair)
        width = wider
    if batch:
        yield batch


def _read_branches(
    model: Model, sides: Sequence[CompletedTokens], length: int, layers: Sequence[int], read: ReadPosition
) -> tuple[NDArray[np.float32], tuple[bool, ...]]:
    """Both sides of each pair, the first ``length`` tokens of a pair run once: float32 ``(sides, layers, d_model)``."""
    ends = [side.prompt_end for side in sides]
    cache = branching_cache(model.network)
    full: tuple[bool, ...] = ()
    if length > 0:
        with model.stream.prompt(ends[::2]):
            model.network(mx.array([list(side.ids[:length]) for side in sides[::2]]), cache=cache)
        cache = branched(cache, 2)
        full = windows_full(cache)
    rest = [
        replace(side, ids=side.ids[length:], start=side.start - length, answer=side.answer - length) for side in sides
    ]
    width = max(len(side.ids) for side in rest)
    tokens = mx.array([list(side.ids) + [0] * (width - len(side.ids)) for side in rest])
    with model.stream.prompt(ends):
        return gathered(model, tokens, cache, rest, layers, read), full


def _close(values: NDArray[np.float32], plain: NDArray[np.float32], dtype: str) -> bool:
    difference = float(np.abs(values - plain).max())
    # Values that are not finite are the model's, and are reported where the vector is made.
    return not np.isfinite(plain).all() or difference <= _TOLERANCE.get(dtype, 1e-3) * float(np.abs(plain).max())
