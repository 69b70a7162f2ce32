"""The container of GGUF files, version 2 and 3, read with limits: sizes are compared with the file before anything is
taken."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from caa_registry.errors import InputError, one_line
from caa_registry.formats.values import SIZES, Values, decoded
from caa_registry.formats.vector_file import VectorFile

MAGIC = b"GGUF"
_MOST_TENSORS = _MOST_KEYS = 20_000
_MOST_LISTED = 100_000
_DEEPEST_LIST = 3
_LONGEST_NAME = 1 << 16
_DAMAGED = "The file is damaged; fetch it again."

STRING, ARRAY, BOOL = 8, 9, 7
UINT32, INT32, FLOAT32 = 4, 5, 6
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}
_NUMBERS = {0: "float32", 1: "float16", 28: "float64", 30: "bfloat16"}


@dataclass(frozen=True)
class Tensor:
    """``shape``: outermost first. ``start``: of its bytes in the file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    start: int

    @property
    def stop(self) -> int:
        return self.start + math.prod(self.shape) * SIZES[self.dtype]

    def values(self, file: VectorFile) -> Values:
        """Its numbers. Raises ``InputError`` where one is not finite."""
        return decoded(file, self.name, memoryview(file.data)[self.start : self.stop], self.dtype, self.shape)


@dataclass(frozen=True)
class Container:
    """``values``: of each key. ``types``: their GGUF types, which some producers can be told from."""

    values: Mapping[str, Any]
    types: Mapping[str, int]
    tensors: tuple[Tensor, ...]


class _Cursor:
    """A place in a file. What it takes is there, or it raises ``InputError``."""

    def __init__(self, file: VectorFile) -> None:
        self.file = file
        self.place = 0
        self.listed = 0

    def take(self, count: int, what: str) -> bytes:
        if count > len(self.file.data) - self.place:
            raise self.file.error(
                f"{what} needs {count:,} bytes at byte {self.place:,}, and the file ends at {len(self.file.data):,}",
                _DAMAGED,
            )
        self.place += count
        return self.file.data[self.place - count : self.place]

    def number(self, form: str, what: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form), what))[0]

    def text(self, what: str, longest: int | None = None) -> str:
        length = self.number("<Q", f"the length of {what}")
        if longest is not None and length > longest:
            raise self.file.error(f"{what} is said to have {length:,} bytes", _DAMAGED)
        try:
            return self.take(length, what).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.file.error(f"{what} is not UTF-8", _DAMAGED) from error

    def value(self, kind: int, what: str, depth: int = 0) -> Any:
        if kind == STRING:
            return self.text(what)
        if kind in _SCALARS:
            number = self.number(_SCALARS[kind], what)
            if kind == BOOL and number > 1:
                raise self.file.error(f"{what} is {number}, and a truth value is 0 or 1", _DAMAGED)
            return bool(number) if kind == BOOL else number
        if kind != ARRAY or depth == _DEEPEST_LIST:
            raise self.file.error(f"{what} has the unknown type {kind}, or lists in lists", _DAMAGED)
        inner, count = self.number("<I", what), self.number("<Q", what)
        self.listed += count
        if self.listed > _MOST_LISTED:
            raise self.file.error(
                f"{what} lists {count:,} values; of a control vector, {_MOST_LISTED:,} are read in all",
                "It is likely a model: name the file of a control vector.",
            )
        return [self.value(inner, what, depth + 1) for _ in range(count)]


def parsed(file: VectorFile) -> Container:
    """Keys and tensors of a GGUF file. Raises ``InputError``: tensors lie apart, inside the file, and have one name
    each."""
    cursor = _Cursor(file)
    if cursor.take(4, "the magic number") != MAGIC:
        raise file.error("it is no GGUF file", "Name a GGUF file.")
    version = cursor.number("<I", "the version")
    if version not in (2, 3):
        big = version in (2 << 24, 3 << 24)
        what = "it is big-endian" if big else f"it is version {version}"
        raise file.error(f"{what}; little-endian GGUF of version 2 and 3 is read", "Convert it.")
    n_tensors, n_keys = cursor.number("<Q", "the count of tensors"), cursor.number("<Q", "the count of keys")
    for what, count, most in (("tensors", n_tensors, _MOST_TENSORS), ("keys", n_keys, _MOST_KEYS)):
        if count > most:
            raise file.error(f"it is said to hold {count:,} {what}, more than {most:,}", _DAMAGED)
    values: dict[str, Any] = {}
    types: dict[str, int] = {}
    for _ in range(n_keys):
        key = cursor.text("a key", _LONGEST_NAME)
        if key in values:
            raise file.error("the file has this key twice", _DAMAGED, field=key)
        types[key] = cursor.number("<I", one_line(key, 80))
        values[key] = cursor.value(types[key], one_line(key, 80))
    found = [_tensor(cursor) for _ in range(n_tensors)]
    alignment = values.get("general.alignment", 32)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise file.error("it is no power of two", _DAMAGED, field="general.alignment")
    first = cursor.place + -cursor.place % alignment
    tensors = tuple(Tensor(each.name, each.shape, each.dtype, first + each.start) for each in found)
    _check_apart(file, tensors, alignment, first)
    return Container(values, types, tensors)


def is_gguf(file: VectorFile) -> bool:
    """Whether it is a GGUF file that can be read."""
    try:
        return file.data.startswith(MAGIC) and bool(file.once(parsed))
    except InputError:
        return False


def _tensor(cursor: _Cursor) -> Tensor:
    name = cursor.text("a tensor's name", _LONGEST_NAME)
    what = one_line(name, 80)
    dimensions = cursor.number("<I", what)
    if dimensions > 4:
        raise cursor.file.error(f"it is said to have {dimensions:,} dimensions", _DAMAGED, field=name)
    shape = [cursor.number("<Q", what) for _ in range(dimensions)]
    kind, offset = cursor.number("<I", what), cursor.number("<Q", what)
    if kind not in _NUMBERS:
        raise cursor.file.error(
            f"its type is number {kind} of GGML, and a control vector's is F32", "Convert it to F32.", field=name
        )
    return Tensor(name, tuple(reversed(shape)), _NUMBERS[kind], offset)


def _check_apart(file: VectorFile, tensors: tuple[Tensor, ...], alignment: int, first: int) -> None:
    names: set[str] = set()
    for tensor in tensors:
        if tensor.name in names:
            raise file.error("the file has this tensor twice", _DAMAGED, field=tensor.name)
        names.add(tensor.name)
        if tensor.stop > len(file.data) or (tensor.start - first) % alignment:
            raise file.error(
                f"shape {list(tensor.shape)} of {tensor.dtype} needs the bytes up to {tensor.stop:,}, aligned to "
                f"{alignment}, and the file ends at {len(file.data):,}",
                _DAMAGED,
                field=tensor.name,
            )
    end, before = first, ""
    for tensor in sorted(tensors, key=lambda each: (each.start, each.stop)):
        if tensor.start < end:
            raise file.error(f"its bytes are also those of {before!r}", _DAMAGED, field=tensor.name)
        end, before = tensor.stop, tensor.name
