"""A model without its weights: its network as its config says, to see what it takes before anything is loaded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlx_lm.utils import _get_classes, get_total_parameters, load_model

from caa_registry import mx_thread
from caa_registry.errors import ModelError
from caa_registry.models.folder.fingerprint import Fingerprint, ModelInfo
from caa_registry.models.folder.tensors import stored_tensors
from caa_registry.models.loading import DEMO_MODEL, context_length, demo_model_folder, locate
from caa_registry.models.model import Model
from caa_registry.models.stream import ResidualStream
from caa_registry.models.weights import Prepared, mlx_lm_errors, prepared_weights, weight_bytes
from caa_registry.mx import mx, nn, tree_flatten, tree_map

# Smaller arrays stay as they are; larger ones are not read, and hold one number.
_LARGE = 1 << 18
_NUMBER, _BITS = 0.01, 0x31415926
_INDEX = "model.safetensors.index.json"
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
    whole = _has_weights(folder)
    with mlx_lm_errors(folder):
        network, config = _network(folder, whole)
    stored, stored_as = _stored(folder, network, config, whole)
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
    index = _json(folder / _INDEX).get("weight_map") or {}
    files = set(index.values()) if isinstance(index, dict) else set()
    return all((folder / str(file)).is_file() for file in files) and any(folder.glob("model*.safetensors"))


def _network(folder: Path, whole: bool) -> tuple[Any, dict[str, Any]]:
    if whole:
        network, config = load_model(folder, lazy=True)
        return network, config
    try:
        network, config = load_model(folder, lazy=True, strict=False)
    except (AttributeError, KeyError, TypeError, ValueError):
        # Some architectures cannot rename weights that are not there. What else is wrong comes up again.
        network, config = load_model(folder, lazy=True, strict=False, get_model_classes=_classes)
        del network.sanitize
    _quantize(network, config)
    return network, config


def _classes(config: dict[str, Any]) -> tuple[Callable[[Any], Any], Any]:
    network_class, settings_class = _get_classes(config)

    def build(settings: Any) -> Any:
        network = network_class(settings)
        network.sanitize = lambda weights: weights
        return network

    return build, settings_class


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


def _stored(folder: Path, network: Any, config: dict[str, Any], whole: bool) -> tuple[int, str]:
    """The bytes of the weights as they are stored, and in what."""
    files = sorted(folder.glob("model*.safetensors")) if whole else []
    total = (_json(folder / _INDEX).get("metadata") or {}).get("total_size")
    size = sum(file.stat().st_size for file in files) or (total if isinstance(total, int) else weight_bytes(network))
    quantization = config.get("quantization")
    if isinstance(quantization, dict) and "bits" in quantization:
        return size, f"{quantization['bits']} bits"
    dtypes = Counter[str]()
    for file in files:
        dtypes.update(_dtypes(file))
    if not files:
        dtypes.update(
            {str(array.dtype).rsplit(".", 1)[-1]: array.size for _, array in tree_flatten(network.parameters())}
        )
    return size, max(dtypes, key=lambda name: dtypes[name], default="unknown")


def _dtypes(file: Path) -> dict[str, int]:
    """Bytes by dtype, from the header of a safetensors file."""
    found = Counter[str]()
    for tensor in stored_tensors(file):
        found[_DTYPES.get(tensor.dtype, tensor.dtype)] += tensor.stop - tensor.start
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
    return values if isinstance(values, dict) else {}
