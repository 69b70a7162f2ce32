"""RhizoNymph's modules for vLLM: ``{"vectors": {"post_block": {"15": [...]}}}``, or packed in base64.

``post_block`` of N is the output of 0-based block N; the other hooks are no block's output and are refused, as are
vectors for the prompt or for generation alone. The layout has no room for a reference. Compared with its description
only, not with RhizoNymph.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from typing import Any

from caa_registry.errors import InputError, one_line
from caa_registry.formats.card import Card, compact
from caa_registry.formats.imported import ImportedVectors, imported
from caa_registry.formats.text import json_file, looks_like_json
from caa_registry.formats.values import SIZES, Values, decoded, listed
from caa_registry.formats.vector_file import VectorFile
from caa_registry.vectors import VectorSet

NAME = "rhizonymph"
_HOOK = "post_block"
_HOOKS = {_HOOK, "pre_attn", "post_attn", "mlp_in", "mlp_out", "post_mlp"}
_OTHER_PHASES = ("prefill_vectors", "decode_vectors")
_PACKED = {"dtype", "shape", "layer_indices", "data"}
_LAYER = re.compile("0|[1-9][0-9]{0,3}")


def sniff(file: VectorFile) -> bool:
    """Whether it is an object of vectors by hook."""
    try:
        vectors = file.once(json_file).get("vectors") if looks_like_json(file) else None
    except InputError:
        return False
    return isinstance(vectors, dict) and bool(vectors) and set(vectors) <= _HOOKS


def read(file: VectorFile) -> ImportedVectors:
    """The vectors of ``post_block``, with their scales beside them. Raises ``InputError``."""
    said = file.once(json_file)
    vectors = said.get("vectors")
    if not isinstance(vectors, dict):
        raise file.error("it has no vectors by hook", "Name a module's file.", field="vectors")
    for phase in _OTHER_PHASES:
        if said.get(phase):
            raise file.error("it steers the prompt and what is generated unlike", "Export one for both.", field=phase)
    others = [hook for hook, entry in vectors.items() if hook != _HOOK and entry]
    if others:
        raise file.error(
            f"it steers at {one_line(', '.join(others), 100)}, and only {_HOOK!r} is a block's output", field="vectors"
        )
    entry = vectors.get(_HOOK)
    if not isinstance(entry, dict):
        raise file.error(f"{_HOOK!r} is no object", "Correct the file.", field="vectors")
    values, strengths = _packed(file, entry) if entry.keys() >= _PACKED else _plain(file, entry)
    rule = "post_block.N is the output of 0-based block N"
    return imported(file, NAME, values, rule, producer="RhizoNymph", strengths=strengths, untested=True)


def write(vectors: VectorSet, card: Card) -> bytes:
    """Every layer at ``post_block``."""
    layers = {str(each.layer): each.values.tolist() for each in vectors.layers}
    return compact({"vectors": {_HOOK: layers}, "prefill_vectors": None, "decode_vectors": None})


def _plain(file: VectorFile, entry: dict[str, Any]) -> tuple[dict[int, Values], dict[int, float]]:
    values, strengths = {}, {}
    for key, vector in entry.items():
        layer = _layer(file, key)
        if isinstance(vector, dict):
            strengths[layer] = _scale(file, f"{_HOOK}.{key}", vector.get("scale", 1.0))
            vector = vector.get("vector")
        values[layer] = listed(file, f"{_HOOK}.{key}", vector)
    return values, strengths


def _packed(file: VectorFile, entry: dict[str, Any]) -> tuple[dict[int, Values], dict[int, float]]:
    dtype, shape, layers = entry["dtype"], entry["shape"], entry["layer_indices"]
    if not isinstance(dtype, str) or dtype not in SIZES:
        raise file.error(f"the type {str(dtype)[:40]!r} is none of {', '.join(SIZES)}", field=_HOOK)
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(n) is int and 0 <= n < 1 << 24 for n in shape):
        raise file.error("its shape is no table's", "Correct the file.", field=_HOOK)
    if not isinstance(layers, list) or len(layers) != shape[0]:
        raise file.error(
            f"shape gives {shape[0]} layers, and layer_indices {len(layers) if isinstance(layers, list) else 'none'}",
            "One of the two is wrong.",
            field=_HOOK,
        )
    try:
        raw = base64.b64decode(entry["data"], validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise file.error("its data are no base64", "The file is damaged.", field=_HOOK) from error
    table = decoded(file, _HOOK, raw, dtype, shape)
    numbers = [_layer(file, str(layer)) for layer in layers]
    if len(set(numbers)) != len(numbers):
        raise file.error("layer_indices has a layer twice", "Correct the file.", field=_HOOK)
    scales = entry.get("scales")
    if scales is not None and (not isinstance(scales, list) or len(scales) != len(numbers)):
        raise file.error(f"scales are not {len(numbers)} numbers, one a layer", "Correct the file.", field=_HOOK)
    strengths = {layer: _scale(file, _HOOK, scale) for layer, scale in zip(numbers, scales or [], strict=False)}
    return {
        layer: Values(table.numbers[row], table.dtype, table.change) for row, layer in enumerate(numbers)
    }, strengths


def _layer(file: VectorFile, key: str) -> int:
    if not _LAYER.fullmatch(key):
        raise file.error(f"{one_line(key, 60)!r} is no layer", "Correct the file.", field=_HOOK)
    return int(key)


def _scale(file: VectorFile, field: str, scale: Any) -> float:
    if type(scale) not in (int, float) or not math.isfinite(scale):
        raise file.error("its scale is no number", "Correct the file.", field=field)
    return float(scale)
