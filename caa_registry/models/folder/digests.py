"""The digests of a weight file: of its bytes, and of each tensor in it, whatever file that lies in.

One pass finds both, and the first tensor with NaN or infinite values. Weights are large and rarely change, so
what was found is remembered for as long as the file looks the same.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caa_registry.digests import digest_bytes
from caa_registry.disk import is_own, keep
from caa_registry.errors import ModelError
from caa_registry.models.folder.tensors import StoredTensor, stored_tensors
from caa_registry.progress import phase
from caa_registry.settings import home

Look = tuple[int, int, int, int]
"""How a file looks without being read: size, time of writing, time of the last change of any kind, inode."""

# Bytes that are read at a time: a multiple of every element's size.
_PIECE = 1 << 22
# Bits that are all set in NaN and infinite values, with the unsigned integers that hold them.
_EXPONENTS = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
    "C64": ("<u4", 0x7F80_0000),
    "F8_E5M2": ("u1", 0x7C),
    # These two have no infinity, and one pattern for NaN.
    "F8_E4M3": ("u1", 0x7F),
    "F8_E8M0": ("u1", 0xFF),
}


@dataclass(frozen=True, slots=True)
class TensorDigest:
    """What a tensor is: its name, dtype (as safetensors calls it), shape, and the digest of its bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    digest: str


@dataclass(frozen=True)
class WeightDigests:
    """What one weight file holds. ``file``: the digest of all its bytes; ``not_finite``: the first tensor with a NaN
    or infinite value."""

    size: int
    file: str
    tensors: tuple[TensorDigest, ...]
    not_finite: str | None


def look(path: Path) -> Look:
    """How ``path`` looks now. What wrote into it and set its time back still changed the third."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def weight_digests(path: Path, *, again: bool = False) -> WeightDigests:
    """The digests of a weight file: remembered ones where the file looks as it did, unless they are to be found
    ``again``.

    Raises ``ModelError`` for a file that is not a sound safetensors file, or that changes while it is read.
    """
    real = path.resolve()
    before = look(real)
    remembered = home() / "cache" / "weight-digests" / f"{hashlib.sha256(os.fsencode(real)).hexdigest()}.json"
    if not again:
        known = _recall(remembered, str(real), before)
        if known is not None:
            return known
    found = _read(real)
    if look(real) != before:
        raise ModelError(f"{path}: changed while it was read", "Load the model again when nothing writes there.")
    _remember(remembered, str(real), before, found)
    return found


def listed(tensors: Iterable[TensorDigest]) -> list[dict[str, Any]]:
    """Tensors by name, as a composite digest covers them."""
    return [
        {"name": t.name, "dtype": t.dtype, "shape": list(t.shape), "digest": t.digest}
        for t in sorted(tensors, key=lambda tensor: tensor.name)
    ]


def _read(path: Path) -> WeightDigests:
    tensors = stored_tensors(path)
    size, whole, not_finite = path.stat().st_size, hashlib.sha256(), None
    progress, digests = phase(f"hashing {path.name}"), []
    # Hashing takes most of the time and leaves the lock of Python alone: a second core takes one of the two hashes.
    with path.open("rb") as file, ThreadPoolExecutor(1) as beside:
        header = file.read(tensors[0].start if tensors else size)
        whole.update(header)
        done = len(header)
        for tensor in tensors:
            own = hashlib.sha256()
            for piece in _pieces(file, tensor):
                hashed = beside.submit(whole.update, piece)
                own.update(piece)
                if not_finite is None and not _is_finite(tensor, piece):
                    not_finite = tensor.name
                hashed.result()
                done += len(piece)
                progress(done, size)
            digests.append(TensorDigest(tensor.name, tensor.dtype, tensor.shape, f"sha256:{own.hexdigest()}"))
    return WeightDigests(size, f"sha256:{whole.hexdigest()}", tuple(digests), not_finite)


def _pieces(file: Any, tensor: StoredTensor) -> Iterator[bytes]:
    left = tensor.stop - tensor.start
    while left:
        piece = file.read(min(_PIECE, left))
        if not piece:
            raise ModelError(f"{file.name}: ends early", "Fetch it again.")
        left -= len(piece)
        yield piece


def _is_finite(tensor: StoredTensor, piece: bytes) -> bool:
    import numpy as np  # listings, which know fingerprints, need none

    if tensor.dtype not in _EXPONENTS:
        return True
    kind, exponent = _EXPONENTS[tensor.dtype]
    bits = np.frombuffer(piece, dtype=kind)
    return not bool(((bits & bits.dtype.type(exponent)) == exponent).any())


def _recall(path: Path, name: str, before: Look) -> WeightDigests | None:
    """What ``path`` remembers of the file ``name``, if it looked so, and if every digit of it is what was written."""
    if not is_own(path):
        return None
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        known = entry["known"]
        if known["file"] != name or tuple(known["look"]) != before or entry["digest"] != _digest(known):
            return None
        return WeightDigests(
            size=known["size"],
            file=known["digest"],
            tensors=tuple(TensorDigest(n, dtype, tuple(shape), digest) for n, dtype, shape, digest in known["tensors"]),
            not_finite=known["not_finite"],
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _remember(path: Path, name: str, before: Look, found: WeightDigests) -> None:
    known = {
        "file": name,
        "look": list(before),
        "size": found.size,
        "digest": found.file,
        "tensors": [[t.name, t.dtype, list(t.shape), t.digest] for t in found.tensors],
        "not_finite": found.not_finite,
    }
    # A cache: where it cannot be written the digests are simply found again next time.
    try:
        keep(path, json.dumps({"known": known, "digest": _digest(known)}).encode())
    except OSError:
        return


def _digest(known: dict[str, Any]) -> str:
    return digest_bytes(json.dumps(known, sort_keys=True).encode("utf-8", "surrogatepass"))
