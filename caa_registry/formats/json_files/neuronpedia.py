"""Neuronpedia's vectors: an object with ``modelId``, ``layerNumber``, ``hookType`` and the list ``vector``; one layer
each.

``hook_resid_post`` of N is the output of 0-based block N; ``hook_resid_pre`` is its input, the output of block N-1,
and of block 0 the embeddings. At most 24,576 numbers. Names as in its Python client (``model_id``, ``layer_num``) are
read too. Compared with its description only, not with Neuronpedia.
"""

from __future__ import annotations

import math
import re
from typing import Any

from caa_registry.errors import InputError, UsageError, one_line
from caa_registry.formats.card import Card, compact
from caa_registry.formats.claims import Claims
from caa_registry.formats.imported import ImportedVectors, imported, statements
from caa_registry.formats.text import json_file, looks_like_json
from caa_registry.formats.values import listed
from caa_registry.formats.vector_file import VectorFile
from caa_registry.vectors import VectorSet

NAME = "neuronpedia"
_WIDEST = 24_576
_POST, _PRE = "hook_resid_post", "hook_resid_pre"
_LAYER, _HOOK = ("layerNumber", "layer_num"), ("hookType", "hook_type")
_MODEL, _STRENGTH = ("modelId", "model_id"), ("defaultSteerStrength", "default_steer_strength")


def sniff(file: VectorFile) -> bool:
    """Whether it is an object with a vector and its layer."""
    try:
        said = file.once(json_file) if looks_like_json(file) else {}
    except InputError:
        return False
    return "vector" in said and any(key in said for key in _LAYER)


def read(file: VectorFile) -> ImportedVectors:
    """The vector. Raises ``InputError`` for one at the embeddings."""
    said = file.once(json_file)
    number, hook = _one(file, said, _LAYER), _one(file, said, _HOOK)
    if type(number) is not int or not 0 <= number < 10_000:
        raise file.error(f"{str(number)[:40]!r} is no layer", "Correct the file.", field=_LAYER[0])
    hook = _POST if hook is None else hook
    if hook not in (_POST, _PRE):
        raise file.error(f"the hook {str(hook)[:60]!r} is unknown", f"Known are {_POST} and {_PRE}.", field=_HOOK[0])
    layer = number - 1 if hook == _PRE else number
    if layer < 0:
        raise file.error("it is the input of the first block, the embeddings", field=_HOOK[0])
    strength = _one(file, said, _STRENGTH)
    if strength is not None and (type(strength) not in (int, float) or not math.isfinite(strength)):
        raise file.error("its strength is no number", "Correct the file.", field=_STRENGTH[0])
    model = _one(file, said, _MODEL)
    return imported(
        file,
        NAME,
        {layer: listed(file, "vector", said.get("vector"))},
        f"{hook} of layer N is the {'output of 0-based block N' if hook == _POST else 'output of block N-1'}",
        producer="Neuronpedia",
        strengths={} if strength is None else {layer: float(strength)},
        claims=Claims(
            model=str(model or "")[:200],
            data=str(said.get("label", ""))[:400],
            statements=statements({key: value for key, value in said.items() if key != "vector"}),
        ),
        untested=True,
    )


def write(vectors: VectorSet, card: Card) -> bytes:
    """One layer; the label is the reference. Raises ``UsageError`` for a vector that is too wide."""
    if vectors.d_model > _WIDEST:
        raise UsageError(
            f"the vector has {vectors.d_model:,} numbers, and Neuronpedia takes {_WIDEST:,}", "Use another format."
        )
    (vector,) = vectors.layers
    return compact(
        {
            "label": card.reference or card.digest or vectors.tensor_digest,
            "modelId": card.model.rpartition("/")[2].lower(),
            "layerNumber": vector.layer,
            "hookType": _POST,
            "vector": vector.values.tolist(),
        }
    )


def file_name(layer: int, card: Card) -> str:
    """A name of ours: Neuronpedia takes objects and no files."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", card.reference)[:100]
    return f"{name or 'vector'}_layer_{layer}.json"


def _one(file: VectorFile, said: dict[str, Any], keys: tuple[str, ...]) -> Any:
    """What either of two names says. Raises ``InputError`` where both do, differently."""
    given = [(key, said[key]) for key in keys if said.get(key) is not None]
    if len(given) == 2 and given[0][1] != given[1][1]:
        both = " and ".join(f"{key} is {one_line(str(value), 60)!r}" for key, value in given)
        raise file.error(both, "One of the two is wrong.")
    return given[0][1] if given else None
