"""NumPy archives with an array a layer: ``layer_<L>`` of depaysement and of chuk's bundles (each with a JSON file
beside), numbers alone, and chuk's single vectors (``direction`` and ``layer``).

All of them count decoder blocks from 0 and mean a block's output. Arrays of Python objects are refused: loading one
runs what the file says.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caa_registry.formats import archive
from caa_registry.formats import card as cards
from caa_registry.formats.archive import Archive
from caa_registry.formats.card import Card
from caa_registry.formats.claims import Claims
from caa_registry.formats.imported import ImportedVectors, imported, statements
from caa_registry.formats.layer_names import Style, by_layer, one_layer, style_of
from caa_registry.formats.text import looks_like_json, object_of
from caa_registry.formats.values import Values, converted
from caa_registry.formats.vector_file import VectorFile
from caa_registry.vectors import VectorSet

NAME = "npz"
_ENDING = ".npy"
_DTYPES = {"f2": "float16", "f4": "float32", "f8": "float64"}
_LONGEST_TEXT = 1 << 20
_DAMAGED = "The file is damaged; fetch it again."
_MAGIC = b"\x93NUMPY"
_VERSIONS = (b"\x01\0", b"\x02\0", b"\x03\0")
_LONGEST_HEADER = 10_000
_HEADER = re.compile(
    rb"\{'descr': '(?P<descr>[<>|](?:[fiub][1248]|U[0-9]{1,7}))', 'fortran_order': (?P<order>True|False), "
    rb"'shape': \((?P<shape>(?:[0-9]{1,15}(?:, ?[0-9]{1,15})*,?)?)\),? *\} *\n?"
)
_OTHER = re.compile(rb"'descr': ('\|O|\[)")
_DEPAYSEMENT = "depaysement_lab.mlx_steering_vectors"


def sniff(file: VectorFile) -> bool:
    """Whether it is a zip archive of arrays named after layers, or of one direction."""
    if not file.data.startswith(archive.MAGIC):
        return False
    names = _names(file.once(archive.opened))
    return "direction" in names or _layer_style(names) is not None


def read(file: VectorFile) -> ImportedVectors:
    """The vectors of an archive, with what describes them inside or beside it. Raises ``InputError``."""
    opened = file.once(archive.opened)
    names = _names(opened)
    if "direction" in names:
        return _single(file, opened, names)
    style = _layer_style(names)
    if style is None:
        raise file.error(f"its arrays are not named after layers, in one way: {', '.join(names[:3]) or 'none'}")
    layers = by_layer(file, [name for name in names if name != cards.KEY], style)
    values = {layer: _values(file, name, _array(opened, name)) for layer, name in layers.items()}
    if cards.KEY in names:
        claims = cards.claims_of(file, _text(file, cards.KEY, _array(opened, cards.KEY)))
        result = imported(file, NAME, values, style.rule, producer="CAA Registry", claims=claims)
        cards.check_digest(file, result)
        return result
    producer, claims = _described(file, values)
    return imported(file, NAME, values, style.rule, producer=producer, claims=claims)


def write(vectors: VectorSet, card: Card) -> bytes:
    """``layer_<L>`` and the card, which ``numpy.load(allow_pickle=False)`` reads."""
    arrays: dict[str, NDArray[Any]] = {f"layer_{each.layer}": each.values for each in vectors.layers}
    arrays[cards.KEY] = np.array(card.as_text(vectors.tensor_digest))
    entries = {}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array.astype(array.dtype.newbyteorder("<")), allow_pickle=False)
        entries[name + _ENDING] = buffer.getvalue()
    return archive.packed(entries)


def _names(opened: Archive) -> list[str]:
    if not all(name.endswith(_ENDING) for name in opened.entries):
        return []
    return [name.removesuffix(_ENDING) for name in opened.entries]


def _layer_style(names: list[str]) -> Style | None:
    return style_of(name for name in names if name != cards.KEY)


def _single(file: VectorFile, opened: Archive, names: list[str]) -> ImportedVectors:
    """chuk's single vector: its layer, texts and figures are arrays of one item."""
    said: dict[str, Any] = {}
    for name in names:
        if name == "direction":
            continue
        array = _array(opened, name)
        if array.size == 1 and array.dtype.kind in "iuf":
            said[name] = array.reshape(-1)[0].item()
        elif array.size == 1 and array.dtype.kind == "U":
            said[name] = _text(file, name, array)
    stated = said.pop("layer", None)
    if stated is not None and type(stated) is not int:
        raise file.error("the layer is a whole number", "Correct the file.", field="layer")
    values = {one_layer(file, stated, "the array 'layer'"): _values(file, "direction", _array(opened, "direction"))}
    if any(layer < 0 for layer in values):
        raise file.error(f"it is {stated}; layers count from 0", "Say which layer is meant.", field="layer")
    claims = Claims(model=str(said.pop("model_id", "")), statements=statements(said))
    return imported(file, NAME, values, "layer is the output of that 0-based block", producer="chuk", claims=claims)


def _described(file: VectorFile, values: Mapping[int, Values]) -> tuple[str, Claims]:
    """Producer and claims from the JSON file beside it, of depaysement or chuk."""
    for name, data in file.beside.items():
        sidecar = VectorFile(name, data)
        if not name.endswith(".json") or not looks_like_json(sidecar):
            continue
        said = object_of(sidecar, data)
        if str(said.get("format", "")).startswith(_DEPAYSEMENT):
            _check_layers(file, name, "selected_layers", said.get("selected_layers"), values)
            layers = said.get("n_layers")
            claims = Claims(model=str(said.get("model_name", "")), layers=layers if type(layers) is int else None)
            return "depaysement", replace(claims, statements=statements(said))
        if isinstance(said.get("directions"), dict) and "model_id" in said:
            _check_layers(file, name, "directions", list(said["directions"]), values)
            labels = {key: value for key, value in said.items() if key != "directions"}
            methods = {str(each.get("method", "")) for each in said["directions"].values() if isinstance(each, dict)}
            claims = Claims(model=str(said["model_id"]), method=", ".join(sorted(methods))[:200])
            return "chuk", replace(claims, statements=statements(labels))
    return "", Claims()


def _check_layers(file: VectorFile, name: str, field: str, stated: Any, values: Mapping[int, Values]) -> None:
    if isinstance(stated, list) and stated and sorted(map(str, stated)) != sorted(map(str, values)):
        raise file.error(
            f"{name} lists the layers {', '.join(map(str, stated))[:200]}, and the arrays are of the layers "
            f"{', '.join(map(str, sorted(values)))[:200]}",
            "One of the two is wrong.",
            field=field,
        )


def _array(opened: Archive, name: str) -> NDArray[Any]:
    """An array of the archive, whose header is checked before any number is taken."""
    file, data = opened.file, opened.read(name + _ENDING, packed=True)
    # NumPy's own reader of headers evaluates them, and lets errors of the tokenizer out.
    wide = data[6:7] > b"\x01"
    start = 12 if wide else 10
    stop = start + int.from_bytes(data[8:start], "little")
    known = data[:6] == _MAGIC and data[6:8] in _VERSIONS and stop - start <= _LONGEST_HEADER
    match = _HEADER.fullmatch(data[start:stop]) if known else None
    if match is None:
        what = "an array of Python objects or records" if known and _OTHER.search(data[start:stop]) else ""
        raise file.error(
            f"it is {what}, and loading one can run code" if what else "the array's header cannot be read",
            "Save plain numbers." if what else _DAMAGED,
            field=name,
        )
    dtype = np.dtype(match["descr"].decode())
    shape = tuple(int(size) for size in match["shape"].replace(b" ", b"").split(b",") if size)
    needed = math.prod(shape) * dtype.itemsize
    if needed != len(data) - stop or len(shape) > 8:
        raise file.error(
            f"shape {list(shape)} of {dtype} needs {needed:,} bytes, and there are {len(data) - stop:,}",
            _DAMAGED,
            field=name,
        )
    if not needed:
        return np.zeros([min(size, 1) if dtype.itemsize == 0 else size for size in shape], dtype)
    return np.frombuffer(data, dtype, offset=stop).reshape(shape, order="F" if match["order"] == b"True" else "C")


def _values(file: VectorFile, name: str, array: NDArray[Any]) -> Values:
    kind = f"{array.dtype.kind}{array.dtype.itemsize}"
    if kind not in _DTYPES:
        raise file.error(f"its type is {array.dtype}, and a vector's is float16, float32 or float64", field=name)
    return converted(file, name, array, _DTYPES[kind])


def _text(file: VectorFile, name: str, array: NDArray[Any]) -> str:
    if array.dtype.kind != "U" or array.size != 1 or array.nbytes > 4 * _LONGEST_TEXT:
        raise file.error("it is no text", "Correct the file.", field=name)
    try:
        return str(array.reshape(-1)[0])
    except (ValueError, UnicodeError) as error:
        raise file.error(f"it is no text: {error}", _DAMAGED, field=name) from error
