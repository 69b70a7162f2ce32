"""Activations on disk: what was read once need not be read again.

A section holds the activations of one way of reading (model, template, read position, ...), in segments: safetensors
files with a tensor ``layer.<L>`` of float32 ``(rows, d_model)`` a layer, memory-mapped when they are used. A row's key
is a digest of the tokens that it depends on. A segment appears whole or not at all, carries a digest of each tensor,
and is passed over where it is damaged. Any file may be deleted at any time: what is missing is read again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from caa_registry.digests import canonical_json, digest_bytes, digest_object
from caa_registry.disk import is_own, keep, refused
from caa_registry.errors import IntegrityError
from caa_registry.models.read_position import ReadPosition
from caa_registry.models.rendering.prompts import CompletedTokens

_log = logging.getLogger(__name__)

_METADATA_KEY = "caa_activations"
_SUFFIX = ".safetensors"
_PART = ".part"
_DAY = 24 * 3600


def row_key(side: CompletedTokens, read: ReadPosition) -> str:
    """The identity of one activation within a section: the tokens that it depends on, and where the mean begins."""
    ids = side.ids[: side.answer + 1] if read == "answer" else side.ids
    first = side.start if read == "mean" else -1
    return hashlib.sha256(np.array([first, *ids], dtype="<i8").tobytes()).hexdigest()[:32]


@dataclass(frozen=True, eq=False)
class Segment:
    """Rows that were read together. In memory, float32 ``(rows, layers, d_model)``, where the disk took no file."""

    keys: tuple[str, ...]
    layers: tuple[int, ...]
    path: Path
    values: NDArray[np.float32] | None = None

    def layer(self, layer: int) -> NDArray[np.float32]:
        """The rows of one layer: ``(rows, d_model)``. Raises ``IntegrityError`` where the file went away."""
        if self.values is not None:
            return self.values[:, self.layers.index(layer)]
        try:
            with safe_open(self.path, framework="numpy") as file:
                rows: NDArray[np.float32] = file.get_tensor(f"layer.{layer}")
                return rows
        except (OSError, SafetensorError) as error:
            raise IntegrityError(
                f"{self.path}: cached activations were deleted or changed while they were used", "Run this again."
            ) from error


class Section:
    """The activations of one way of reading, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._warned = False

    def find(self, keys: Iterable[str], layers: Sequence[int]) -> dict[str, tuple[Segment, int]]:
        """Where those of ``keys`` are whose rows are here for all of ``layers``: the segment and the row in it."""
        missing = set(keys)
        places: dict[str, tuple[Segment, int]] = {}
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            if not is_own(path):  # its digests only say that it is whole
                continue
            segment = _opened(path, missing, layers)
            if segment is not None:
                places |= {key: (segment, row) for row, key in enumerate(segment.keys) if key in missing}
        return places

    def add(
        self, keys: Sequence[str], layers: Sequence[int], values: NDArray[np.float32]
    ) -> dict[str, tuple[Segment, int]]:
        """Keep ``values``, float32 ``(rows, layers, d_model)``: on disk, or in memory where the disk refuses."""
        path = self._folder / f"{secrets.token_hex(8)}{_SUFFIX}"
        segment = Segment(tuple(keys), tuple(layers), path)
        try:
            keep(path, _as_bytes(segment, values))
        except OSError as error:
            if not self._warned:
                reason = refused(error, path.parent) or error
                _log.warning("Activations are kept in memory only: %s", getattr(reason, "message", reason))
                self._warned = True
            segment = Segment(segment.keys, segment.layers, path, values)
        return {key: (segment, row) for row, key in enumerate(keys)}


class ActivationCache:
    """Sections below one folder, together at most ``limit`` bytes once ``trim`` has run."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    def section(self, identity: Mapping[str, Any]) -> Section:
        """The section of one way of reading, described by ``identity``: what activations depend on beside tokens."""
        name = digest_object("activations", dict(identity)).removeprefix("sha256:")[:32]
        return Section(self.folder / name)

    def size(self) -> int:
        """Bytes on disk."""
        return sum(size for _, size, _ in self._files())

    def trim(self) -> None:
        """Delete what was used least recently until the rest fits, and what interrupted runs left."""
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for used, size, path in files:
            abandoned = path.suffix == _PART and used < time.time() - _DAY
            if total > self.limit or abandoned:
                path.unlink(missing_ok=True)
                total -= size

    def _files(self) -> list[tuple[float, int, Path]]:
        files = []
        for path in self.folder.glob("*/*"):
            try:
                stat = path.stat()
            except OSError:
                continue  # another process trims too
            if path.suffix in (_SUFFIX, _PART):
                files.append((stat.st_mtime, stat.st_size, path))
        return files


def _as_bytes(segment: Segment, values: NDArray[np.float32]) -> bytes:
    tensors = {
        f"layer.{layer}": np.ascontiguousarray(values[:, i], dtype="<f4") for i, layer in enumerate(segment.layers)
    }
    header = {
        "keys": list(segment.keys),
        "layers": list(segment.layers),
        "digests": {name: digest_bytes(tensor.tobytes()) for name, tensor in tensors.items()},
    }
    return bytes(save(tensors, {_METADATA_KEY: canonical_json(header)}))


def _opened(path: Path, keys: set[str], layers: Sequence[int]) -> Segment | None:
    """The segment if it has rows of some of ``keys`` for all ``layers``; a damaged one is deleted."""
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})[_METADATA_KEY])
            segment = Segment(tuple(header["keys"]), tuple(header["layers"]), path)
            if not (keys & set(segment.keys) and set(layers) <= set(segment.layers)):
                return None
            for layer in layers:
                rows = file.get_tensor(f"layer.{layer}")
                digest = header["digests"][f"layer.{layer}"]
                if len(rows) != len(segment.keys) or digest_bytes(rows.tobytes()) != digest:
                    raise ValueError(f"layer {layer} does not match its digest")
        os.utime(path)
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        _log.warning("%s: damaged cached activations are deleted and read again (%s)", path, error)
        path.unlink(missing_ok=True)
        return None
    return segment
