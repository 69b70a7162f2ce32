"""A model without its weights: its network as its config says, to see what it takes before anything is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mlx_lm.utils import get_total_parameters, load_model

from caa_registry import mx_thread
from caa_registry.errors import ModelError
from caa_registry.models.folder.build import bounded, build, named_fields, network_classes
from caa_registry.models.folder.checks import checked_config, checked_weights
from caa_registry.models.folder.fingerprint import Fingerprint, ModelInfo
from caa_registry.models.folder.shards import Stored, total_size, weight_map
from caa_registry.models.loading import DEMO_MODEL, context_length, demo_model_folder, locate
from caa_registry.models.model import Model
from caa_registry.models.stream import ResidualStream
from caa_registry.models.weights import Prepared, mlx_lm_errors, prepared_weights, weight_bytes
from caa_registry.mx import mx, nn, tree_flatten, tree_map

# Smaller arrays stay as they are; larger ones are not read, and hold one number.
_LARGE = 1 << 18
_NUMBER, _BITS = 0.01, 0x31415926
_MOST_PARAMETERS = 10**14
_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True, eq=False)
class Outline:
    """What is known of a model whose weights are neither read nor there.

    ``model`` has the shapes and the dtype of the model, but neither a tokenizer nor its numbers. ``stored``: the bytes
    that its weights take as stored, ``stored_as``: in which dtype, or bits. ``prepared``: what they are computed in.
    """

    model: Model
    parameters: int
    stored: int
    stored_as: str
    prepared: Prepared = field(repr=False)


def outline(name: str | Path) -> Outline:
    """That of ``name``, as ``load`` takes it. Of a hub repository no weights are fetched, of a folder none are read;
    there need be none.

    Raises ``NotFoundError``, ``HubError`` and ``ModelError`` as ``load`` does, but not for weights that do not fit.
    """
    return mx_thread.run(_outline, *locate(name, weights=False))


def _outline(folder: Path, repo: str | None, commit: str | None) -> Outline:
    tensors = checked_weights(folder) if _has_weights(folder) else None
    checked_config(folder, len(tensors) if tensors else None)
    with mlx_lm_errors(folder):
        network, config = _network(folder, tensors)
    stored, stored_as = _stored(folder, network, config, tensors or {})
    parameters = get_total_parameters(network)
    prepared = prepared_weights(network, None, folder.name)
    network.update(tree_map(_empty, network.parameters()))
    stream = ResidualStream(network)
    info = ModelInfo(
        name=repo or (DEMO_MODEL if folder == demo_model_folder() else folder.name),
        fingerprint=Fingerprint("", "", "", ""),
        architecture=str(config.get("model_type", "unknown")),
        n_layers=stream.n_layers,
        d_model=stream.d_model,
        context_length=context_length(config),
        quantization=config.get("quantization"),
        repo_id=repo,
        revision=commit,
        path=None,
    )
    return Outline(Model(info, network, None, stream, prepared.dtype), parameters, stored, stored_as, prepared)


def give_up(module: Any) -> None:
    """Free the numbers of ``module``, which were made when they were first needed."""
    module.update(tree_map(_empty, module.parameters()))


def _empty(array: mx.array) -> mx.array:
    if array.size < _LARGE:
        return array
    return mx.full(array.shape, _NUMBER if mx.issubdtype(array.dtype, mx.floating) else _BITS, array.dtype)


def _has_weights(folder: Path) -> bool:
    """Whether all weight files are there."""
    files = set(weight_map(folder).values())
    return all((folder / file).is_file() for file in files) and any(folder.glob("model*.safetensors"))


def _network(folder: Path, tensors: Stored | None) -> tuple[Any, dict[str, Any]]:
    if tensors is not None:
        return build(folder, tensors)
    with bounded(folder), named_fields(folder):
        try:
            network, config = load_model(
                folder, lazy=True, strict=False, get_model_classes=partial(network_classes, folder)
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            # Some architectures cannot rename weights that are not there. What else is wrong comes up again.
            network, config = load_model(folder, lazy=True, strict=False, get_model_classes=partial(_classes, folder))
            del network.sanitize
    if (parameters := get_total_parameters(network)) > _MOST_PARAMETERS:
        raise ModelError(
            f"{folder / 'config.json'}: describes {parameters:,} parameters, more than any model has",
            "Fetch config.json of this model again.",
        )
    _quantize(network, config)
    return network, config


def _classes(folder: Path, config: dict[str, Any]) -> tuple[Callable[[Any], Any], Any]:
    network_class, settings_class = network_classes(folder, config)

    def made(settings: Any) -> Any:
        network = network_class(settings)
        network.sanitize = lambda weights: weights
        return network

    return made, settings_class


def _quantize(network: Any, config: dict[str, Any]) -> None:
    """As the config says, since there are no weights to tell which layers are."""
    text = config.get("text_config") or {}
    dtype = str(config.get("torch_dtype") or config.get("dtype") or text.get("torch_dtype") or text.get("dtype"))
    network.set_dtype(getattr(mx, dtype) if dtype in _DTYPES.values() else mx.float32)
    quantization = config.get("quantization")
    if not quantization:
        return
    size = quantization["group_size"]

    def quantized(path: str, module: Any) -> bool:
        return hasattr(module, "to_quantized") and module.weight.shape[-1] % size == 0 and path not in quantization

    mode = quantization.get("mode", "affine")
    nn.quantize(network, group_size=size, bits=quantization["bits"], mode=mode, class_predicate=quantized)


def _stored(folder: Path, network: Any, config: dict[str, Any], tensors: Stored) -> tuple[int, str]:
    """The bytes of the weights as they are stored, and in what. ``tensors``: those in the weight files."""
    size = sum(file.stat().st_size for file in {file for file, _ in tensors.values()})
    size = size or total_size(folder) or weight_bytes(network)
    quantization = config.get("quantization")
    if isinstance(quantization, dict) and "bits" in quantization:
        return size, f"{quantization['bits']} bits"
    dtypes = Counter[str]()
    for _, tensor in tensors.values():
        dtypes[_DTYPES.get(tensor.dtype, tensor.dtype)] += tensor.stop - tensor.start
    if not tensors:
        dtypes.update(
            {str(array.dtype).rsplit(".", 1)[-1]: array.size for _, array in tree_flatten(network.parameters())}
        )
    return size, max(dtypes, key=lambda name: dtypes[name], default="unknown")
