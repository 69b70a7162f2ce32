"""What every operator in the table keeps: shape, dtype, tokens whose delta is zero, rows by themselves."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from support.tiny_models import TinyModels

from caa_registry.errors import UsageError
from caa_registry.steering.additions import Addition, steering
from caa_registry.steering.operators.operator import OPERATORS, operator

ROWS, TOKENS, WIDTH = 3, 4, 16

every_operator = pytest.mark.parametrize("name", OPERATORS)
every_dtype = pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.float16])


def drawn(*shape: int, seed: int = 0) -> mx.array:
    return mx.array(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def bits(values: mx.array) -> Any:
    return np.array(values.astype(mx.float32))


@every_operator
@every_dtype
@pytest.mark.parametrize("shape", [(WIDTH,), (ROWS, 1, WIDTH)], ids=["one-delta", "one-a-row"])
def test_the_stream_keeps_its_shape_and_dtype(name: str, dtype: mx.Dtype, shape: tuple[int, ...]) -> None:
    hidden = drawn(ROWS, TOKENS, WIDTH).astype(dtype)
    steered = operator(name)(hidden, drawn(*shape, seed=1))
    assert (steered.shape, steered.dtype) == (hidden.shape, dtype)
    assert not np.array_equal(bits(steered), bits(hidden))


@every_operator
@every_dtype
def test_a_delta_of_zero_changes_no_bit(name: str, dtype: mx.Dtype) -> None:
    hidden = drawn(ROWS, TOKENS, WIDTH).astype(dtype)
    np.testing.assert_array_equal(bits(operator(name)(hidden, mx.zeros(WIDTH))), bits(hidden))
    deltas = mx.concatenate([mx.zeros((1, 1, WIDTH)), drawn(ROWS - 1, 1, WIDTH, seed=1)])
    steered = operator(name)(hidden, deltas)
    np.testing.assert_array_equal(bits(steered[0]), bits(hidden[0]))
    assert (bits(steered[1:]) != bits(hidden[1:])).any(axis=-1).all()


@every_operator
@every_dtype
def test_rows_and_tokens_do_not_depend_on_one_another(name: str, dtype: mx.Dtype) -> None:
    hidden, deltas = drawn(ROWS, TOKENS, WIDTH).astype(dtype), drawn(ROWS, 1, WIDTH, seed=1)
    together = operator(name)(hidden, deltas)
    for row in range(ROWS):
        for token in range(TOKENS):
            alone = operator(name)(hidden[row : row + 1, token : token + 1], deltas[row, 0])
            np.testing.assert_array_equal(bits(alone[0, 0]), bits(together[row, token]))


@every_dtype
def test_add_adds_in_the_dtype_of_the_stream(dtype: mx.Dtype) -> None:
    hidden, delta = drawn(ROWS, TOKENS, WIDTH).astype(dtype), drawn(WIDTH, seed=1)
    np.testing.assert_array_equal(bits(operator("add")(hidden, delta)), bits(hidden + delta.astype(dtype)))


def test_an_unknown_operator_is_refused_before_anything_runs(tiny: TinyModels) -> None:
    model = tiny("llama")
    with pytest.raises(UsageError, match="there is no operator 'subtract'"), steering(model, [], operator="subtract"):
        pass
    assert not model.stream.tapped_now


@pytest.mark.parametrize("name", ["narrowed", "flattened"])
def test_an_operator_that_changes_the_stream_itself_is_stopped(name: str, tiny: TinyModels) -> None:
    model = tiny("llama")
    addition = Addition(1, np.ones(model.d_model, np.float32))
    refused = pytest.raises(UsageError, match="keeps the stream's shape and dtype")
    with OPERATORS.register(name, f"{__name__}:{name}"), refused, steering(model, [addition], "all", operator=name):
        model.generate("Is the sky blue?", max_tokens=1)
    assert not model.stream.tapped_now


def narrowed(hidden: mx.array, delta: mx.array) -> mx.array:
    return (hidden + delta).astype(mx.float16)


def flattened(hidden: mx.array, delta: mx.array) -> mx.array:
    return (hidden + delta.astype(hidden.dtype))[0]
