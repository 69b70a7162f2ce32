"""A LoRA adapter on top of a network: a low rank beside some of its weights."""

from __future__ import annotations

import math
import re
from typing import Any, cast

from mlx_lm.tuner.lora import LoRALinear
from mlx_lm.tuner.utils import linear_to_lora_layers

from caa_registry.errors import ModelError
from caa_registry.models.folder.adapters import Adapter
from caa_registry.models.folder.shards import few
from caa_registry.mx import mx, nn, tree_flatten, tree_unflatten

_LEAVES = ("lora_a", "lora_b", "m")
_PEFT = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.default)?\.weight")
_FITTING = "Give the adapter with the model that it was trained on."


def apply_adapter(network: Any, adapter: Adapter) -> None:
    """Put ``adapter`` on ``network``, whose weights are already in what they are computed in.

    Raises ``ModelError`` for an adapter of another model: every tensor of it must have its place, and every place its
    tensor.
    """
    try:
        tensors = cast(dict[str, mx.array], mx.load(str(adapter.weights)))
        if adapter.layout == "peft":
            tensors = _with_peft(network, adapter, tensors)
        else:
            _with_mlx_lm(network, adapter)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ModelError(f"{adapter.folder}: does not fit this model: {error}", _FITTING) from error
    places = {name: array for name, array in tree_flatten(network.parameters()) if name.rsplit(".", 1)[-1] in _LEAVES}
    for said, names in (
        ("holds tensors that this model has no place for", set(tensors) - set(places)),
        ("lacks tensors", set(places) - set(tensors)),
        (
            "holds tensors of other shapes",
            {n for n in set(tensors) & set(places) if tensors[n].shape != places[n].shape},
        ),
    ):
        if names:
            raise ModelError(f"{adapter.weights}: {said}: {few(sorted(names))}", _FITTING)
    network.load_weights(list(tensors.items()), strict=False)
    network.eval()  # what is new begins as in training, where some of it is dropped


def _with_mlx_lm(network: Any, adapter: Adapter) -> None:
    parameters = {**adapter.config["lora_parameters"], "dropout": 0.0}
    linear_to_lora_layers(
        network, adapter.config["num_layers"], parameters, use_dora=adapter.config.get("fine_tune_type") == "dora"
    )


def _with_peft(network: Any, adapter: Adapter, tensors: dict[str, mx.array]) -> dict[str, mx.array]:
    """Make the places, and give the tensors the names and the layout that they have there."""
    rank, alpha = adapter.config["r"], adapter.config["lora_alpha"]
    scale = alpha / (math.sqrt(rank) if adapter.config.get("use_rslora") else rank)
    modules = dict(network.named_modules())
    weights: dict[str, mx.array] = {}
    for name, tensor in tensors.items():
        match = _PEFT.fullmatch(name)
        module = modules.get(match[1]) if match else None
        if match is None or not isinstance(module, nn.Linear | nn.QuantizedLinear):
            raise ValueError(f"{name} belongs to no linear layer of it")
        weights[f"{match[1]}.lora_{match[2].lower()}"] = tensor.T
    paths = {name.rsplit(".", 1)[0] for name in weights}
    network.update_modules(
        tree_unflatten([(path, LoRALinear.from_base(modules[path], r=rank, scale=scale)) for path in sorted(paths)])
    )
    return weights
