"""A tiny random network of every architecture in mlx-lm that can be built: ``build_network("qwen3_next")``.

A name is the architecture's, with what is special about the configuration after a slash (``llama/sliding``).
Sizes are small, and chosen so that each kind of block an architecture has occurs, windows of 8 tokens overflow,
and experts are chosen among several. Widths are multiples of 32, so that 4-bit quantization finds its groups.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_unflatten
from support.architectures_dense import DENSE
from support.architectures_experts import EXPERTS
from support.architectures_hybrid import HYBRID
from support.architectures_refused import NEEDS_METAL, REFUSED

ARCHITECTURES: dict[str, dict[str, Any]] = {**DENSE, **EXPERTS, **HYBRID}
"""Configurations that the package accepts. ``REFUSED`` are those it must not."""

GROUP = 32


def family(name: str) -> str:
    """The architecture of a configuration: the name of its module in mlx-lm."""
    return name.split("/")[0]


def build_network(name: str, seed: int = 0) -> Any:
    """The network ``name`` in float32 with seeded random weights."""
    config = {**ARCHITECTURES, **REFUSED, **NEEDS_METAL}[name]
    module = _module(family(name))
    mx.random.seed(seed)
    network = module.Model(module.ModelArgs.from_dict(config))
    network.update(tree_unflatten(_weights(network, seed)))
    network.set_dtype(mx.float32)
    network.eval()
    mx.eval(network.parameters())
    return network


def _module(name: str) -> ModuleType:
    # olmo's module ends the process where this package is missing, and uses nothing of it.
    absent = name == "olmo" and "hf_olmo" not in sys.modules
    if absent:
        sys.modules["hf_olmo"] = ModuleType("hf_olmo")
    try:
        return importlib.import_module(f"mlx_lm.models.{name}")
    finally:
        if absent:
            del sys.modules["hf_olmo"]


def quantize(network: Any) -> Any:
    """``network`` in 4 bits, in place: every layer whose width is a multiple of the group."""

    def fits(path: str, module: Any) -> bool:
        return hasattr(module, "to_quantized") and module.weight.shape[-1] % GROUP == 0

    nn.quantize(network, group_size=GROUP, bits=4, class_predicate=fits)
    mx.eval(network.parameters())
    return network


def _weights(network: Any, seed: int) -> list[tuple[str, mx.array]]:
    """Larger than usual, so that next tokens vary and a wrong position or a missing layer shows.

    Vectors stand for scales, biases, decays and the like, whose initial values are what makes the network stable:
    they are only disturbed.
    """
    key = mx.random.key(seed)
    drawn = []
    for name, value in sorted(tree_flatten(network.parameters())):
        if not mx.issubdtype(value.dtype, mx.floating) or "A_log" in name:
            continue
        key, own = mx.random.split(key)
        noise = mx.random.normal(value.shape, key=own)
        is_matrix = value.ndim > 1 and min(value.shape[-2:]) > 1
        drawn.append((name, noise * 0.2 if is_matrix else value + 0.1 * noise))
    return drawn
