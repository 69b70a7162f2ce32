"""A file of ``torch.save`` (since torch 1.6): a zip archive of a pickle and of storages."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from caa_registry.errors import InputError, one_line
from caa_registry.formats import archive
from caa_registry.formats.archive import Archive
from caa_registry.formats.torch_file.pickled import SavedObject, SavedTensor
from caa_registry.formats.torch_file.pickled import described as unpickled
from caa_registry.formats.values import SIZES, Values, decoded
from caa_registry.formats.vector_file import VectorFile
from caa_registry.wording import with_article

LEGACY_MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")
"""Of files before torch 1.6, as it stands in their first pickle."""
_KEY = re.compile(r"[A-Za-z0-9_]{1,40}")
_VERSION = re.compile(rb"([1-9]|10)\n?")
_DAMAGED = "The file is damaged; fetch it again."


@dataclass(frozen=True, eq=False)
class Saved:
    """``content``: what was saved, with ``SavedTensor`` for tensors. ``root``: the folder of the archive."""

    content: Any
    root: str
    opened: Archive
    big_endian: bool

    def values(self, tensor: SavedTensor, field: str) -> Values:
        """The numbers of a tensor. Raises ``InputError`` where it is no view of its storage, or the storage has another
        size than its bytes."""
        file, storage = self.opened.file, tensor.storage
        name = f"{self.root}/data/{storage.key}"
        if not _KEY.fullmatch(storage.key) or name not in self.opened.entries:
            raise file.error(f"its storage {storage.key[:40]!r} is not in the file", _DAMAGED, field=field)
        size = self.opened.entries[name].file_size
        if size != storage.count * SIZES[storage.dtype]:
            raise file.error(
                f"its storage of {storage.count:,} numbers of {storage.dtype} has {size:,} bytes", _DAMAGED, field=field
            )
        count = math.prod(tensor.shape)
        sizes = list(zip(tensor.shape, tensor.strides, strict=True))
        if len(sizes) > 8 or tensor.offset < 0 or any(size < 0 or stride < 0 for size, stride in sizes):
            raise file.error("its shape, strides or offset are none", _DAMAGED, field=field)
        last = tensor.offset + sum((size - 1) * stride for size, stride in sizes)
        if count and (last >= storage.count or count > storage.count):
            raise file.error(
                f"shape {list(tensor.shape)} with strides {list(tensor.strides)} reaches beyond its storage of "
                f"{storage.count:,} numbers",
                _DAMAGED,
                field=field,
            )
        data = self.opened.read(name)
        if not count:
            return Values(np.zeros(tensor.shape, np.float32), storage.dtype)
        width = SIZES[storage.dtype]
        raw = np.frombuffer(data, np.dtype(f"V{width}"))
        view = np.lib.stride_tricks.as_strided(
            raw[tensor.offset :], tensor.shape, [stride * width for stride in tensor.strides], writeable=False
        )
        return decoded(file, field, view.tobytes(), storage.dtype, tensor.shape, big_endian=self.big_endian)


def saved(file: VectorFile) -> Saved:
    """What a torch file holds. Raises ``InputError`` for another file, and for a pickle that could run something."""
    if not file.data.startswith(archive.MAGIC):
        raise file.error("it is no torch file", "Name a file that torch.save wrote.")
    opened = file.once(archive.opened)
    roots = [name.removesuffix("/data.pkl") for name in opened.entries if name.endswith("/data.pkl")]
    if len(roots) != 1 or "/" in roots[0]:
        raise file.error("it is no torch file: data.pkl is not in it once", "Name a file that torch.save wrote.")
    root = roots[0]
    for name in opened.entries:
        if not name.startswith(f"{root}/"):
            raise file.error(f"it is not in the folder {root[:60]!r} of the archive", _DAMAGED, field=name)
    if f"{root}/constants.pkl" in opened.entries or any(name.startswith(f"{root}/code/") for name in opened.entries):
        raise file.error("it is a TorchScript program", "torch.save the dict of its tensors.")
    version = opened.read(f"{root}/version") if f"{root}/version" in opened.entries else b""
    if not _VERSION.fullmatch(version):
        raise file.error(f"the version {version[:20]!r} is unknown", _DAMAGED, field="version")
    order = b"little"
    if f"{root}/byteorder" in opened.entries:
        order = opened.read(f"{root}/byteorder")
    if order not in (b"little", b"big"):
        raise file.error(f"the byte order {order[:20]!r} is unknown", _DAMAGED, field="byteorder")
    content = unpickled(file, opened.read(f"{root}/data.pkl"), "data.pkl")
    return Saved(content, root, opened, order == b"big")


def content_of(file: VectorFile) -> Any:
    """What a torch file holds; ``None`` for another file and one that cannot be read."""
    try:
        return file.once(saved).content
    except InputError:
        return None


def described(file: VectorFile) -> str:
    """What a torch file holds, in words. Raises ``InputError`` where it cannot be read."""
    content = file.once(saved).content
    if isinstance(content, SavedTensor):
        return f"a tensor of shape {list(content.shape)}"
    if isinstance(content, SavedObject):
        return "an object"
    if isinstance(content, dict):
        keys = ", ".join(one_line(str(key), 40) for key in list(content)[:5])
        return f"a dict with the keys {keys or 'none'}"
    return with_article(type(content).__name__)
