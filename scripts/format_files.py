"""Sound vector files of every layout that is read, and damaged ones, for ``check_formats.py`` and the tests."""

from __future__ import annotations

import io
import json
import random
import re
import struct
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from caa_registry.formats.card import Card
from caa_registry.formats.format import FORMATS
from caa_registry.vectors import LayerVector, VectorSet

CARD = Card(reference="team/sycophancy:v3", model="org/Model-7b", model_type="llama", n_layers=9)
_PIECES = (
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"\0", b"\xff", b"NaN", b"1e999", b"-1", b"9" * 400, b"null", b"true"),
    *(b"\xff" * 8, b"\0" * 8, b"\x01" + b"\0" * 7, b"[" * 4000, b"(" * 90, b"direction.0", b"layer.00", b"\x7f" * 4),
    *(b"cos\nsystem\n", b"R", b"b", b".", b"q\x00", b"h\x00", b"\x93", b"\x94", b"\x81"),
)


def rows(seed: int = 0, layers: tuple[int, ...] = (1, 2, 7), width: int = 6) -> dict[int, np.ndarray]:
    """A vector a layer, float32."""
    numbers = np.random.default_rng(seed).standard_normal((len(layers), width)).astype(np.float32)
    return dict(zip(layers, numbers, strict=True))


def vector_set(seed: int = 0, layers: tuple[int, ...] = (1, 2, 7)) -> VectorSet:
    return VectorSet.of(LayerVector(layer, row) for layer, row in rows(seed, layers).items())


def npz(arrays: Mapping[str, np.ndarray], *, packed: bool = False) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def safetensors(
    tensors: Mapping[str, tuple[str, list[int], bytes]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """``tensors``: dtype, shape and bytes by name."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    body = b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def written(name: str) -> bytes:
    """What is written in a format: one layer where a file holds one."""
    format = FORMATS[name]
    vectors = vector_set(layers=(1,)) if format.one_layer else vector_set()
    return format.write(vectors, CARD)


def bfloat16(row: np.ndarray) -> bytes:
    return (row.view(np.uint32) >> 16).astype("<u2").tobytes()


def _lite() -> bytes:
    config = json.dumps({"method": "mean_diff", "layers": [1, 2, 7], "coeff": 2.0})
    tensors = {f"layer{layer}.v": ("BF16", [6], bfloat16(row)) for layer, row in rows().items()}
    return safetensors(tensors, {"cfg": config})


def _rhizonymph_packed() -> bytes:
    import base64

    table = np.stack(list(rows().values()))
    packed = {"dtype": "float32", "shape": [3, 6], "layer_indices": [1, 2, 7], "scales": [1.0, 2.0, 0.5],
              "data": base64.b64encode(table.astype("<f4").tobytes()).decode()}  # fmt: skip
    return json.dumps({"vectors": {"post_block": packed}}).encode()


SOUND: Mapping[str, Callable[[], bytes]] = {
    **{name: (lambda name=name: written(name)) for name, format in FORMATS.items() if format.reads and format.writes},
    "safetensors/float16": lambda: safetensors(
        {f"layer_{layer}": ("F16", [6], row.astype("<f2").tobytes()) for layer, row in rows().items()}
    ),
    "safetensors/steering-lite": _lite,
    "npz/compressed": lambda: npz({f"layer_{k}": row.astype(np.float64) for k, row in rows().items()}, packed=True),
    "npz/chuk": lambda: npz({"direction": rows()[1], "layer": np.array(1), "model_id": np.array("org/Model")}),
    "rhizonymph/packed": _rhizonymph_packed,
}
"""Sound bytes by a name of their layout: a format's, or one in a format."""


def damaged(data: bytes, chance: random.Random) -> bytes:
    """``data`` with one to three damages: in an archive also in an entry, in JSON also in a value."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        kind = chance.randrange(3)
        if data[:2] == b"PK" and kind:
            data = _in_entry(data, chance)
        elif data[:1] == b"{" and kind == 1:
            data = _in_value(data, chance)
        else:
            # Most of a vector's file is numbers; what can break a reader stands in front.
            data = _in_bytes(data, chance, front=chance.random() < 0.6)
    return data


def _in_bytes(data: bytes, chance: random.Random, *, front: bool) -> bytes:
    most = min(len(data), 300) if front else len(data)
    at, end = sorted(chance.randrange(most + 1) for _ in range(2))
    match chance.randrange(7):
        case 0 | 1 if at < len(data):
            return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        case 2:
            return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        case 3:
            return data[:at]
        case 4:
            return data[:at] + data[end:]
        case 5:
            return data[:end] + data[at:end] + data[end:]
        case _:
            piece = chance.choice(_PIECES)
            return data[:at] + piece + data[at + chance.choice((0, len(piece))) :]


def _in_entry(data: bytes, chance: random.Random) -> bytes:
    """The archive with one entry damaged, renamed, left out or twice, and sound checksums."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, EOFError, OSError):
        return data[: len(data) // 2]
    if not entries:
        return data
    place = chance.randrange(len(entries))
    name, content = entries[place]
    match chance.randrange(8):
        case 0:
            del entries[place]
        case 1:
            entries[place] = (re.sub(r"\d", str(chance.randrange(10)), name), content)
        case 2:
            entries.append((f"{name}x", content))
        case _:
            entries[place] = (name, _in_bytes(content, chance, front=chance.random() < 0.5))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an entry that is there twice
        for each, content in entries:
            archive.writestr(each or "x", content)
    return buffer.getvalue()


def _in_value(data: bytes, chance: random.Random) -> bytes:
    odd = (None, True, -1, 10**30, 1e308, "", "x", "13", [], [[]], {}, [1, "2"], {"": 1}, [1, [2]], "A" * 7)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return data[: len(data) // 2]
    at = value
    while isinstance(at, dict | list) and at:
        key = chance.choice(list(at)) if isinstance(at, dict) else chance.randrange(len(at))
        if chance.random() < 0.4 or not isinstance(at[key], dict | list) or not at[key]:
            at[key] = chance.choice(odd)
            break
        at = at[key]
    return json.dumps(value).encode()
