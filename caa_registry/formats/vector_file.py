"""A vector file as its readers get it: bytes, what lies beside it, and what the user says of it."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from caa_registry.digests import digest_bytes
from caa_registry.errors import InputError, NotFoundError

T = TypeVar("T")

LARGEST = 1 << 28
"""Bytes of a file: a vector for every block of the largest models takes a fiftieth of it."""
_LARGEST_BESIDE = 1 << 24
_ENDINGS = (".json", ".sha256")
_METADATA_LINES = "metadata.jsonl"


@dataclass(frozen=True, eq=False)
class VectorFile:
    """``name``: as errors show it. ``data``: its bytes. ``beside``: small files next to it that may describe it, by
    name. ``layer``, ``row``: what the user says where the file does not: the layer of its one vector, and which row
    of a table is meant."""

    name: str
    data: bytes
    beside: Mapping[str, bytes] = field(default_factory=dict)
    layer: int | None = None
    row: int | None = None
    _parsed: dict[Callable[..., Any], Any] = field(default_factory=dict, repr=False)

    def once(self, parse: Callable[[VectorFile], T]) -> T:
        """What ``parse`` makes of this file, or the ``InputError`` that it raises, made once: formats that share a
        container ask in turn."""
        if parse not in self._parsed:
            try:
                self._parsed[parse] = parse(self)
            except InputError as error:
                self._parsed[parse] = error
        result = self._parsed[parse]
        if isinstance(result, InputError):
            raise result
        made: T = result
        return made

    @property
    def said(self) -> dict[str, int]:
        """What the user says, by name."""
        given = {"layer": self.layer, "row": self.row}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def sha256(self) -> str:
        """Digest of the bytes."""
        return digest_bytes(self.data)

    @property
    def stem(self) -> str:
        return Path(self.name).stem

    def error(self, message: str, hint: str = "", *, field: str = "") -> InputError:
        """An error about this file."""
        return InputError(message, hint, source=self.name, field=field)


def open_file(path: Path, *, layer: int | None = None, row: int | None = None) -> VectorFile:
    """The file at ``path`` and what describes it there. Raises ``NotFoundError``; ``InputError`` for what is no regular
    file, cannot be read or is larger than ``LARGEST`` bytes."""
    return VectorFile(str(path), _bytes(path, LARGEST), _beside(path), layer, row)


def _beside(path: Path) -> dict[str, bytes]:
    names = [path.with_suffix(".json"), *(path.with_name(path.name + ending) for ending in _ENDINGS)]
    names.append(path.with_name(_METADATA_LINES))
    found = {}
    for other in names:
        if other != path and other.is_file() and other.stat().st_size <= _LARGEST_BESIDE:
            found[other.name] = _bytes(other, _LARGEST_BESIDE)
    return found


def _bytes(path: Path, largest: int) -> bytes:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            what = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
            raise InputError(f"it is {what}", "Name the files that hold the vector.", source=str(path))
        with path.open("rb") as file:
            data = file.read(largest + 1) if found.st_size <= largest else b""
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}", "Check the path.") from None
    except OSError as error:
        raise InputError(f"it cannot be read: {error.strerror or error}", source=str(path)) from error
    if found.st_size > largest or len(data) > largest:
        raise InputError(
            f"it has {found.st_size:,} bytes; a vector file has at most {largest:,}",
            "It is likely a model: name the file of a steering vector.",
            source=str(path),
        )
    return data
