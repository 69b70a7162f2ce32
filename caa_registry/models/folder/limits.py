"""What numbers a model's config may hold: those that no model has are refused before a network is made of them.

The rules go by what a name says, not by lists of names: every architecture has its own. What they let through is
bounded once more while the network is built (``build``).
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caa_registry.errors import ModelError

# As many blocks as any model has, with room; of stored weights each block has a tensor at least.
_MOST_LAYERS = 1_000
# Above every vocabulary and every width.
_MOST = 1 << 24
_LARGEST_NUMBER = 1 << 53

# What may be any number: lengths of texts, ids of tokens, bases of angles, seeds, sizes of files.
_FREE = re.compile(
    r"theta|base|token|_ids?$|seed|position|ctx|window|length|seq|max_len|params|total|limit|chunk|float"
)
_LAYERS = re.compile(r"layer|block|depth|loop")
_NO_COUNT = re.compile(r"size|dim|multiple|input|norm|scale|eps")
_COUNT = re.compile(r"^(num|n)_|size|dim|rank|embd|heads?$|layers?$|vocab|experts?$|width|channels")
# What every network has at least one of.
_NEEDED = re.compile(
    r"(num|n)_(hidden_|transformer_)?layers?|hidden_size|n_embd|d_model|model_dim|vocab_size|num_vocab|n_vocab"
    r"|(num|n)_(attention_|query_)?heads?|(num|n)_key_value_heads"
)
_CONTEXTS = ("max_position_embeddings", "n_positions")
_NUMBER_TYPE = re.compile(r"(typing\.)?(int|float|Optional\[(int|float)\]|(int|float) \| None)")
_HINT = "Fetch config.json of this model again."


def check_config(path: Path, config: dict[str, Any], tensors: int | None = None) -> None:
    """Raise ``ModelError`` for a number in ``config``, read from ``path``, that no network can be made of.

    ``tensors``: how many the weight files hold, where they are there.
    """
    layers = max(_MOST_LAYERS, tensors or 0)
    for name, value in _numbers("", config):
        key = name.rsplit(".", 1)[-1].split("[")[0]
        if problem := _problem(key, value, layers):
            raise ModelError(f"{path}: {name} is {_shown(value)}, {problem}", _HINT)
    for name, value in config.items():
        if name.endswith("_config") and not isinstance(value, dict | None):
            raise ModelError(f"{path}: {name} is {_shown(value)}, not an object", _HINT)
    check_token_ids(path, config)
    quantization = config.get("quantization")
    if quantization is not None:
        _check_quantization(path, quantization)


def check_token_ids(path: Path, config: dict[str, Any]) -> None:
    """Raise ``ModelError`` where ``config`` names its first or last token by something else than numbers."""
    for name in ("bos_token_id", "eos_token_id"):
        value = config.get(name)
        for id in value if isinstance(value, list) else [value]:
            if id is not None and type(id) is not int:
                raise ModelError(f"{path}: {name} is {_shown(value)}, not a number or a list of numbers", _HINT)


def _problem(key: str, value: int | float, layers: int) -> str:
    free = _FREE.search(key) is not None
    if isinstance(value, float):
        if math.isnan(value):
            return "which is not a number"
        if math.isinf(value):
            return "" if free or re.search("max|cap|clip", key) else "which no network can be built with"
        if not _COUNT.search(key):
            return ""
    if (_NEEDED.fullmatch(key) or key in _CONTEXTS) and value < 1:
        return "but must be at least 1"
    if value < -1 and _COUNT.search(key) and not free:
        return "which is negative"
    if abs(value) > (_LARGEST_NUMBER if free else _MOST):
        return f"more than any model has (at most {_MOST:,})"
    if _LAYERS.search(key) and not (free or _NO_COUNT.search(key)) and value > layers:
        return f"more than this model can have (at most {layers:,})"
    return ""


def _check_quantization(path: Path, quantization: Any) -> None:
    if not isinstance(quantization, dict):
        raise ModelError(f"{path}: quantization is {_shown(quantization)}, not an object of group_size and bits", _HINT)
    for key, most in (("group_size", 1024), ("bits", 16)):
        value = quantization.get(key)
        if type(value) is not int or not 1 <= value <= most:
            raise ModelError(f"{path}: quantization.{key} is {_shown(value)}, not a whole number up to {most}", _HINT)


def _numbers(name: str, value: Any) -> Iterator[tuple[str, int | float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _numbers(f"{name}[{index}]", inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value


def _shown(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def misfit(config: dict[str, Any], settings_class: Any, *, failed: bool = False) -> str:
    """The first field of ``config`` that holds text where the architecture, whose settings are of ``settings_class``,
    wants a number, in words, or ``""``.

    ``failed``: nothing could be made of it, so that other things in place of a number are the likely reason.
    """
    for settled in dataclasses.fields(settings_class) if dataclasses.is_dataclass(settings_class) else ():
        # Some architectures name their types in strings, which cannot all be resolved.
        kind = settled.type.__name__ if isinstance(settled.type, type) else str(settled.type)
        if settled.name not in config or not _NUMBER_TYPE.fullmatch(kind):
            continue
        value = config[settled.name]
        needed = settled.default is dataclasses.MISSING and settled.default_factory is dataclasses.MISSING
        if isinstance(value, str) or (failed and (isinstance(value, list | dict | bool) or (value is None and needed))):
            shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else _shown(value)
            return f"{settled.name} is {shown}, not a number"
    return ""
