"""Files that are written for a user or kept for later: whole or not at all, never over something by accident, and with
plain words where the disk takes none."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from caa_registry.errors import CaaError, UsageError, WriteError

# What a library says whose error has no number any more (Rust, SQLite, Arrow, PostgreSQL).
_FULL = re.compile(
    r"no space left on device|disk is full|disk full|quota exceeded|\(os error (?:28|122)\)|errno (?:28|122)\b",
    re.IGNORECASE,
)
_FULL_NUMBERS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FREE_SPACE = "Free some space, or choose a place on another disk."

# What stands for an open file of the process, whatever that is.
_OPEN_FILE = re.compile(r"/dev/(?:stdout|stderr|fd/[0-9]+)|/proc/self/fd/[0-9]+")


def expanded(path: str | Path) -> Path:
    """``path`` with ``~`` and ``~ada`` for home folders. As in a shell, what names no user stays as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def check_new(path: Path, *, force: bool = False) -> None:
    """Raise ``UsageError`` unless ``new`` would write a file at ``path``, so that it is said before any work is done.

    A link counts as what is there, wherever it leads.
    """
    if _is_device(path):
        return
    if path.is_dir() and not path.is_symlink():
        raise UsageError(f"{path} is a folder", "Name a file in it.")
    if os.path.lexists(path) and not force:
        what = "is a symbolic link" if path.is_symlink() else "exists"
        raise UsageError(f"{path} {what}", "Choose another name, or give --force to replace it.")
    if os.path.lexists(path) and not (path.is_symlink() or path.is_file()):
        raise UsageError(f"{path} is not a file", "Choose another name.")
    check_parent(path)


def check_parent(path: Path) -> None:
    """Raise ``UsageError`` where the folder that ``path`` is to lie in is missing."""
    if not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: there is no folder {path.parent}", "Make the folder first.")


@contextmanager
def new(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Where to write what is to become the file ``path``. It gets its name once it is whole.

    What is at ``path`` already is kept, or with ``force`` replaced; a link is replaced and never followed, and the
    permissions of a replaced file are kept. A device or a pipe gets the bytes. Raises ``UsageError`` as ``check_new``
    does, ``WriteError`` where the disk is full or may not be written.
    """
    with explained(path):
        check_new(path, force=force)
    with place(path, beside=not _is_device(path)) as part:
        yield part
        if _is_device(path):
            with part.open("rb") as source, path.open("wb") as device:
                shutil.copyfileobj(source, device)
        else:
            give_name(part, path, force=force)


@contextmanager
def place(path: Path, *, beside: bool = True) -> Iterator[Path]:
    """A path in an empty folder that nobody else can enter, on the disk of ``path`` (``beside``) or with other
    temporary files. Both are gone afterwards. Raises ``WriteError`` for what goes wrong in there on this disk."""
    import tempfile  # most commands write no file

    with explained(path), tempfile.TemporaryDirectory(prefix=".caa-", dir=path.parent if beside else None) as folder:
        yield Path(folder) / "written"


def give_name(part: Path, path: Path, *, force: bool) -> None:
    """Rename a file that is whole; without ``force`` only where nothing is. Raises ``UsageError``, ``OSError``."""
    if force:
        with suppress(FileNotFoundError):
            known = path.lstat()
            if stat.S_ISREG(known.st_mode):
                part.chmod(stat.S_IMODE(known.st_mode) & 0o777)
        part.replace(path)
        return
    try:
        os.link(part, path, follow_symlinks=False)
    except FileExistsError:
        raise UsageError(f"{path} exists", "Choose another name, or give --force to replace it.") from None
    except OSError:  # a file system without hard links
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        part.replace(path)


def write_new(path: Path, data: bytes, *, force: bool = False) -> None:
    """Write a file as ``new`` does."""
    with new(path, force=force) as part:
        part.write_bytes(data)


def _is_device(path: Path) -> bool:
    if _OPEN_FILE.fullmatch(str(path)):
        return True
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def own_folder(folder: Path) -> list[Path]:
    """Make ``folder`` and its parents where they are missing, for the owner only; those that were made, outermost
    first. Raises ``OSError``."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    made = []
    for each in reversed(missing):
        with suppress(FileExistsError):  # somebody else was faster
            each.mkdir(mode=0o700)
            each.chmod(0o700)  # also where the umask takes the owner's own rights
            made.append(each)
    return made


def own_file(path: Path) -> None:
    """Make an empty file for the owner only. Raises ``OSError``: also where there is something, a link too."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with suppress(OSError):  # a file system without permissions
        os.fchmod(descriptor, 0o600)
    os.close(descriptor)


def keep(path: Path, data: bytes) -> None:
    """Keep a file for later, for the owner only, whole or not at all, whatever was there. Raises ``OSError``."""
    own_folder(path.parent)
    part = path.with_name(f"{path.name[:200]}.{secrets.token_hex(8)}.part")
    own_file(part)
    try:
        part.write_bytes(data)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def is_own(path: Path) -> bool:
    """Whether ``path`` is a regular file of this user: what others put into a shared folder is not trusted."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and (not hasattr(os, "geteuid") or found.st_uid == os.geteuid())


@contextmanager
def explained(path: Path | str) -> Iterator[None]:
    """Turn what the disk refuses while ``path`` is written into a ``WriteError``. Other errors pass."""
    try:
        yield
    except Exception as error:
        refusal = refused(error, path)
        if refusal is None:
            raise
        raise refusal from error


def is_full(error: BaseException) -> bool:
    """Whether ``error``, or what caused it, is a disk that takes no more, whichever library says so."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _FULL_NUMBERS:
            return True
        # A message of ours, or the name of a file, may hold those words for another reason.
        text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
        if not isinstance(cause, CaaError) and _FULL.search(text):
            return True
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return False


def refused(error: Exception, path: Path | str) -> WriteError | None:
    """What is said where the disk or its permissions refuse to have ``path`` written; ``None`` for other errors."""
    if isinstance(error, WriteError):
        return None
    if is_full(error):
        return WriteError(f"the disk is full: {path} was not written", FREE_SPACE)
    if not isinstance(error, OSError):
        return None
    if "temporary directory" in str(error.strerror):
        return WriteError("no folder takes temporary files", "Set TMPDIR to a folder that can be written.")
    if error.errno == errno.EROFS:
        return WriteError(f"{path} lies on a read-only file system", "Choose a place that can be written.")
    if error.errno in (errno.EACCES, errno.EPERM):
        return WriteError(
            f"{path} cannot be written: permission denied", "Change the permissions of its folder, or choose another."
        )
    if error.errno == errno.ENOTDIR:
        return WriteError(f"{path} cannot be written: a part of its path is a file", "Choose another place.")
    if error.errno == errno.ENOENT:
        return WriteError(f"{path} cannot be written: its folder is missing", "Make the folder first.")
    return WriteError(f"{path} cannot be written ({error.strerror or error})", "Choose another place.")
