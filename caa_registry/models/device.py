"""The device that MLX computes on, and how fast it multiplies matrices."""

from __future__ import annotations

import platform
import sys
import time
from dataclasses import dataclass

from caa_registry import mx_thread
from caa_registry.models.weights import on_cpu
from caa_registry.mx import mx

# Rows, inner size and columns: what one layer of a model of a billion parameters multiplies for 512 tokens.
_CPU_SHAPE = (512, 2048, 2048)
_GPU_SHAPE = (4096, 4096, 4096)
_SECONDS = 0.7
_MOST = 20


@dataclass(frozen=True)
class Device:
    """``kind``: ``gpu`` or ``cpu``; ``name`` as the system calls it."""

    kind: str
    name: str


def device() -> Device:
    """The device that models are computed on."""
    return Device("cpu" if on_cpu() else "gpu", str(mx.device_info().get("device_name", "unknown")))


def slow_exponentials() -> bool:
    """Whether MLX computes on an x86 Linux CPU, where its exponentials are slow and ``engine.kernels`` has others."""
    return on_cpu() and sys.platform == "linux" and platform.machine() == "x86_64"


def matrix_speed() -> dict[str, float]:
    """GFLOP/s of a matrix product by dtype, the best of several: float32, on a GPU also the two of 16 bits.

    Takes about a second for each.
    """
    dtypes = ["float32"] if on_cpu() else ["float32", "float16", "bfloat16"]
    shape = _CPU_SHAPE if on_cpu() else _GPU_SHAPE
    return {name: mx_thread.run(_speed, getattr(mx, name), shape) for name in dtypes}


def _speed(dtype: mx.Dtype, shape: tuple[int, int, int]) -> float:
    rows, inner, columns = shape
    key = mx.random.key(0)
    left, right = mx.random.normal((rows, inner), dtype, key=key), mx.random.normal((inner, columns), dtype, key=key)
    mx.eval(left, right, left[:32] @ right)  # the first product also starts threads or compiles a kernel
    best, spent, times = float("inf"), 0.0, 0
    while spent < _SECONDS and times < _MOST:
        start = time.perf_counter()
        mx.eval(left @ right)
        took = time.perf_counter() - start
        best, spent, times = min(best, took), spent + took, times + 1
    return 2 * rows * inner * columns / best / 1e9
