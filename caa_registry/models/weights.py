"""What a network's weights are computed in: as stored on a GPU, float32 on a CPU."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_lm.utils import dequantize_model, get_total_parameters, load_tokenizer

from caa_registry import blas
from caa_registry.errors import ModelError
from caa_registry.models.folder.build import build
from caa_registry.models.folder.shards import Stored
from caa_registry.models.memory import free_memory
from caa_registry.mx import mx, nn, tree_flatten
from caa_registry.mx_thread import check
from caa_registry.progress import phase

# Kept free beside float32 weights: for the stored ones while they are read, and for activations and caches.
_MARGIN = 1.25
# Bytes that are read, or come of what is dequantized, at a time.
_PIECE = 1 << 26
# Of an error of others, how many characters are shown.
_LONGEST = 300
_SOUND = "Its files may not belong together: fetch the model again, or try it with mlx_lm.generate."
_PIECES = "_caa_pieces"
_log = logging.getLogger(__name__)


def on_cpu() -> bool:
    """Whether MLX computes on the CPU."""
    return bool(mx.default_device() == mx.Device(mx.cpu))


def unread(folder: Path, stored: Stored) -> tuple[Any, Any, dict[str, Any]]:
    """The network of a folder, of whose weights nothing is read yet, its tokenizer and its config. ``stored``: what its
    weight files hold. Raises ``ModelError``."""
    with mlx_lm_errors(folder):
        network, config = build(folder, stored)
    return network, tokenizer_of(folder, config), config


def tokenizer_of(folder: Path, config: dict[str, Any]) -> Any:
    """The tokenizer of a folder, as mlx-lm wraps it. Raises ``ModelError``."""
    with mlx_lm_errors(folder, "the tokenizer library cannot load its tokenizer"):
        return load_tokenizer(folder, {"trust_remote_code": False}, eos_token_ids=config.get("eos_token_id"))


@contextmanager
def mlx_lm_errors(folder: Path, failed: str = "mlx-lm cannot load this model") -> Iterator[None]:
    """What mlx-lm raises of a ``folder`` inside, as ``ModelError`` that says what ``failed``."""
    try:
        yield
    except ModelError:
        raise
    except (Exception, SystemExit) as error:  # what a damaged or foreign folder raises is up to its architecture's code
        # A bare KeyError says only its key.
        reason = str(error) if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
        raise ModelError(f"{folder}: {failed}: {_line(reason)}", _SOUND) from error


def _line(text: str) -> str:
    """A message in one line, which may be a page."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


@dataclass(frozen=True)
class Prepared:
    """What weights are computed in. ``size``: the bytes that they take so, of the ``free``.

    ``wide``: the bytes that float32 needs, with some to spare. ``narrow``: weights stay as stored since that is not
    free. ``refusal``: why they cannot be computed at all.
    """

    dtype: str
    size: int
    wide: int
    free: int
    narrow: bool
    refusal: ModelError | None


def prepare(network: Any, dtype: str | None, name: str) -> str:
    """Bring the weights into what they are computed in, ``dtype`` or the device's default, and return that.

    Nothing is read or computed yet: MLX is lazy. float32 is the default on a CPU where memory for it is free: weights
    of 16 bits are widened, quantized ones dequantized. Where it is not, weights stay as stored, and a warning says so.
    ``name`` is what messages call the model.

    Raises ``ModelError`` where not even the weights as they would be computed fit into memory.
    """
    if on_cpu():
        _warn_of_slow_blas()
    prepared = prepared_weights(network, dtype, name)
    if prepared.narrow:
        _log.warning(
            "%s is computed as stored, which is slow on a CPU: float32 needs %.1f GB, and %.1f GB are free.",
            *(name, prepared.wide / 1e9, prepared.free / 1e9),
        )
    if prepared.refusal is not None:
        raise prepared.refusal
    return prepared.dtype


def prepared_weights(network: Any, dtype: str | None, name: str) -> Prepared:
    """As ``prepare``, which warns and raises where this only says so."""
    cpu = on_cpu()
    quantized, free = is_quantized(network), free_memory()
    computed = dtype or ("float32" if cpu else None)
    wide = int(4 * get_total_parameters(network) * _MARGIN)
    widened = computed == "float32" and (cpu if quantized else stored_dtype(network) != "float32")
    narrow = widened and wide > free and (dtype is None or quantized)
    if narrow:
        # Scales in float32 make quantized products exact, and cost little.
        computed, widened = "float32" if quantized else None, False
    if computed is not None:
        network.set_dtype(getattr(mx, computed))
    if widened and quantized:
        # The scales are float32 by now, so that values are not rounded on the way.
        _dequantize(network)
        network.set_dtype(mx.float32)  # some formats come out as bfloat16, which holds their values exactly
    shared = cpu or mx.metal.is_available()  # elsewhere a GPU has memory of its own
    refusal = _refusal(network, name, free) if shared else None
    return Prepared(computed or stored_dtype(network), weight_bytes(network), wide, free, narrow, refusal)


def read_weights(network: Any, name: str) -> None:
    """Read and convert what is not read yet, some at a time: a stop is noticed between. Raises ``ModelError`` where the
    files cannot be read."""
    # Constants too, which are no parameters: what is not evaluated belongs to one thread, and a pool computes.
    found = [array for module in network.modules() for array in module.values() if isinstance(array, mx.array)]
    found += [array for _, array in tree_flatten(network.parameters())]
    arrays = list({id(array): array for array in found}.values())
    parts: list[mx.array] = network.__dict__.pop(_PIECES, [])
    progress, total, done = phase(f"loading {name}"), sum(array.nbytes for array in [*parts, *arrays]), 0
    pieces: list[list[mx.array]] = [[part] for part in parts] + [[]]
    parts.clear()
    for array in arrays:
        if sum(each.nbytes for each in pieces[-1]) > _PIECE:
            pieces.append([])
        pieces[-1].append(array)
    try:
        while pieces:
            piece = pieces.pop(0)
            check()
            mx.eval(piece)
            done += sum(array.nbytes for array in piece)
            progress(done, total)
    except RuntimeError as error:
        raise ModelError(f"{name}: its weights cannot be read: {error}") from error


def _dequantize(network: Any) -> None:
    """Dequantize all weights, those of a large vocabulary in pieces: one operation cannot be stopped."""
    pieces = {
        name: [
            mx.dequantize(weight, scales, biases, module.group_size, module.bits, module.mode)
            for weight, scales, biases in _parts(module)
        ]
        for name, module in network.named_modules()
        if isinstance(module, nn.QuantizedLinear | nn.QuantizedEmbedding)
    }
    dequantize_model(network)
    for name, module in network.named_modules():
        if len(pieces.get(name, ())) > 1:
            module.weight = mx.concatenate(pieces[name])
            # The whole comes right behind its pieces, which are given up then.
            network.__dict__.setdefault(_PIECES, []).extend([*pieces.pop(name), module.weight])


def _parts(module: Any) -> Iterator[tuple[mx.array, mx.array, mx.array | None]]:
    """The rows of a quantized weight with their scales and biases, so many at a time as become ``_PIECE`` bytes."""
    biases = module.get("biases")
    rows, groups = module.scales.shape
    size = max(1, _PIECE // (4 * groups * module.group_size))
    for first in range(0, rows, size):
        part = slice(first, first + size)
        yield module.weight[part], module.scales[part], None if biases is None else biases[part]


def _refusal(network: Any, name: str, free: int) -> ModelError | None:
    """Why weights, which are not read yet, cannot be: they are larger than what is ``free``."""
    needed = weight_bytes(network)
    if needed <= free:
        return None
    parameters = get_total_parameters(network)
    smaller = [(bits, size) for bits in (8, 4) if (size := _quantized_size(parameters, bits)) <= min(free, needed)]
    hint = "Use a machine with more memory, or a smaller model."
    if smaller:
        bits, size = smaller[0]
        hint = f"A version of it quantized to {bits} bits takes about {size / 1e9:.1f} GB."
    return ModelError(f"{name}: its weights take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free", hint)


def weight_bytes(network: Any) -> int:
    """What the weights take, read or not."""
    return sum(value.nbytes for _, value in tree_flatten(network.parameters()))


def _quantized_size(parameters: int, bits: int) -> int:
    """Bytes, with a scale and a bias of 16 bits for every 64 weights, as mlx-lm quantizes."""
    return parameters * bits // 8 + parameters // 16


def is_quantized(network: Any) -> bool:
    """Whether some of the weights are quantized."""
    return any(hasattr(module, "bits") for module in network.modules())


@functools.cache  # said once in a process
def _warn_of_slow_blas() -> None:
    used = blas.status()
    if used.library is None and used.advice:
        _log.warning("MLX's own BLAS is in use (about 4 GFLOP/s). %s See: caa doctor", used.advice)


def stored_dtype(network: Any) -> str:
    """The dtype of the weights that are not quantized, as they are now."""
    for _, value in tree_flatten(network.parameters()):
        if mx.issubdtype(value.dtype, mx.floating):
            return str(value.dtype).rsplit(".", 1)[-1]
    return "unknown"
