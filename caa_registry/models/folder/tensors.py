"""What a safetensors file says that it holds, read from its header and checked against the file.

MLX maps what a header names without asking whether it is there, so a header is checked before MLX sees the file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caa_registry.errors import ModelError
from caa_registry.models.folder.json_files import check_no_pointer, parsed

BITS: Mapping[str, int] = {
    "BOOL": 8,
    "F4": 4,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "BF16": 16,
    "F16": 16,
    "F32": 32,
    "F64": 64,
    "C64": 64,
    "I8": 8,
    "I16": 16,
    "I32": 32,
    "I64": 64,
    "U8": 8,
    "U16": 16,
    "U32": 32,
    "U64": 64,
}
"""The dtypes of the format, and how many bits an element of each takes."""

# A quarter of a million tensors; what is parsed of a longer one could take gigabytes.
_LONGEST_HEADER = 32_000_000
_MOST_AXES = 8
_AGAIN = "Fetch it again."


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file: its name, its dtype as the format calls it, its shape, and the bytes ``start`` to ``stop`` of
    the file that hold it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def stored_tensors(path: Path) -> tuple[StoredTensor, ...]:
    """The tensors of the safetensors file ``path``, in the order of their bytes. Its data are not read.

    Raises ``ModelError`` for a file that is none, ends early, or whose header contradicts itself or the file.
    """
    check_no_pointer(path)
    size = path.stat().st_size
    with path.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if size < 8 or length > min(size - 8, _LONGEST_HEADER):
            raise ModelError(f"{path}: is not a safetensors file, or ends early: it has {size:,} bytes", _AGAIN)
        text = opened.read(length)
    try:
        header = parsed(text.decode())
        found = sorted(
            (_tensor(name, about, 8 + length) for name, about in header.items() if name != "__metadata__"),
            key=lambda tensor: (tensor.start, tensor.stop),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{path}: its safetensors header cannot be read: {_reason(error)}", _AGAIN) from error
    end = 8 + length
    for tensor in found:
        if tensor.start != end:
            raise ModelError(f"{path}: the data of {tensor.name} overlap others or leave a gap", _AGAIN)
        end = tensor.stop
    if end > size:
        raise ModelError(f"{path}: ends early: it has {size:,} of {end:,} bytes", _AGAIN)
    if end < size:
        raise ModelError(f"{path}: has {size - end:,} bytes that its header does not name", _AGAIN)
    return tuple(found)


def _tensor(name: str, about: dict[str, Any], offset: int) -> StoredTensor:
    dtype, shape, (first, last) = about["dtype"], tuple(about["shape"]), about["data_offsets"]
    if dtype not in BITS:
        raise ValueError(f"{name} has the unknown dtype {dtype!r}")
    if len(shape) > _MOST_AXES:
        raise ValueError(f"{name} has {len(shape):,} axes, more than {_MOST_AXES}")
    if not all(type(number) is int and number >= 0 for number in (*shape, first, last)):
        raise ValueError(f"{name} has the shape {list(shape)} and the bytes {first} to {last}")
    if 8 * (last - first) != BITS[dtype] * math.prod(shape):
        raise ValueError(f"{name} is {dtype} of the shape {list(shape)}, but has {last - first:,} bytes")
    return StoredTensor(name, dtype, shape, offset + first, offset + last)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
