"""Activation functions, attention and linear layers on x86 Linux CPUs, faster than MLX's.

MLX's Linux wheel takes 11 ns for an exponential where it takes 0.3 ns for a sum or a product: in a llama, half of the
time of its matrix products. An exponential can be put together from what is fast.

OpenBLAS in several threads multiplies rows sixteen at a time, and takes up to twice as long for what is left over: 24
rows take longer than 32. Rows of zeros are added where that makes a product faster.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from caa_registry import blas
from caa_registry.engine.steps import step
from caa_registry.models.device import slow_exponentials
from caa_registry.models.weights import on_cpu
from caa_registry.mx import mx, nn

_LOG2_E = math.log2(math.e)
# 2^f = (p + f) / (p - f) with p = a + b f^2. The two numbers make the largest relative error for |f| <= 1/2 least:
# 4.3e-7. (The Pade approximant has 2.8854, 0.11552 and errs by 7e-6.)
_A, _B = 2.8854081237299667, 0.11523606495361755
# Adding it leaves no room for digits behind the point, so that the lowest bits of the sum are the rounded integer.
_ROUNDING = 12582912.0
_LARGEST = 125.0
# Far below every score, and finite: what is no number would spread.
_MASKED = -1e30
# Scores of one block of queries: what is made of more leaves the processor's caches. With fewer queries products slow.
_SCORES = 1 << 20
_LEAST_QUERIES = 32
# Numbers of one piece of an activation: the ten arrays that are made of it stay in the processor's caches, too.
_PIECE = 1 << 17
# OpenBLAS multiplies so many rows together, in one thread only the few. One or two more are no slower than padding, nor
# is a product of hundreds of rows or with a small weight.
_FEW_TOGETHER, _TOGETHER, _LEFT_OVER, _MOST_ROWS, _LEAST_WEIGHT = 8, 16, 2, 512, 1 << 20
_GELU = 2 * math.sqrt(2 / math.pi) * _LOG2_E

_Replacement = Callable[[Callable[..., mx.array]], Callable[..., mx.array]]
"""Makes of a function of MLX what takes its place."""


def silu(x: mx.array) -> mx.array:
    """``x / (1 + exp(-x))`` for float32."""
    return _times_sigmoid(x, lambda x: x * -_LOG2_E)


def gelu_approx(x: mx.array) -> mx.array:
    """``x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`` for float32."""
    # (1 + tanh(y)) / 2 = 1 / (1 + exp(-2 y))
    return _times_sigmoid(x, lambda x: x * (x * x * (-0.044715 * _GELU) - _GELU))


def attention(
    queries: mx.array, keys: mx.array, values: mx.array, scale: float, mask: mx.array | str | None
) -> mx.array:
    """``softmax(scale queries keys^T + mask) values``, as ``mx.fast.scaled_dot_product_attention``, for float32.

    ``queries``: ``(rows, heads, tokens, width)``; ``keys`` and ``values`` may have fewer heads, of which each serves
    as many neighbouring ones of the queries. ``mask``: ``"causal"``, boolean (what is seen), or to be added.

    Long texts go in blocks of queries, so that memory grows with the tokens and not with their square; of a causal
    mask no block computes what none of its queries sees.
    """
    rows, heads, tokens = queries.shape[:3]
    seen = keys.shape[2]
    size = max(_LEAST_QUERIES, _SCORES // (rows * heads * seen))
    if tokens <= size:
        return _attention(queries, keys, values, scale, mask)
    blocks = []
    for first in range(0, tokens, size):
        last = min(first + size, tokens)
        until = seen - tokens + last if isinstance(mask, str) else seen
        part = mask[..., first:last, :] if isinstance(mask, mx.array) and mask.shape[-2] > 1 else mask
        blocks.append(_attention(queries[:, :, first:last], keys[:, :, :until], values[:, :, :until], scale, part))
        step(blocks[-1])
    return mx.concatenate(blocks, axis=2)


def missing_rows(rows: int, threads: int) -> int:
    """How many rows of zeros make a matrix product of so many ``rows`` in so many ``threads`` faster."""
    if threads == 1:
        return _FEW_TOGETHER - rows if _FEW_TOGETHER // 2 < rows < _FEW_TOGETHER else 0
    if rows < 2 or rows >= _MOST_ROWS:
        return 0
    together = _FEW_TOGETHER if rows <= _FEW_TOGETHER + _LEFT_OVER else _TOGETHER
    return 0 if rows > together and rows % together <= _LEFT_OVER else -rows % together


def _attention(
    queries: mx.array, keys: mx.array, values: mx.array, scale: float, mask: mx.array | str | None
) -> mx.array:
    rows, heads, tokens = queries.shape[:3]
    served = heads // keys.shape[1]
    grouped = (queries * (scale * _LOG2_E)).reshape(rows, keys.shape[1], served, tokens, -1)
    scores = grouped @ keys[:, :, None].swapaxes(-1, -2)
    if mask is not None and not (isinstance(mask, str) and tokens == 1):
        scores = scores + _added(mask, tokens, keys)
    scores = scores - scores.max(axis=-1, keepdims=True)
    upper, lower = _power_of_two(mx.maximum(scores, -_LARGEST))
    exponentials = upper / lower
    out = (exponentials @ values[:, :, None]) / exponentials.sum(axis=-1, keepdims=True)
    return out.reshape(rows, heads, tokens, -1)


@contextmanager
def fast_kernels() -> Iterator[None]:
    """Make networks use these functions for float32 while the context lasts, where MLX's own are slow.

    MLX compiles nothing meanwhile, since what it has compiled holds on to its own functions. Contexts on
    several threads may overlap: MLX's functions are back when the last one ends. On a GPU nothing changes.
    """
    if not on_cpu():
        yield
        return
    _replaced.enter()
    try:
        yield
    finally:
        _replaced.leave()


class _Replaced:
    """What is replaced in this process while at least one user needs it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._originals: list[Any] = []

    def enter(self) -> None:
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            mx.disable_compile()
            self._originals = [getattr(owner, name) for owner, name, _ in _REPLACEMENTS]
            if slow_exponentials():
                for (owner, name, ours), original in zip(_REPLACEMENTS, self._originals, strict=True):
                    setattr(owner, name, ours(original))

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users > 0:
                return
            for (owner, name, _), original in zip(_REPLACEMENTS, self._originals, strict=True):
                setattr(owner, name, original)
            if "MLX_DISABLE_COMPILE" not in os.environ:
                mx.enable_compile()


_replaced = _Replaced()


def _chosen_activation(ours: Callable[[mx.array], mx.array]) -> _Replacement:
    return lambda original: lambda x: ours(x) if x.dtype == mx.float32 else original(x)


def _chosen_attention(original: Callable[..., mx.array]) -> Callable[..., mx.array]:
    def attend(
        queries: mx.array, keys: mx.array, values: mx.array, *, scale: float, mask: Any = None, **others: Any
    ) -> mx.array:
        known = all(value is None for value in others.values())
        if known and queries.dtype == keys.dtype == values.dtype == mx.float32:
            step(queries, keys, values)
            out = attention(queries, keys, values, scale, mask)
            step(out)
            return out
        return original(queries, keys, values, scale=scale, mask=mask, **others)

    return attend


def _padded(original: Callable[..., mx.array]) -> Callable[..., mx.array]:
    """A product with a layer's weight, of rows that OpenBLAS multiplies together."""
    if "openblas" not in (blas.status().library or ""):
        return original

    def product(layer: Any, x: mx.array) -> mx.array:
        rows = x.size // max(1, x.shape[-1])
        if not x.dtype == layer.weight.dtype == mx.float32 or layer.weight.size < _LEAST_WEIGHT:
            return original(layer, x)
        missing = missing_rows(rows, blas.threads_each())
        if not missing:
            return original(layer, x)
        out = original(layer, mx.pad(x.reshape(rows, -1), [(0, missing), (0, 0)]))
        return out[:rows].reshape(*x.shape[:-1], -1)

    return product


_REPLACEMENTS: list[tuple[Any, str, _Replacement]] = [
    (nn, "silu", _chosen_activation(silu)),
    (nn, "gelu_approx", _chosen_activation(gelu_approx)),
    (mx.fast, "scaled_dot_product_attention", _chosen_attention),
    (nn.Linear, "__call__", _padded),
    (nn.Embedding, "as_linear", _padded),
]


def _added(mask: mx.array | str, tokens: int, keys: mx.array) -> mx.array:
    """What is added to scores of ``(rows, key heads, served, tokens, key tokens)``."""
    heads, width = keys.shape[1:3]
    if isinstance(mask, str):
        return mx.triu(mx.full((tokens, width), _MASKED), k=width - tokens + 1)
    if mask.dtype == mx.bool_:
        mask = mx.where(mask, 0.0, _MASKED)
    else:
        mask = mx.maximum(mask.astype(mx.float32) * _LOG2_E, _MASKED)  # scores are in powers of two
    mask = mask.reshape(*[1] * (4 - mask.ndim), *mask.shape)
    return mask[:, :, None] if mask.shape[1] == 1 else mask.reshape(mask.shape[0], heads, -1, *mask.shape[2:])


def _times_sigmoid(x: mx.array, exponent: Callable[[mx.array], mx.array]) -> mx.array:
    """``x / (1 + 2^exponent(x))``"""
    step(x)
    flat = x.reshape(-1)
    pieces: list[mx.array] = []
    for first in range(0, max(1, x.size), _PIECE):
        piece = flat[first : first + _PIECE]
        upper, lower = _power_of_two(mx.minimum(mx.maximum(exponent(piece), -_LARGEST), _LARGEST))
        pieces.append(piece * lower / (lower + upper))
        step(pieces[-1])
    return (mx.concatenate(pieces) if len(pieces) > 1 else pieces[0]).reshape(x.shape)


def _power_of_two(z: mx.array) -> tuple[mx.array, mx.array]:
    """``2^z`` as a fraction, for ``|z| <= 125``."""
    shifted = z + _ROUNDING
    fraction = z - (shifted - _ROUNDING)
    p = fraction * fraction * _B + _A
    # The integer goes into the exponent bits, which multiplies by its power of two.
    upper = ((shifted.view(mx.int32) << 23) + (p + fraction).view(mx.int32)).view(mx.float32)
    return upper, p - fraction
