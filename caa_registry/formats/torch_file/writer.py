"""Files that ``torch.load(weights_only=True)`` reads, written without torch: one tensor of float32."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from caa_registry.formats.archive import packed

_ROOT = "archive"
CARD = "caa_registry.json"
"""An entry of the archive that torch passes over."""


def tensor_file(numbers: NDArray[np.float32], card: str) -> bytes:
    """``torch.save`` of a tensor on the CPU, with the card as an entry of its own."""
    return packed(
        {
            f"{_ROOT}/data.pkl": _pickle(numbers.shape),
            f"{_ROOT}/byteorder": b"little",
            f"{_ROOT}/data/0": np.ascontiguousarray(numbers, dtype="<f4").tobytes(),
            f"{_ROOT}/version": b"3\n",
            f"{_ROOT}/{CARD}": card.encode(),
        }
    )


def _pickle(shape: tuple[int, ...]) -> bytes:
    """``_rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`` in protocol 2."""
    strides = [int(np.prod(shape[place + 1 :], dtype=np.int64)) for place in range(len(shape))]
    count = int(np.prod(shape, dtype=np.int64))
    storage = b"(" + _text("storage") + b"ctorch\nFloatStorage\n" + _text("0") + _text("cpu") + _number(count) + b"tQ"
    arguments = storage + _number(0) + _numbers(shape) + _numbers(strides) + b"\x89" + b"ccollections\nOrderedDict\n)R"
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR."


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def _number(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def _numbers(numbers: tuple[int, ...] | list[int]) -> bytes:
    return b"(" + b"".join(_number(number) for number in numbers) + b"t"
