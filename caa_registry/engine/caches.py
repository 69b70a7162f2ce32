"""Prompt caches that branch, where a prefix is run once and several texts go on from it, and that join, where texts of
several lengths go on together."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mlx_lm.models.cache import CacheList, ConcatenateKVCache, KVCache, make_prompt_cache

from caa_registry.mx import mx, tree_flatten, tree_map


def branching_cache(network: Any) -> list[Any]:
    """A fresh prompt cache without spare room: mlx-lm's own grows by 256 tokens a row, and branching would copy it."""
    return [ConcatenateKVCache() if type(entry) is KVCache else entry for entry in make_prompt_cache(network)]


def branched(cache: Sequence[Any], copies: int) -> list[Any]:
    """``cache`` with every row ``copies`` times, side by side. ``cache`` itself stays as it is.

    Exact where all that an entry holds is in its ``state`` and rows come first, as in all of mlx-lm's caches; whether
    an architecture computes the same from there is for the caller to check.
    """
    return [_branched(entry, copies) for entry in cache]


def rows(cache: Sequence[Any], indexes: Sequence[int]) -> list[Any]:
    """The rows ``indexes`` of ``cache``, each as often as it is named. ``cache`` itself stays as it is."""
    chosen = mx.array(list(indexes))
    return [_mapped(entry, lambda x: x[chosen]) for entry in cache]


def row(cache: Sequence[Any], index: int, padding: int) -> list[Any]:
    """Row ``index`` of ``cache`` by itself, to be ``merged``, without its last ``padding`` tokens, of which there are
    some where ``padded`` allows it."""
    alone = [_row(entry, index) for entry in cache]
    for entry in alone if padding else ():
        entry.trim(padding)
    return alone


def merged(rows: Sequence[Sequence[Any]]) -> list[Any]:
    """Caches of one row each as one batch cache of mlx-lm's, in which shorter rows are padded on the left."""
    return [entries[0].merge(list(entries)) for entries in zip(*rows, strict=True)]


def joins(cache: Sequence[Any]) -> bool:
    """Whether rows of ``cache`` can be ``merged``, their positions known.

    mlx-lm cannot merge every entry, and loses the first tokens of those that keep them beside a window. At least one
    entry has to count its tokens, since a state says nothing of a row's length.
    """
    entries = list(_entries(cache))
    return all(hasattr(entry, "merge") and getattr(entry, "keep", 0) == 0 for entry in entries) and any(
        hasattr(entry, "offset") for entry in entries
    )


def padded(cache: Sequence[Any]) -> int:
    """Of how many tokens a row can be, in an empty ``cache``, for shorter ones to be padded on the right beside it:
    entries must be able to drop the last tokens again, and windows drop none for their sake."""
    if not all(entry.is_trimmable() for entry in _entries(cache)):
        return 0
    return min(windows(cache), default=2**62) - 1


def held(cache: Sequence[Any]) -> list[mx.array]:
    """The arrays of a cache, to be evaluated."""
    states = [entry.state for entry in _entries(cache) if not entry.empty()]
    return [value for _, value in tree_flatten(states) if isinstance(value, mx.array)]


def windows(cache: Sequence[Any]) -> list[int]:
    """How many tokens each entry with a window keeps: once it drops some, it behaves in another way."""
    return [size for entry in _entries(cache) if isinstance(size := getattr(entry, "max_size", None), int)]


def _entries(cache: Sequence[Any]) -> Iterator[Any]:
    for entry in cache:
        if isinstance(entry, CacheList):
            yield from _entries(entry.caches)
        else:
            yield entry


def _branched(entry: Any, copies: int) -> Any:
    if type(entry) in (ConcatenateKVCache, _Branches) and not entry.empty():
        return _Branches(entry, copies)
    if isinstance(entry, CacheList):
        return _listed(entry, lambda inner: _branched(inner, copies))
    return _mapped(entry, lambda x: mx.repeat(x, copies, axis=0))


def _row(entry: Any, index: int) -> Any:
    if isinstance(entry, CacheList):
        return _listed(entry, lambda inner: _row(inner, index))
    if isinstance(entry, ConcatenateKVCache):
        # It cannot be merged, and what it was put in place of can.
        known, entry = entry, KVCache()
        if not known.empty():
            entry.state = *known.state, known.offset
    return _mapped(entry, lambda x: x[index : index + 1])


def _listed(entry: CacheList, function: Callable[[Any], Any]) -> Any:
    listed = copy.copy(entry)
    listed.caches = tuple(function(inner) for inner in entry.caches)
    return listed


def _mapped(entry: Any, function: Callable[[mx.array], mx.array]) -> Any:
    """A copy of ``entry`` in which ``function`` was applied to every array."""
    if isinstance(entry, CacheList):
        return _listed(entry, lambda inner: _mapped(inner, function))
    mapped = copy.copy(entry)
    if not entry.empty():
        mapped.state = tree_map(lambda x: function(x) if isinstance(x, mx.array) else x, entry.state)
    return mapped


class _Branches(ConcatenateKVCache):  # type: ignore[misc]
    """Every row of a cache several times, not written out before more tokens come: once instead of twice."""

    def __init__(self, trunk: Any, copies: int) -> None:
        self.keys, self.values, self.offset = trunk.keys, trunk.values, trunk.offset
        self.copies = copies * getattr(trunk, "copies", 1)

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        self.keys, self.values = (
            _extended(self.keys, keys, self.copies),
            _extended(self.values, values, self.copies),
        )
        self.copies, self.offset = 1, self.keys.shape[-2]
        return self.keys, self.values

    @property
    def state(self) -> tuple[mx.array, mx.array]:
        return mx.repeat(self.keys, self.copies, axis=0), mx.repeat(self.values, self.copies, axis=0)


def _extended(trunk: mx.array, ends: mx.array, copies: int) -> mx.array:
    """``trunk``, each row ``copies`` times, and ``ends``, joined along the tokens: ``(rows, heads, tokens, width)``."""
    rows, *rest = trunk.shape
    spread = mx.broadcast_to(trunk[:, None], (rows, copies, *rest))
    joined = mx.concatenate([spread, ends.reshape(rows, copies, *ends.shape[1:])], axis=-2)
    return joined.reshape(rows * copies, *joined.shape[2:])
