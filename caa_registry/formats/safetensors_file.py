"""The registry's own file: safetensors with a float32 tensor ``layer.<L>`` for each layer.

All metadata is canonical JSON in one ``__metadata__`` key: with several keys safetensors writes them in a random
order, and equal vectors would have unequal files.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from caa_registry.digests import canonical_json
from caa_registry.errors import IntegrityError, UsageError
from caa_registry.vectors import DirectionSet, LayerVector

_METADATA_KEY = "caa_registry"
_PREFIX = "layer."
_NAME = re.compile(r"layer\.(0|[1-9][0-9]*)")


@dataclass(frozen=True)
class LayerPlace:
    """Where a layer's raw bytes stand in the file."""

    offset: int
    nbytes: int


def write(vectors: DirectionSet, metadata: Mapping[str, Any]) -> bytes:
    """The file's bytes: the same for the same vectors and metadata, in every process."""
    tensors = {f"{_PREFIX}{v.layer}": np.ascontiguousarray(v.values, dtype="<f4") for v in vectors.layers}
    return bytes(save_tensors(tensors, {_METADATA_KEY: canonical_json(dict(metadata))}))


def places(data: bytes) -> dict[int, LayerPlace]:
    """Where each layer stands in a file that ``write`` made. Raises ``IntegrityError`` for other bytes."""
    try:
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        by_layer = {}
        for name, entry in header.items():
            if name != "__metadata__":
                first, stop = entry["data_offsets"]
                by_layer[_layer_of(name)] = LayerPlace(8 + length + first, stop - first)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"the vector file cannot be read: {error}") from error
    return by_layer


def sniff(data: bytes) -> bool:
    """Whether ``data`` is a safetensors file whose tensors are all layers by number."""
    try:
        return bool(places(data))
    except IntegrityError:
        return False


def read(data: bytes) -> DirectionSet:
    """The vectors of a file that ``write`` made. Raises ``IntegrityError`` for other bytes."""
    try:
        tensors = load_tensors(data)
        layers = {_layer_of(name): tensor for name, tensor in tensors.items()}
        return DirectionSet.of(LayerVector(layer, layers[layer]) for layer in sorted(layers))
    except (SafetensorError, ValueError, KeyError, TypeError, UsageError) as error:
        raise IntegrityError(f"the vector file cannot be read: {error}") from error


def _layer_of(name: str) -> int:
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"it holds a tensor named {name!r}")
    return int(match[1])
