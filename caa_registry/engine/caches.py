"""Prompt caches that branch: a prefix is run once, and several texts go on from it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
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


def held(cache: Sequence[Any]) -> list[mx.array]:
    """The arrays of a cache, to be evaluated."""
    arrays: list[mx.array] = []
    for entry in cache:
        if isinstance(entry, CacheList):
            arrays.extend(held(entry.caches))
        elif not entry.empty():
            arrays.extend(value for _, value in tree_flatten(entry.state) if isinstance(value, mx.array))
    return arrays


def windows(cache: Sequence[Any]) -> list[int]:
    """How many tokens each entry with a window keeps: once it drops some, it behaves in another way."""
    sizes: list[int] = []
    for entry in cache:
        if isinstance(entry, CacheList):
            sizes.extend(windows(entry.caches))
        elif isinstance(window := getattr(entry, "max_size", None), int):
            sizes.append(window)
    return sizes


def _branched(entry: Any, copies: int) -> Any:
    if type(entry) in (ConcatenateKVCache, _Branches) and not entry.empty():
        return _Branches(entry, copies)
    branch = copy.copy(entry)
    if isinstance(entry, CacheList):
        branch.caches = tuple(_branched(inner, copies) for inner in entry.caches)
    elif not entry.empty():
        branch.state = tree_map(lambda x: mx.repeat(x, copies, axis=0) if isinstance(x, mx.array) else x, entry.state)
    return branch


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
