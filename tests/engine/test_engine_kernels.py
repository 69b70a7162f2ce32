"""What is put together from fast operations is what MLX computes."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from numpy.typing import NDArray

from caa_registry import blas
from caa_registry.engine import kernels
from caa_registry.engine import steps as steps_module
from caa_registry.engine.kernels import attention, fast_kernels, gelu_approx, missing_rows, silu
from caa_registry.engine.steps import Step, evaluate

REPLACED = sys.platform == "linux" and platform.machine() == "x86_64"
PADDED = REPLACED and "openblas" in (blas.status().library or "")


def wanted_silu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        return x / (1 + np.exp(-x))


def wanted_gelu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        return x / (1 + np.exp(-2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize(("ours", "wanted", "near"), [(silu, wanted_silu, 80), (gelu_approx, wanted_gelu, 8)])
def test_activations_are_exact(ours: Any, wanted: Any, near: float) -> None:
    x = np.concatenate([np.linspace(-130, 130, 200_001), [0.0, -0.0, 1e-30, -1e-30, 1e12, -1e12]]).astype(np.float32)
    right, found = wanted(x.astype(np.float64)), np.array(ours(mx.array(x))).astype(np.float64)
    # A float32 has 1.2e-7 between neighbours; an argument of 80 is rounded to 4e-6, and its exponential with it.
    assert (np.abs(found - right) <= 5e-7 * np.maximum(1, np.abs(right))).all()
    inner = (np.abs(x) < near) & (np.abs(x) > 1e-20)
    assert (np.abs(found - right)[inner] / np.abs(right[inner])).max() <= 2e-5
    assert np.isnan(np.array(ours(mx.array([np.nan])))).all()


def masks(rows: int, heads: int, tokens: int, width: int) -> list[Any]:
    seen = np.tril(np.ones((tokens, width), dtype=bool), width - tokens)
    per_row = np.stack([seen & (np.arange(width) >= row) for row in range(rows)])[:, None]
    per_row[..., 0] |= ~per_row.any(axis=-1)
    slopes = -np.arange(heads)[:, None, None] * np.abs(np.subtract.outer(np.arange(tokens), np.arange(width)))
    added = np.where(per_row, slopes, -np.inf).astype(np.float32)
    return [None, "causal", *map(mx.array, (seen, per_row, slopes.astype(np.float32), added, added[:, :1]))]


@pytest.mark.parametrize("kept", range(7))
@pytest.mark.parametrize(
    ("heads", "key_heads", "tokens", "width"), [(4, 4, 9, 9), (6, 2, 5, 12), (4, 1, 1, 7), (2, 2, 1, 1)]
)
def test_attention_is_mlxs(heads: int, key_heads: int, tokens: int, width: int, kept: int) -> None:
    mx.random.seed(kept)
    queries = 30 * mx.random.normal((3, heads, tokens, 16))
    keys, values = mx.random.normal((3, key_heads, width, 16)), mx.random.normal((3, key_heads, width, 8))
    mask = masks(3, heads, tokens, width)[kept]
    wanted = mx.fast.scaled_dot_product_attention(queries, keys, values, scale=0.3, mask=mask)
    np.testing.assert_allclose(np.array(attention(queries, keys, values, 0.3, mask)), np.array(wanted), atol=2e-5)


@pytest.mark.parametrize("kept", range(7))
@pytest.mark.parametrize(("heads", "key_heads", "tokens", "width"), [(4, 4, 50, 50), (6, 2, 33, 41), (4, 1, 7, 60)])
def test_long_texts_go_in_blocks(
    heads: int, key_heads: int, tokens: int, width: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mx.random.seed(kept)
    queries, keys = 30 * mx.random.normal((3, heads, tokens, 16)), mx.random.normal((3, key_heads, width, 16))
    values, mask = mx.random.normal((3, key_heads, width, 8)), masks(3, heads, tokens, width)[kept]
    expected = np.array(attention(queries, keys, values, 0.3, mask))
    monkeypatch.setattr(kernels, "_SCORES", 1)
    monkeypatch.setattr(kernels, "_LEAST_QUERIES", 6)
    np.testing.assert_allclose(np.array(attention(queries, keys, values, 0.3, mask)), expected, atol=3e-5)


def peak_of(call: Callable[..., mx.array], *arrays: mx.array) -> int:
    """Bytes that a call takes at most, evaluated step by step, its result among them."""
    mx.eval(*arrays)
    mx.clear_cache()
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    taken: list[Step] = []
    steps_module._thread.recorded = taken
    try:
        out = call(*arrays)
    finally:
        steps_module._thread.recorded = None
    evaluate(taken, out)
    return mx.get_peak_memory() - before


@pytest.mark.parametrize("activation", [silu, gelu_approx])
def test_memory_of_activations_is_what_they_give_twice_over(activation: Any) -> None:
    x = mx.random.normal((2, 300, 4096))
    piece = 4 * kernels._PIECE
    assert x.nbytes > 18 * piece
    assert peak_of(activation, x) <= 2 * x.nbytes + 10 * piece
    found = activation(x)
    assert found.shape == x.shape
    np.testing.assert_array_equal(np.array(found[1, 250:]), np.array(activation(x[1, 250:])))


def test_memory_of_attention_grows_with_the_tokens_and_not_with_their_square() -> None:
    def peak(tokens: int) -> int:
        return peak_of(
            lambda queries, keys, values: attention(queries, keys, values, 0.25, "causal"),
            *(mx.random.normal((1, 8, tokens, 16)) for _ in range(3)),
        )

    assert peak(4000) < 2.2 * peak(2000) < 5 * peak(1000)


@pytest.mark.skipif(not REPLACED, reason="only MLX for x86 Linux has slow exponentials")
def test_networks_take_them_while_the_context_lasts() -> None:
    names = [
        (nn, "silu"),
        (nn, "gelu_approx"),
        (mx.fast, "scaled_dot_product_attention"),
        (nn.Linear, "__call__"),
        (nn.Embedding, "as_linear"),
    ]
    before = [getattr(module, name) for module, name in names]
    with fast_kernels():
        assert all(getattr(module, name) is not old for (module, name), old in zip(names, before, strict=True))
        narrow = mx.array([1.0, -2.0], dtype=mx.bfloat16)
        np.testing.assert_array_equal(np.array(nn.silu(narrow) == before[0](narrow)), True)
        np.testing.assert_allclose(np.array(nn.silu(mx.array([1.0]))), 0.7310586, rtol=1e-6)
    assert [getattr(module, name) for module, name in names] == before


@pytest.mark.skipif(not REPLACED, reason="only MLX for x86 Linux has slow exponentials")
def test_what_is_not_float32_or_has_sinks_is_left_to_mlx() -> None:
    q = mx.random.normal((1, 2, 3, 4))
    narrow = q.astype(mx.float16)
    wanted = mx.fast.scaled_dot_product_attention(narrow, narrow, narrow, scale=1.0, mask="causal")
    sunk = mx.fast.scaled_dot_product_attention(q, q, q, scale=1.0, sinks=mx.zeros((2,)))
    with fast_kernels():
        found = mx.fast.scaled_dot_product_attention(narrow, narrow, narrow, scale=1.0, mask="causal")
        assert found.dtype == mx.float16
        np.testing.assert_array_equal(np.array(found), np.array(wanted))
        found = mx.fast.scaled_dot_product_attention(q, q, q, scale=1.0, sinks=mx.zeros((2,)))
        np.testing.assert_array_equal(np.array(found), np.array(sunk))


def test_rows_are_added_up_to_those_that_are_multiplied_together() -> None:
    assert [
        rows + missing_rows(rows, 2) for rows in (0, 1, 2, 5, 8, 9, 10, 11, 12, 16, 17, 18, 19, 33, 91, 364, 511)
    ] == [
        *(0, 1, 8, 8, 8, 9, 10, 16, 16, 16, 17, 18, 32, 33, 96, 368, 512),
    ]
    assert not any(missing_rows(rows, 2) for rows in range(512, 5000))
    assert {rows: missing_rows(rows, 1) for rows in range(600) if missing_rows(rows, 1)} == {5: 3, 6: 2, 7: 1}


def layers(width: int) -> list[tuple[Any, str]]:
    """A layer without a bias, one with, and an embedding that gives logits: with the function that multiplies."""
    layer, biased = nn.Linear(width, width + 8, bias=False), nn.Linear(width, width + 8)
    return [(layer, "__call__"), (biased, "__call__"), (nn.Embedding(width + 8, width), "as_linear")]


@pytest.mark.skipif(not PADDED, reason="products run on another library than OpenBLAS")
@pytest.mark.parametrize(
    ("shape", "dtype", "width", "multiplied"),
    [
        ((1, 12), mx.float32, 1024, 16),
        ((4, 6), mx.float32, 1024, 32),
        ((5,), mx.float32, 1024, 8),
        ((1, 1), mx.float32, 1024, 1),
        ((2, 8), mx.float32, 1024, 16),
        ((1, 12), mx.float32, 64, 12),
        ((1, 12), mx.bfloat16, 1024, 12),
    ],
)
def test_rows_of_zeros_change_nothing_that_a_layer_gives(
    shape: tuple[int, ...], dtype: mx.Dtype, width: int, multiplied: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = mx.random.normal((*shape, width)).astype(dtype)
    for layer, name in layers(width):
        layer.set_dtype(dtype)
        original = getattr(type(layer), name)
        wanted = np.array(original(layer, x).astype(mx.float32))
        seen: list[int] = []

        def spied(layer: Any, x: mx.array, original: Any = original, seen: list[int] = seen) -> mx.array:
            seen.append(x.size // x.shape[-1])
            return original(layer, x)

        with monkeypatch.context() as patched:
            patched.setattr(type(layer), name, spied)
            patched.setattr(blas, "threads_each", lambda: 2)
            with fast_kernels():
                found = getattr(layer, name)(x)
        assert seen == [multiplied]
        assert (found.shape, found.dtype) == ((*shape, width + 8), dtype)
        np.testing.assert_allclose(np.array(found.astype(mx.float32)), wanted, rtol=1e-5, atol=1e-5)
