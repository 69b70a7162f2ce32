"""The files of a shared folder: what they are called, and how they get there whole."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from caa_registry import disk
from caa_registry.digests import short
from caa_registry.references import Kind

SUFFIX = ".caa"
_PART = re.compile(r"\.caa-push-[0-9a-f]{16}\.part")
_NAME = re.compile(r"(dataset|vector)-(.+)-v([1-9][0-9]{0,8})-([0-9a-f]{12})\.caa")
# Of a name in the name of a file, which may have 255 bytes in all.
_LONGEST = 200


class Named(NamedTuple):
    """What the name of a bundle says is in it. ``digest``: how it begins."""

    kind: Kind
    name: str
    number: int
    digest: str


def file_name(kind: Kind, name: str, number: int, digest: str) -> str:
    """``vector-team+sycophancy-v2-4be1d03c9f12.caa``. No name holds a plus sign."""
    return f"{kind}-{name[:_LONGEST].replace('/', '+')}-v{number}-{short(digest)}{SUFFIX}"


def named(file: str) -> Named | None:
    """What ``file_name`` was given; ``None`` for another name of a file."""
    match = _NAME.fullmatch(file)
    if match is None:
        return None
    kind: Kind = "dataset" if match[1] == "dataset" else "vector"
    return Named(kind, match[2].replace("+", "/"), int(match[3]), f"sha256:{match[4]}")


State = tuple[int, int, int]


def state(path: Path) -> State | None:
    """What changes when a file is replaced; ``None`` where none is. Raises ``OSError``."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def put(path: Path, before: State | None, write: Callable[[Path], None]) -> bool:
    """Have ``write`` write a file, and give it the name ``path`` once it is whole and on the disk.

    Nothing is done where ``path`` is no longer in the state ``before``: then it gives ``False``. A name is taken by
    renaming alone, since a disk without links cannot take it without an empty file in between. Raises ``WriteError``.
    """
    with disk.explained(path), _part(path.parent) as part:
        write(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        if state(path) != before:
            return False
        part.replace(path)
        _settle(path.parent)
    return True


@contextmanager
def _part(folder: Path) -> Iterator[Path]:
    """A new file in ``folder``, which goes unless it is renamed. It is locked as long as somebody writes it, so that
    what a process that died has left can be told. Whoever may read the folder may read the file."""
    path, file = _locked(folder)
    with file:
        try:
            yield path
        finally:
            with suppress(OSError):  # it was renamed, or the disk is gone
                path.unlink()


def _locked(folder: Path) -> tuple[Path, BinaryIO]:
    while True:
        path = folder / f".caa-push-{secrets.token_hex(8)}.part"
        file = path.open("xb")
        try:
            with suppress(OSError):  # a disk without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if os.path.samestat(path.lstat(), os.fstat(file.fileno())):
                return path, file
        except FileNotFoundError:
            pass  # somebody cleared it away before it was locked
        except BaseException:
            file.close()
            raise
        file.close()


def clear(folder: Path) -> None:
    """Remove what pushes that died have left: their own kind of file, and only where nobody writes it any more. What
    cannot be removed stays."""
    with suppress(OSError), os.scandir(folder) as entries:
        left = [entry for entry in entries if _PART.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)]
        for path in (folder / entry.name for entry in left):
            with suppress(OSError), path.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


def _settle(folder: Path) -> None:
    """Have the disk keep a new name."""
    with suppress(OSError):  # a disk that does not do this for folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
