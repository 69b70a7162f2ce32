"""SiLU on x86 Linux CPUs, three times as fast as MLX's.

MLX's Linux wheel takes 11 ns for an exponential where it takes 0.4 ns for a sum or a product: in a llama, a third of
the time of its matrix products. An exponential can be put together from what is fast.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import caa_registry.models.blas  # noqa: F401

import mlx.core as mx
import mlx.nn as nn

_LOG2_E = 1.4426950408889634
# 2^f for |f| <= 1/2: the Taylor series of exp(f ln 2), highest power first. Its error is below that of float32.
_POWERS = (0.000154035304, 0.00133335581, 0.00961812911, 0.0555041087, 0.240226507, 0.693147181, 1.0)
# Adding it leaves no room for digits behind the point, so that the lowest bits of the sum are the rounded integer.
_ROUNDING = 12582912.0
_LARGEST = 126.0


def silu(x: mx.array) -> mx.array:
    """``x / (1 + exp(-x))`` for float32, to a few units in the last place, from operations that MLX does fast."""
    z = mx.minimum(mx.maximum(x * -_LOG2_E, -_LARGEST), _LARGEST)
    shifted = z + _ROUNDING
    fraction = z - (shifted - _ROUNDING)
    power = fraction * _POWERS[0] + _POWERS[1]
    for coefficient in _POWERS[2:]:
        power = power * fraction + coefficient
    # The integer goes into the exponent bits, which multiplies by its power of two.
    exponential = ((shifted.view(mx.int32) << 23) + power.view(mx.int32)).view(mx.float32)
    return x / (1.0 + exponential)


@contextmanager
def fast_silu() -> Iterator[None]:
    """Have networks compute SiLU that way in float32 while the context lasts, where MLX's own is slow.

    Only with compiled functions disabled: they hold on to MLX's own.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        yield
        return
    original = nn.silu

    def chosen(x: mx.array) -> mx.array:
        return silu(x) if x.dtype == mx.float32 else original(x)

    nn.silu = chosen
    try:
        yield
    finally:
        nn.silu = original
