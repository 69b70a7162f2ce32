"""Control vectors as GGUF version 3, with GLP's keys."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

import numpy as np

from caa_registry.errors import UsageError
from caa_registry.formats.card import KEY, Card
from caa_registry.formats.gguf.container import FLOAT32, MAGIC, STRING, UINT32
from caa_registry.formats.gguf.glp import ADD, content_sha256
from caa_registry.formats.imported import BLOCK_OUTPUT
from caa_registry.formats.values import Values
from caa_registry.vectors import VectorSet

_ALIGNMENT = 32
_F32 = 0
_ON_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def written(vectors: VectorSet, card: Card) -> bytes:
    """The bytes of a control vector. Raises ``UsageError`` for block 0, which llama.cpp has no name for."""
    if vectors.layer_numbers[0] == 0:
        others = "" if len(vectors.layers) == 1 else " Export the others (--layers)."
        raise UsageError(
            "a control vector cannot steer block 0: llama.cpp counts from direction.1, which is block 1, and refuses a "
            "whole file that has direction.0",
            f"Export layer 0 in another format, such as safetensors.{others}",
        )
    keys = _keys(vectors, card)
    head = bytearray(MAGIC + struct.pack("<IQQ", 3, len(vectors.layers), len(keys)))
    for key, (kind, value) in keys.items():
        head += _text(key) + struct.pack("<I", kind)
        if kind == STRING:
            head += _text(str(value))
        else:
            head += struct.pack("<I" if kind == UINT32 else "<f", value)
    nbytes = 4 * vectors.d_model
    step = nbytes + -nbytes % _ALIGNMENT
    for place, vector in enumerate(vectors.layers):
        head += _text(f"direction.{vector.layer}") + struct.pack("<IQIQ", 1, vectors.d_model, _F32, place * step)
    body = bytearray(head + b"\0" * (-len(head) % _ALIGNMENT))
    for vector in vectors.layers:
        body += np.ascontiguousarray(vector.values, dtype="<f4").tobytes() + b"\0" * (step - nbytes)
    return bytes(body)


def _keys(vectors: VectorSet, card: Card) -> Mapping[str, tuple[int, str | int | float]]:
    values = {vector.layer: Values(vector.values, "float32") for vector in vectors.layers}
    keys: dict[str, tuple[int, str | int | float]] = {
        "general.architecture": (STRING, "controlvector"),
        "controlvector.model_hint": (STRING, card.model_type or "unknown"),
        "controlvector.layer_count": (UINT32, len(vectors.layers)),
        "glp.mode": (STRING, ADD),
        "glp.spec_version": (UINT32, 1),
        "glp.hook_point": (STRING, BLOCK_OUTPUT),
        "glp.alpha_default": (FLOAT32, 1.0),
        "glp.layer_ids_zero_based": (STRING, ",".join(map(str, vectors.layer_numbers))),
        "glp.content_sha256": (STRING, content_sha256(values)),
        "glp.generator": (STRING, "CAA Registry"),
        f"{KEY}.card": (STRING, card.as_text(vectors.tensor_digest)),
    }
    if card.method:
        keys["glp.method"] = (STRING, card.method)
    if card.dataset:
        keys["glp.contrast"] = (STRING, card.dataset)
    if card.model:
        organization, _, name = card.model.rpartition("/")
        keys |= {
            "glp.base_model": (STRING, card.model),
            "general.base_model.count": (UINT32, 1),
            "general.base_model.0.name": (STRING, name),
        }
        if _ON_HUB.fullmatch(card.model):
            keys["general.base_model.0.organization"] = (STRING, organization)
            keys["general.base_model.0.repo_url"] = (STRING, f"https://huggingface.co/{card.model}")
        if card.revision:
            keys["general.base_model.0.version"] = (STRING, card.revision)
            keys["glp.base_revision"] = (STRING, card.revision)
    return keys


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return struct.pack("<Q", len(data)) + data
