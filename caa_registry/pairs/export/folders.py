"""Exports that are folders: they appear whole, and replace no more than the files that they write."""

from __future__ import annotations

from pathlib import Path

from caa_registry.disk import check_parent
from caa_registry.errors import UsageError


def check_folder(path: Path, *, force: bool) -> None:
    """Raise ``UsageError`` unless a folder may be written at ``path``: nothing is there, or an empty folder, or with
    ``force`` a folder with content. A link to a folder is not followed."""
    if path.is_symlink():
        raise UsageError(f"{path} is a symbolic link", "Name the folder itself.")
    if not path.exists():
        check_parent(path)
        return
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder", "Choose another name: this format is a folder.")
    if not force and any(path.iterdir()):
        raise UsageError(
            f"{path} is a folder with content", "Choose another name, or give --force to replace files in it."
        )


def give_place(written: Path, path: Path, *, force: bool) -> None:
    """Move the folder ``written`` to ``path``. In a folder with content (``force``) each file is replaced whole, and
    others stay. Raises ``UsageError``, before anything is moved, where a link or a folder is in the way of a file."""
    check_folder(path, force=force)
    if not (path.exists() and any(path.iterdir())):
        written.replace(path)
        return
    inside = sorted(each.relative_to(written) for each in written.rglob("*"))
    for part in inside:
        target, folder = path / part, (written / part).is_dir()
        if target.is_symlink() and folder:
            raise UsageError(f"{target} is a symbolic link", "Remove it, or choose another folder.")
        if target.exists() and not target.is_symlink() and target.is_dir() != folder:
            raise UsageError(f"{target} is {'not ' if folder else ''}a folder", "Remove it, or choose another folder.")
    for part in inside:
        if (written / part).is_dir():
            (path / part).mkdir(exist_ok=True)
        else:
            (written / part).replace(path / part)
