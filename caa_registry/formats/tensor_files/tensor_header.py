"""The container of safetensors files, read with limits. bfloat16 is read too, which the package's NumPy reader is not
able to."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from caa_registry.formats.text import object_of
from caa_registry.formats.values import Values, decoded
from caa_registry.formats.vector_file import VectorFile

_LARGEST_HEADER = 1 << 23
_MOST_TENSORS = 20_000
_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
_DAMAGED = "The file is damaged; fetch it again."


@dataclass(frozen=True)
class Place:
    """A tensor's type, shape, and its bytes in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Layout:
    """The tensors of a safetensors file by name, and its texts."""

    tensors: Mapping[str, Place]
    metadata: Mapping[str, str]

    def values(self, file: VectorFile, name: str) -> Values:
        """The numbers of a tensor. Raises ``InputError`` where it is of another type than a vector's."""
        place = self.tensors[name]
        if place.dtype not in _DTYPES:
            raise file.error(f"its type is {place.dtype}, and a vector's is {', '.join(_DTYPES)}", field=name)
        raw = memoryview(file.data)[place.start : place.stop]
        return decoded(file, name, raw, _DTYPES[place.dtype], place.shape)


def layout(file: VectorFile) -> Layout:
    """Where everything stands. Raises ``InputError`` unless each byte behind the header belongs to one tensor."""
    if len(file.data) < 8:
        raise file.error("it ends before the length of its header", _DAMAGED)
    (length,) = struct.unpack("<Q", file.data[:8])
    if length > min(len(file.data) - 8, _LARGEST_HEADER):
        raise file.error(
            f"its header is said to have {length:,} bytes, and {len(file.data) - 8:,} follow (of a header, at most "
            f"{_LARGEST_HEADER:,} are read)",
            _DAMAGED,
        )
    header = object_of(file, file.data[8 : 8 + length], "header")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise file.error("it is no object of texts", _DAMAGED, field="__metadata__")
    if len(header) > _MOST_TENSORS:
        raise file.error(f"it holds {len(header):,} tensors, more than {_MOST_TENSORS:,}")
    tensors = {name: _place(file, name, entry, 8 + length) for name, entry in header.items()}
    end = 8 + length
    for name, place in sorted(tensors.items(), key=lambda each: (each[1].start, each[1].stop)):
        if place.start != end:
            raise file.error("its bytes do not begin where those before it end", _DAMAGED, field=name)
        end = place.stop
    if end != len(file.data):
        raise file.error(f"its tensors end at byte {end:,} and the file at {len(file.data):,}", _DAMAGED)
    return Layout(tensors, metadata)


def _place(file: VectorFile, name: str, entry: Any, first: int) -> Place:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise file.error("its entry does not give dtype, shape and data_offsets", _DAMAGED, field=name)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2 or not isinstance(dtype, str):
        raise file.error("its dtype, shape or data_offsets are of another type", _DAMAGED, field=name)
    if dtype not in _BITS:
        raise file.error(f"the type {dtype[:40]!r} is unknown", _DAMAGED, field=name)
    begin, stop = offsets
    if len(shape) > 8 or math.prod(shape) * _BITS[dtype] != 8 * (stop - begin):
        raise file.error(
            f"shape {shape} of {dtype} needs {math.prod(shape) * _BITS[dtype] // 8:,} bytes, and its data_offsets give "
            f"{stop - begin:,}",
            _DAMAGED,
            field=name,
        )
    return Place(dtype, tuple(shape), first + begin, first + stop)


def _counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 48 for value in values)
