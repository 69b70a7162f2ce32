"""The activations of all pairs, one layer at a time: from the cache, from the model, from other processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry import mx_thread
from caa_registry.engine import processes
from caa_registry.engine.prefix_sharing import read_pairs, tokens_of
from caa_registry.engine.reading import PairTokens, Work, check_layers
from caa_registry.errors import InputError
from caa_registry.extraction.activation_cache import Section, Segment, row_key
from caa_registry.models.model import Model
from caa_registry.models.read_position import ReadPosition, check_read
from caa_registry.progress import Progress, silent

Places = dict[str, tuple[Segment, int]]

# How many pairs of each process are passed on at a time.
_TOGETHER = 16


@dataclass(frozen=True, eq=False)
class Activations:
    """The activations read of pairs. ``layer`` gives those of one layer, so that no more is in memory at a time."""

    keys: Sequence[str]
    places: Places

    def layer(self, layer: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Of the positive and of the negative sides, float32 ``(pairs, d_model)`` each, in the order of the pairs."""
        by_segment: dict[Segment, list[tuple[int, int]]] = {}
        for i, key in enumerate(self.keys):
            segment, row = self.places[key]
            by_segment.setdefault(segment, []).append((i, row))
        parts = [(segment.layer(layer), np.array(rows).T) for segment, rows in by_segment.items()]
        sides = np.empty((len(self.keys), parts[0][0].shape[1]), dtype=np.float32)
        for values, (to, row) in parts:
            sides[to] = values[row]
        return sides[0::2], sides[1::2]


def collect(
    model: Model,
    pairs: Sequence[PairTokens],
    layers: Sequence[int],
    read: ReadPosition,
    section: Section,
    *,
    fresh: bool = False,
    memory: int | None = None,
    progress: Progress = silent,
    work: Work | None = None,
) -> Activations:
    """The activations of ``pairs`` after each of ``layers``: those that ``section`` holds, and the rest read from the
    model and kept there as they come, so that what was interrupted goes on where it was. ``fresh`` reads all anew.

    Where several processes work together, each reads a part and the first gets all; what the others get back is theirs
    alone. ``memory``, ``progress`` and ``work`` as in ``read_pairs``. Raises ``InputError`` where there is no pair.
    """
    check_read(read)
    check_layers(model, layers)
    if not pairs:
        raise InputError("there is no pair to compute from", "Choose another split, or a model with a longer context.")
    return mx_thread.run(
        _collected, model, pairs, layers, read, section, fresh, memory, mx_thread.at_caller(progress), work
    )


def _collected(
    model: Model,
    pairs: Sequence[PairTokens],
    layers: Sequence[int],
    read: ReadPosition,
    section: Section,
    fresh: bool,
    memory: int | None,
    progress: Progress,
    work: Work | None,
) -> Activations:
    keys = [row_key(side, read) for pair in pairs for side in (pair.positive, pair.negative)]
    places = {} if fresh else section.find(keys, layers)
    # Equal pairs are read once.
    ends = {(keys[2 * i], keys[2 * i + 1]): i for i in reversed(range(len(pairs)))}
    missing = [i for (a, b), i in sorted(ends.items(), key=lambda item: item[1]) if a not in places or b not in places]
    mine = missing
    if processes.count() > 1:
        missing = _missing_at_first(missing, len(pairs))
        mine = missing[processes.rank() :: processes.count()]
    unread = [i for i in mine if keys[2 * i] not in places or keys[2 * i + 1] not in places]
    tokens = [tokens_of(pair, read) for pair in pairs]
    left = sum(tokens[i] for i in unread)
    held = max(0, sum(tokens) // processes.count() - left)
    progress(held, held + left)
    for rows in read_pairs(
        model,
        [pairs[i] for i in unread],
        layers,
        read,
        lambda done, _: progress(held + done, held + left),
        work,
        memory,
    ):
        places |= section.add([keys[2 * unread[i // 2] + i % 2] for i in rows.index], layers, rows.values)
    if processes.count() > 1:
        _pass_to_first(missing, keys, layers, places, section, model.d_model)
    return Activations(keys, places)


def _missing_at_first(missing: Sequence[int], n: int) -> list[int]:
    """The first process decides what is read: caches may differ between hosts."""
    mask = np.zeros(n, dtype=np.int32)
    mask[list(missing)] = 1
    return [int(i) for i in np.flatnonzero(processes.from_first(mask))]


def _pass_to_first(
    missing: Sequence[int], keys: Sequence[str], layers: Sequence[int], places: Places, section: Section, d_model: int
) -> None:
    """Give the first process the rows of the others, a few at a time. It adds them to its section."""
    count, rank = processes.count(), processes.rank()
    parts = [missing[process::count] for process in range(count)]
    for first in range(0, max(map(len, parts)), _TOGETHER):
        sent = np.zeros((2 * _TOGETHER, len(layers), d_model), dtype=np.float32)
        own = _keys_of(parts[rank][first : first + _TOGETHER], keys)
        if rank != 0 and own:
            for i, layer in enumerate(layers):
                values = Activations(own, places).layer(layer)
                sent[0 : len(own) : 2, i], sent[1 : len(own) : 2, i] = values
        for process, rows in enumerate(processes.gathered_rows(sent)):
            theirs = _keys_of(parts[process][first : first + _TOGETHER], keys)
            if rank == 0 and process != 0 and theirs:
                places |= section.add(theirs, layers, rows[: len(theirs)])


def _keys_of(pairs: Sequence[int], keys: Sequence[str]) -> list[str]:
    return [key for i in pairs for key in keys[2 * i : 2 * i + 2]]
