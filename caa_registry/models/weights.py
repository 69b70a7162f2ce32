"""What a network's weights are computed in: as stored on a GPU, float32 on a CPU."""

from __future__ import annotations

import functools
import logging
from typing import Any

from mlx_lm.utils import dequantize_model, get_total_parameters

from caa_registry import blas
from caa_registry.models.memory import free_memory
from caa_registry.mx import mx, tree_flatten

# Kept free beside dequantized weights: for the quantized ones while they are read, and for activations and caches.
_MARGIN = 1.25
_log = logging.getLogger(__name__)


def on_cpu() -> bool:
    """Whether MLX computes on the CPU."""
    return bool(mx.default_device() == mx.Device(mx.cpu))


def prepare(network: Any, dtype: str | None, name: str) -> str:
    """Bring the weights into what they are computed in, ``dtype`` or the device's default, and return that.

    Nothing is computed yet: MLX is lazy. float32 on a CPU dequantizes, where memory for that is free. ``name`` is what
    warnings call the model: they say that products will be slow, because of the BLAS or of quantized weights.
    """
    cpu = on_cpu()
    computed = dtype or ("float32" if cpu else None)
    if computed is not None:
        network.set_dtype(getattr(mx, computed))
    if cpu:
        _warn_of_slow_blas()
        if computed == "float32" and is_quantized(network):
            _dequantize(network, name)
    return computed or _stored_dtype(network)


def is_quantized(network: Any) -> bool:
    """Whether some of the weights are quantized."""
    return any(hasattr(module, "bits") for module in network.modules())


def _dequantize(network: Any, name: str) -> None:
    needed, free = int(4 * get_total_parameters(network) * _MARGIN), free_memory()
    if needed > free:
        _log.warning(
            "%s stays quantized, which is slow on a CPU: float32 needs %.1f GB, and %.1f GB are free.",
            *(name, needed / 1e9, free / 1e9),
        )
        return
    # The scales are float32 by now, so that values are not rounded on the way.
    dequantize_model(network)
    network.set_dtype(mx.float32)  # some formats come out as bfloat16, which holds their values exactly


@functools.cache  # said once in a process
def _warn_of_slow_blas() -> None:
    used = blas.status()
    if used.library is None and used.advice:
        _log.warning("MLX's own BLAS is in use (about 4 GFLOP/s). %s See: caa doctor", used.advice)


def _stored_dtype(network: Any) -> str:
    for _, value in tree_flatten(network.parameters()):
        if mx.issubdtype(value.dtype, mx.floating):
            return str(value.dtype).rsplit(".", 1)[-1]
    return "unknown"
