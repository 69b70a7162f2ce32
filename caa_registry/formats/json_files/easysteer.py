"""EasySteer v2's payload of kind ``direction``: tensors ``layer.<L>`` in base64, with a digest of them.

Layer L is the output of 0-based block L. It is the ``data`` of a vector in a request; ``apply`` of
``{"prompt_positions": [-1], "generation": "all"}`` is about the positions ``after_prompt``. The payload has no room
for a reference. Compared with its description only, not with EasySteer.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

import numpy as np

from caa_registry.errors import InputError
from caa_registry.formats.card import Card, compact
from caa_registry.formats.imported import ImportedVectors, imported
from caa_registry.formats.layer_names import by_layer, style_of
from caa_registry.formats.text import json_file, looks_like_json
from caa_registry.formats.values import Values, decoded
from caa_registry.formats.vector_file import VectorFile
from caa_registry.vectors import VectorSet

NAME = "easysteer"
_KIND = "direction"
_VERSION = 1
_KEYS = {"version", "kind", "tensors"}


def sniff(file: VectorFile) -> bool:
    """Whether it is a payload."""
    try:
        return looks_like_json(file) and file.once(json_file).keys() >= _KEYS
    except InputError:
        return False


def read(file: VectorFile) -> ImportedVectors:
    """The directions of a payload, whose digest fits. Raises ``InputError``."""
    said = file.once(json_file)
    if said.get("kind") != _KIND or said.get("version") != _VERSION or type(said.get("version")) is not int:
        raise file.error(
            f"it is of kind {str(said.get('kind'))[:40]!r}, version {str(said.get('version'))[:40]}; of EasySteer, "
            "directions of version 1 are read",
            field="kind",
        )
    tensors = said.get("tensors")
    style = style_of(tensors) if isinstance(tensors, dict) else None
    if style is None or not isinstance(tensors, dict):
        raise file.error("its tensors are not named layer.<number>", "Correct the file.", field="tensors")
    layers = by_layer(file, tensors, style)
    values = {layer: _values(file, name, tensors[name]) for layer, name in layers.items()}
    if "sha256" in said and not said.get("extra"):
        found = _digest({layers[layer]: each for layer, each in values.items()})
        if said["sha256"] != found:
            raise file.error(
                f"the file says that its tensors have the SHA-256 {str(said['sha256'])[:80]}, and they have {found}",
                "They were changed, or the file is damaged.",
                field="sha256",
            )
    rule = "layer.N is the output of 0-based block N"
    return imported(file, NAME, values, rule, producer="EasySteer", untested=True)


def write(vectors: VectorSet, card: Card) -> bytes:
    """The payload of all layers."""
    values = {f"layer.{each.layer}": Values(each.values, "float32") for each in vectors.layers}
    tensors = {
        name: {"shape": list(each.numbers.shape), "data": base64.b64encode(_raw(each)).decode()}
        for name, each in values.items()
    }
    return compact({"version": _VERSION, "kind": _KIND, "tensors": tensors, "extra": {}, "sha256": _digest(values)})


def _values(file: VectorFile, name: str, entry: Any) -> Values:
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if not isinstance(shape, list) or len(shape) != 1 or type(shape[0]) is not int or not 0 <= shape[0] < 1 << 24:
        raise file.error("its shape is not that of one vector", "Correct the file.", field=name)
    try:
        raw = base64.b64decode(entry.get("data", ""), validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise file.error("its data are no base64", "The file is damaged.", field=name) from error
    return decoded(file, name, raw, "float32", shape)


def _digest(values: dict[str, Values]) -> str:
    digest = hashlib.sha256(f"{_KIND}:{_VERSION}".encode())
    for name in sorted(values):  # as texts: layer.10 before layer.2
        digest.update(f"{name}{values[name].numbers.shape}".encode())
        digest.update(_raw(values[name]))
    return digest.hexdigest()


def _raw(values: Values) -> bytes:
    return np.ascontiguousarray(values.numbers, dtype="<f4").tobytes()
