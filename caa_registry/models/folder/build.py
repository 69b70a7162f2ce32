"""The network of a model folder, made by mlx-lm and checked: how much of it there may be, and what its weights are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlx_lm.utils import _get_classes, load_model

from caa_registry.errors import ModelError
from caa_registry.models.folder.json_files import json_object
from caa_registry.models.folder.limits import misfit
from caa_registry.models.folder.shards import Stored, few
from caa_registry.mx import mx, nn, tree_flatten

# What a network has beside a few modules for each of its tensors.
_MODULES = 20_000
_MODULES_A_TENSOR = 4
_WHOLE = "Use a version of the model in 16 or 32 bits, or one that mlx-lm has quantized."
_AGAIN = "Fetch config.json and the weights again, from the same model."


def build(folder: Path, stored: Stored) -> tuple[Any, dict[str, Any]]:
    """The network of ``folder`` and its config as mlx-lm completes it. Its weights are in place, and none is read.

    ``stored``: what the weight files hold. Raises ``ModelError`` for weights that are not those of the network, and
    whatever mlx-lm raises.
    """

    def classes(config: dict[str, Any]) -> tuple[Any, Any]:
        network_class, settings_class = network_classes(folder, config)

        def made(settings: Any) -> Any:
            network = network_class(settings)
            load_weights = network.load_weights

            def checked(weights: list[tuple[str, mx.array]], strict: bool = True) -> Any:
                _check_weights(folder, network, dict(weights), stored)
                return load_weights(weights, strict=strict)

            network.load_weights = checked
            return network

        return made, settings_class

    with bounded(folder, len(stored)), named_fields(folder):
        network, config = load_model(folder, lazy=True, get_model_classes=classes)
    del network.load_weights
    _check_quantization(folder, network, config)
    return network, config


def network_classes(folder: Path, config: dict[str, Any]) -> tuple[Any, Any]:
    """The classes of the network and of its settings. Raises ``ModelError`` for an architecture that mlx-lm does not
    have, and for a config that holds text where that architecture wants a number."""
    path, kind = folder / "config.json", config.get("model_type")
    try:
        network_class, settings_class = _get_classes(config)
    except (ValueError, AttributeError) as error:
        raise ModelError(
            f"{path}: mlx-lm cannot load this model: Model type {str(kind)[:60]} not supported",
            "docs/tested-architectures.md lists the architectures; a newer mlx-lm may have more.",
        ) from error
    if said := misfit(config, settings_class):
        raise ModelError(f"{path}: {said}, which a model of type {kind} needs", _AGAIN)
    return network_class, settings_class


@contextmanager
def named_fields(folder: Path) -> Iterator[None]:
    """Name the field where a network cannot be made since its config holds something else than a number."""
    try:
        yield
    except (TypeError, AttributeError, ValueError) as error:
        config = json_object(folder / "config.json")
        if said := misfit(config, _get_classes(config)[1], failed=True):
            raise ModelError(f"{folder / 'config.json'}: {said}", _AGAIN) from error
        raise


@contextmanager
def bounded(folder: Path, tensors: int = 0) -> Iterator[None]:
    """Raise ``ModelError`` where more modules are made inside than a network of so many stored ``tensors`` has: its
    config may say anything, and each architecture makes of it what it likes."""
    most, thread, plain = _MODULES + _MODULES_A_TENSOR * tensors, threading.get_ident(), nn.Module.__init__
    made = 0

    def counted(self: Any, *args: Any, **kwargs: Any) -> None:
        nonlocal made
        if threading.get_ident() == thread:
            made += 1
            if made > most:
                raise ModelError(
                    f"{folder / 'config.json'}: describes a network of more than {most:,} modules, far too many",
                    _AGAIN,
                )
        plain(self, *args, **kwargs)

    nn.Module.__init__ = counted
    try:
        yield
    finally:
        nn.Module.__init__ = plain


def _check_weights(folder: Path, network: Any, weights: dict[str, Any], stored: Stored) -> None:
    """Compare what is stored, as the architecture renames it, with what the network has places for."""
    places = dict(tree_flatten(network.parameters()))
    if missing := places.keys() - weights.keys():
        raise ModelError(f"{folder}: {_tensors(missing)} missing from its weights: {few(missing)}", _AGAIN)
    if extra := weights.keys() - places.keys():
        quantized = any(name.endswith(".scales") for name in extra)
        hint = "Fetch config.json again: it does not say how the weights are quantized." if quantized else _AGAIN
        raise ModelError(f"{folder}: {_tensors(extra)} in its weights, but not in the network: {few(extra)}", hint)
    for name, place in places.items():
        value = weights[name]
        if value.shape != place.shape:
            raise ModelError(
                f"{folder}: the tensor {name} has the shape {list(value.shape)}, and config.json asks for "
                f"{list(place.shape)}",
                _AGAIN,
            )
        if not _fits(value.dtype, place.dtype):
            dtype = stored[name][1].dtype if name in stored else str(value.dtype).rsplit(".", 1)[-1]
            raise ModelError(f"{folder}: the tensor {name} is stored as {dtype}, which cannot be computed with", _WHOLE)


def _tensors(names: Any) -> str:
    return "1 tensor is" if len(names) == 1 else f"{len(names):,} tensors are"


def _fits(stored: Any, place: Any) -> bool:
    # Packed numbers are integers of one kind; other numbers of the network are floats of any.
    if not mx.issubdtype(place, mx.floating):
        return bool(stored == place)
    return bool(mx.issubdtype(stored, mx.floating))


def _check_quantization(folder: Path, network: Any, config: dict[str, Any]) -> None:
    said = config.get("quantization")
    if not isinstance(said, dict):
        return
    quantized = [module for module in network.modules() if hasattr(module, "bits")]
    found = {(module.bits, module.group_size, getattr(module, "mode", "affine")) for module in quantized}
    kinds = [said, *(each for each in said.values() if isinstance(each, dict))]
    if any((each.get("bits"), each.get("group_size"), each.get("mode", "affine")) in found for each in kinds):
        return
    real = few(f"{bits} bits in groups of {size} ({mode})" for bits, size, mode in found) or "not quantized"
    raise ModelError(
        f"{folder / 'config.json'}: says that the weights are {said.get('bits')} bits in groups of "
        f"{said.get('group_size')} ({str(said.get('mode', 'affine'))[:40]}), and they are {real}",
        _AGAIN,
    )
