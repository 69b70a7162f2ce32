"""Files as ``torch.save`` writes them, put together without torch: opcodes of pickles, and archives of storages."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np

STORAGES = {"f4": "FloatStorage", "f2": "HalfStorage", "f8": "DoubleStorage", "bf16": "BFloat16Storage"}


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def numbers(values: Sequence[int]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def dictionary(items: Mapping[str | int, bytes]) -> bytes:
    pairs = b"".join((text(key) if isinstance(key, str) else number(key)) + value for key, value in items.items())
    return b"}(" + pairs + b"u"


def tensor(
    key: str,
    count: int,
    shape: Sequence[int],
    *,
    kind: str = "f4",
    offset: int = 0,
    strides: Sequence[int] | None = None,
) -> bytes:
    """Opcodes of a tensor over the storage ``key`` of ``count`` numbers."""
    if strides is None:
        strides = [int(np.prod(shape[place + 1 :], dtype=int)) for place in range(len(shape))]
    storage = b"(" + text("storage") + b"ctorch\n" + STORAGES[kind].encode() + b"\n" + text(key) + text("cpu")
    storage += number(count) + b"tQ"
    rest = number(offset) + numbers(shape) + numbers(strides) + b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + b"tR"


def archive(entries: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return buffer.getvalue()


def torch_file(pickle: bytes, storages: Mapping[str, bytes], **entries: bytes) -> bytes:
    """An archive of the opcodes ``pickle`` (without header and end) and of ``storages`` by key. ``entries`` replace or
    add others."""
    parts = {"data.pkl": b"\x80\x02" + pickle + b".", "byteorder": b"little", "version": b"3\n"} | entries
    parts |= {f"data/{key}": data for key, data in storages.items()}
    return archive({f"root/{name}": data for name, data in parts.items()})


def one_tensor(array: np.ndarray) -> bytes:
    """``torch.save`` of a tensor of float32."""
    data = np.ascontiguousarray(array, "<f4")
    return torch_file(tensor("0", data.size, data.shape), {"0": data.tobytes()})


def by_key(rows: Mapping[str | int, np.ndarray]) -> bytes:
    """``torch.save`` of a dict of tensors of float32."""
    items = {key: tensor(str(place), row.size, row.shape) for place, (key, row) in enumerate(rows.items())}
    return torch_file(
        dictionary(items), {str(place): row.astype("<f4").tobytes() for place, row in enumerate(rows.values())}
    )
