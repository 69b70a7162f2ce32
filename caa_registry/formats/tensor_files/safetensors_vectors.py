"""Safetensors files with a tensor a layer: of CAA Registry (``layer.<L>`` and a card), saklas (``layer_<L>`` and a
sidecar), steering-lite (``layer<L>.<k>`` and its configuration), and others that name a layer in each tensor.

All of them count decoder blocks from 0 and mean a block's output.
"""

from __future__ import annotations

import re

from caa_registry.formats import card as cards
from caa_registry.formats import safetensors_file
from caa_registry.formats.card import Card
from caa_registry.formats.claims import Claims, Scale
from caa_registry.formats.imported import ImportedVectors, imported, statements
from caa_registry.formats.layer_names import by_layer, style_of
from caa_registry.formats.tensor_files.tensor_header import layout
from caa_registry.formats.text import looks_like_json, object_of
from caa_registry.formats.vector_file import VectorFile
from caa_registry.vectors import VectorSet

NAME = "safetensors"
_LITE = re.compile(r"layer(0|[1-9][0-9]{0,3})\.([A-Za-z_][A-Za-z0-9_]*)")
_LITE_ADDED = {"mean_diff", "mean_centred_diff", "pca", "random"}
_SAKLAS_KEYS = {"format_version", "saklas_version", "method", "tensor_sha256"}


def sniff(file: VectorFile) -> bool:
    """Whether it is safetensors whose tensors are all named after layers, in one way."""
    if len(file.data) < 10 or file.data[8:9] != b"{":
        return False
    names = list(file.once(layout).tensors)
    return style_of(names) is not None or _is_lite(names)


def read(file: VectorFile) -> ImportedVectors:
    """The vectors of a file, with its card, sidecar or configuration. Raises ``InputError``."""
    found = file.once(layout)
    if _is_lite(list(found.tensors)):
        return _steering_lite(file)
    style = style_of(found.tensors)
    if style is None:
        names = ", ".join(list(found.tensors)[:3])
        raise file.error(f"its tensors are not named after layers, in one way: {names or 'there are none'}")
    values = {layer: found.values(file, name) for layer, name in by_layer(file, found.tensors, style).items()}
    producer, claims = "", Claims(statements=statements(found.metadata))
    scale: Scale = "raw"
    if cards.KEY in found.metadata:
        producer, claims = "CAA Registry", cards.claims_of(file, found.metadata[cards.KEY])
    elif (sidecar := _saklas_sidecar(file)) is not None:
        producer, scale = "saklas", "layer-shares"
        claims = Claims(method=str(sidecar.get("method", "")), statements=statements(sidecar))
    result = imported(file, NAME, values, style.rule, producer=producer, scale=scale, claims=claims)
    if cards.KEY in found.metadata:
        cards.check_digest(file, result)
    return result


def write(vectors: VectorSet, card: Card) -> bytes:
    """The registry's own layout, which any reader of safetensors takes: ``layer.<L>`` and the card."""
    return safetensors_file.write(vectors, card.as_json(vectors.tensor_digest))


def _is_lite(names: list[str]) -> bool:
    return bool(names) and all(_LITE.fullmatch(name) for name in names)


def _steering_lite(file: VectorFile) -> ImportedVectors:
    found = file.once(layout)
    config = object_of(file, found.metadata.get("cfg", "{}"), "cfg")
    values, other = {}, set()
    for name in found.tensors:
        match = _LITE.fullmatch(name)
        if match and match[2] == "v":
            values[int(match[1])] = found.values(file, name)
        elif match:
            other.add(match[2])
    method = str(config.get("method", ""))
    if other:
        raise file.error(
            f"method {method[:60]!r} of steering-lite keeps {', '.join(sorted(other)[:5])[:200]} a layer, which is no "
            "steering vector",
            "Methods with one vector 'v' a layer can be imported.",
        )
    stated = config.get("layers")
    if isinstance(stated, list) and stated and sorted(map(str, stated)) != sorted(map(str, values)):
        raise file.error(
            f"cfg.layers are {', '.join(map(str, stated))[:200]}, and the tensors are of the layers "
            f"{', '.join(map(str, sorted(values)))[:200]}",
            "One of the two is wrong.",
            field="cfg",
        )
    coefficient = config.get("coeff")
    strengths = dict.fromkeys(values, float(coefficient)) if isinstance(coefficient, int | float) else {}
    return imported(
        file,
        NAME,
        values,
        "layerN.v is the output of 0-based block N",
        producer="steering-lite",
        operation="add" if method in _LITE_ADDED or not method else method,
        strengths=strengths,
        claims=Claims(method=method, statements=statements(config)),
    )


def _saklas_sidecar(file: VectorFile) -> dict[str, object] | None:
    """The sidecar of a saklas profile beside the file, whose digest fits."""
    for name, data in file.beside.items():
        if not name.endswith(".json") or not looks_like_json(VectorFile(name, data)):
            continue
        said = object_of(VectorFile(name, data), data)
        if not said.keys() >= _SAKLAS_KEYS:
            continue
        stated = str(said["tensor_sha256"]).removeprefix("sha256:")
        if stated != file.sha256.removeprefix("sha256:"):
            raise file.error(
                f"{name} says that the file has the SHA-256 {stated[:64]}, and it has {file.sha256[7:]}",
                "One of the two was changed; export them again.",
            )
        return said
    return None
