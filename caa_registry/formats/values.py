"""Numbers of a file as float32: exact where the file's type allows it, and finite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caa_registry.formats.vector_file import VectorFile

SIZES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
"""Bytes of a number, of each type that is read."""
_CODES = {"float16": "f2", "bfloat16": "u2", "float32": "f4", "float64": "f8"}


@dataclass(frozen=True, eq=False)
class Values:
    """``numbers``: float32, of any shape. ``dtype``: the file's. ``change``: the largest relative change that rounding
    to float32 made, 0 where all are kept."""

    numbers: NDArray[np.float32]
    dtype: str
    change: float = 0.0


def decoded(
    file: VectorFile, field: str, raw: bytes | memoryview, dtype: str, shape: Sequence[int], *, big_endian: bool = False
) -> Values:
    """``raw`` as numbers of type ``dtype``, in row-major order. Raises ``InputError`` where it has another number of
    bytes than ``shape`` needs, and for what is not finite, in the file or as float32."""
    needed = math.prod(shape) * SIZES[dtype]
    if len(raw) != needed:
        raise file.error(
            f"shape {list(shape)} of {dtype} needs {needed:,} bytes, and there are {len(raw):,}",
            "The file is damaged.",
            field=field,
        )
    return converted(
        file, field, np.frombuffer(raw, (">" if big_endian else "<") + _CODES[dtype]).reshape(shape), dtype
    )


def converted(file: VectorFile, field: str, array: NDArray[Any], dtype: str) -> Values:
    """``array`` as float32; with ``dtype`` bfloat16, its bits. Raises ``InputError`` as ``decoded``."""
    if dtype == "bfloat16":
        numbers = (array.astype(np.uint32) << 16).view(np.float32)
    else:
        with np.errstate(over="ignore"):
            numbers = np.ascontiguousarray(array, dtype=np.float32).reshape(array.shape)
    _check_finite(file, field, array if dtype == "float64" else numbers)
    change = 0.0
    if dtype == "float64":
        if not np.isfinite(numbers).all():
            raise file.error("a number is too large for float32", "Scale the vector down first.", field=field)
        lost = np.abs(array - numbers.astype(np.float64))
        change = float(np.max(lost / np.where(array == 0, 1, np.abs(array)), initial=0.0))
    return Values(numbers, dtype, change)


def listed(file: VectorFile, field: str, numbers: Any) -> Values:
    """A list of numbers, or a list of such lists of one length, as JSON has it. Raises ``InputError``."""
    rows = numbers if isinstance(numbers, list) and numbers and isinstance(numbers[0], list) else [numbers]
    for row in rows:
        if not isinstance(row, list) or not all(type(number) in (int, float) for number in row):
            raise file.error("a vector is a list of numbers", "Correct the file.", field=field)
    if len({len(row) for row in rows}) != 1:
        raise file.error("its rows have different lengths", "Correct the file.", field=field)
    try:
        array = np.array(numbers, dtype=np.float64)
    except OverflowError:
        raise file.error("a number is too large for float32", "Scale the vector down first.", field=field) from None
    return converted(file, field, array, "float64")


def _check_finite(file: VectorFile, field: str, numbers: NDArray[Any]) -> None:
    finite = np.isfinite(numbers)
    if not finite.all():
        place = int(np.flatnonzero(~finite.reshape(-1))[0])
        raise file.error(
            f"number {place} is {numbers.reshape(-1)[place]}, and a vector needs finite ones",
            "Compute the vector again, in float32 or bfloat16.",
            field=field,
        )
