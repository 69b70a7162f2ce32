"""Blobs as files in a folder.

A file is written under another name, put on the disk, and renamed; then its folder is put on the disk. Below the folder
itself no link is followed, whoever made it: neither to a folder nor to a file.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from caa_registry.blobs.objects import CLAIM, FOLDER, Stored
from caa_registry.disk import explained, own_folder
from caa_registry.errors import BlobStoreError, IntegrityError, UsageError

_DAY = 24 * 3600
_TEMPORARY, _PART = ".caa-", ".part"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
# A pipe that somebody put there must not be waited for.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
# What opening says where a link or a socket is.
_NO_FILE = {errno.ELOOP, errno.EMLINK, errno.ENXIO}


class FolderObjects:
    """``Objects`` in the folder ``root``. Files and folders in it have its permissions; files cannot be written."""

    remote = False

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made: list[Path] = []

    @property
    def shown(self) -> str:
        return str(self._root)

    def prepare(self, *, shared: bool) -> None:
        root = self._root
        with explained(root):
            if root.exists() and not root.is_dir():
                raise UsageError(f"{root} is not a folder", "Name a folder for the blobs.")
            # What a process that was killed here has left is no hindrance.
            others = [path.name for path in root.iterdir()] if root.is_dir() else []
            if any(name not in (CLAIM, FOLDER) and not name.startswith(_TEMPORARY) for name in others):
                raise UsageError(f"the folder {root} is not empty", "Name an empty or a new folder for the blobs.")
            if shared:
                missing = [each for each in (root, *root.parents) if not each.exists()]
                root.mkdir(parents=True, exist_ok=True)
                self._made += reversed(missing)
            else:
                self._made += own_folder(root)
            if not (root / FOLDER).exists():
                (root / FOLDER).mkdir()
                (root / FOLDER).chmod(_mode(root))
                self._made.append(root / FOLDER)

    def remove_place(self) -> None:
        for path in reversed(self._made):
            with suppress(OSError):  # somebody else uses it by now
                for folder in path.iterdir() if path.name == FOLDER else ():
                    folder.rmdir()
                path.rmdir()

    def write(self, name: str, data: bytes, *, replace: bool = True) -> bool:
        folder, _, last = name.rpartition("/")
        with explained(self._root / name), self._opened(folder, make=True) as place:
            assert place is not None
            part = f"{_TEMPORARY}{secrets.token_hex(8)}{_PART}"
            try:
                self._write_part(part, data, place)
                if replace:
                    os.rename(part, last, src_dir_fd=place, dst_dir_fd=place)
                elif not _named(part, last, place):
                    return False
            finally:
                with suppress(OSError):
                    os.unlink(part, dir_fd=place)
            _settle(place)
            return True

    def _write_part(self, part: str, data: bytes, place: int) -> None:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=place)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            with suppress(PermissionError):  # a file system without permissions
                os.fchmod(descriptor, _mode(self._root) & 0o444)
            os.fsync(descriptor)

    def read(self, name: str, offset: int = 0, nbytes: int | None = None) -> bytes | None:
        folder, _, last = name.rpartition("/")
        try:
            with self._opened(folder) as place:
                return None if place is None else _read(place, last, offset, nbytes)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in _NO_FILE:
                return None
            if error.errno == errno.EIO:  # of this file, and perhaps of no other
                raise IntegrityError(f"{self._root / name} cannot be read: the disk is damaged there") from error
            raise self._unreadable(error) from error

    def stat(self, name: str) -> Stored | None:
        folder, _, last = name.rpartition("/")
        try:
            with self._opened(folder) as place:
                if place is None:
                    return None
                return _stored(name, os.stat(last, dir_fd=place, follow_symlinks=False))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(error) from error

    def ls(self) -> Iterator[Stored]:
        try:
            with self._opened(FOLDER) as outer:
                if outer is None:
                    return
                for folder in sorted(_names(outer)):
                    yield from self._in(f"{FOLDER}/{folder}")
        except OSError as error:
            raise self._unreadable(error) from error

    def _in(self, folder: str) -> Iterator[Stored]:
        with self._opened(folder) as place:
            for last in _names(place) if place is not None else ():
                with suppress(FileNotFoundError):  # gc is at it too
                    found = _stored(f"{folder}/{last}", os.stat(last, dir_fd=place, follow_symlinks=False))
                    if found is not None:
                        yield found

    def remove(self, names: Sequence[str]) -> None:
        for folder in sorted({name.rpartition("/")[0] for name in names}):
            with explained(self._root / folder), self._opened(folder) as place:
                if place is None:
                    continue
                for name in names:
                    if name.rpartition("/")[0] == folder:
                        with suppress(FileNotFoundError):
                            os.unlink(name.rpartition("/")[2], dir_fd=place)
                self._remove_parts(place)
                _settle(place)

    def _remove_parts(self, place: int) -> None:
        """Remove what writers that were killed have left."""
        for last in _names(place):
            if last.endswith(_PART):
                with suppress(OSError):
                    if os.stat(last, dir_fd=place, follow_symlinks=False).st_mtime < time.time() - _DAY:
                        os.unlink(last, dir_fd=place)

    @contextmanager
    def _opened(self, folder: str, *, make: bool = False) -> Iterator[int | None]:
        """A descriptor of a folder below the root, ``None`` where there is none. ``make``: the last part of it."""
        with ExitStack() as opened:

            def enter(path: str | Path, flags: int, place: int | None) -> int:
                descriptor = os.open(path, flags, dir_fd=place)
                opened.callback(os.close, descriptor)
                return descriptor

            try:
                place = enter(self._root, os.O_RDONLY | os.O_DIRECTORY, None)
            except PermissionError as error:
                raise self._unreadable(error) from error
            except OSError as error:
                raise self._absent() from error
            for part in folder.split("/") if folder else ():
                try:
                    place = enter(part, _DIRECTORY, place)
                    continue
                except FileNotFoundError as error:
                    if make and part == FOLDER:
                        raise self._absent() from error
                except OSError as error:
                    if error.errno not in {errno.ENOTDIR, *_NO_FILE}:
                        raise
                    if make:
                        raise BlobStoreError(
                            f"{self._root / folder} is not a folder", "Something else was put there. Move it away."
                        ) from error
                if not make:
                    yield None
                    return
                with suppress(FileExistsError):  # somebody else was faster
                    os.mkdir(part, 0o700, dir_fd=place)
                _settle(place)
                place = enter(part, _DIRECTORY, place)
                with suppress(PermissionError):  # a file system without permissions, or somebody else's folder
                    os.fchmod(place, _mode(self._root))
            yield place

    def _absent(self) -> BlobStoreError:
        return BlobStoreError(
            f"{self.shown} is not a folder that keeps blobs",
            "Is the disk that it is on mounted? Bring the folder back.",
        )

    def _unreadable(self, error: OSError) -> BlobStoreError:
        return BlobStoreError(
            f"the blobs in {self.shown} cannot be read ({error.strerror or error})",
            "Change the permissions of the folder, or look at its disk.",
        )


def _names(place: int) -> list[str]:
    with os.scandir(place) as entries:
        return [entry.name for entry in entries]


def _mode(root: Path) -> int:
    """The permissions of the root: with those of its group, and the group itself where that is inherited."""
    return stat.S_IMODE(root.stat().st_mode) & 0o2777


def _named(part: str, last: str, place: int) -> bool:
    """Give a file its name; whether that was free."""
    try:
        os.link(part, last, src_dir_fd=place, dst_dir_fd=place, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        try:
            os.close(os.open(last, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=place))
        except FileExistsError:
            return False
        os.rename(part, last, src_dir_fd=place, dst_dir_fd=place)
    return True


def _read(place: int, last: str, offset: int, nbytes: int | None) -> bytes | None:
    descriptor = os.open(last, _FILE, dir_fd=place)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            first = min(offset, found.st_size)
            file.seek(first)
            return file.read(found.st_size - first if nbytes is None else min(nbytes, found.st_size - first))
    finally:
        os.close(descriptor)


def _stored(name: str, found: os.stat_result) -> Stored | None:
    """A regular file; ``None`` for anything else."""
    if not stat.S_ISREG(found.st_mode):
        return None
    return Stored(name, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))


def _settle(place: int) -> None:
    """Have the disk know the names in a folder."""
    with suppress(OSError):  # not every file system can
        os.fsync(place)
