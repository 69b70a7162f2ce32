"""What was read from an object store, kept on this machine. Every entry is compared with its digest when it is read;
a damaged one is dropped. Any file may be deleted at any time: what is missing is read again."""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from caa_registry.digests import digest_bytes
from caa_registry.disk import is_own, keep

_log = logging.getLogger(__name__)

_PART = ".part"
_DAY = 24 * 3600


class BlobCache:
    """Files below ``folder``, together at most about ``limit`` bytes: the sizes are added up anew whenever a sixteenth
    of that was added, and what was used least recently goes."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._added: int | None = None  # since the sizes were added up
        self._lock = threading.Lock()

    def get(self, name: str, digest: str) -> bytes | None:
        """The bytes that are kept under ``name`` and have that digest; ``None`` where there are none."""
        path = self._path(name)
        if not self.limit or not is_own(path):  # its digest only says that it is whole
            return None
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if digest_bytes(data) != digest:
            _log.warning("%s: a damaged cached blob is deleted and read again", path)
            self._drop(path)
            return None
        with suppress(OSError):
            os.utime(path)
        return data

    def add(self, name: str, data: bytes) -> None:
        """Keep ``data``, which was compared with its digest. A disk that takes no more is passed over."""
        if len(data) > self.limit:
            return
        try:
            keep(self._path(name), data)
        except OSError as error:
            _log.debug("a blob was not cached: %s", error)
            return
        with self._lock:
            self._added = None if self._added is None else self._added + len(data)
            full = self._added is None or self._added > self.limit // 16
            if full:
                self._added = 0
        if full:
            self.trim()

    def drop(self, name: str) -> None:
        """Keep what has that name no longer."""
        self._drop(self._path(name))

    def size(self) -> int:
        """Bytes on disk."""
        return sum(size for _, size, _ in self._files())

    def trim(self) -> None:
        """Delete what was used least recently until the rest fits, and what interrupted processes left."""
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for used, size, path in files:
            abandoned = path.suffix == _PART and used < time.time() - _DAY
            if total > self.limit or abandoned:
                self._drop(path)
                total -= size

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / name

    def _drop(self, path: Path) -> None:
        with suppress(OSError):
            path.unlink(missing_ok=True)

    def _files(self) -> list[tuple[float, int, Path]]:
        files = []
        for path in self.folder.glob("*/*"):
            with suppress(OSError):  # another process trims too
                found = path.lstat()
                files.append((found.st_mtime, found.st_size, path))
        return files
