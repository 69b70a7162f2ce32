"""A registry made of a backup."""

from __future__ import annotations

from pathlib import Path

from caa_registry import settings
from caa_registry.blobs.database import DatabaseBlobStore
from caa_registry.catalog.copies.files import copy_file, settle
from caa_registry.catalog.copies.rows import fill_server
from caa_registry.catalog.database import Database
from caa_registry.catalog.files import check_file, check_no_log
from caa_registry.catalog.location import locate
from caa_registry.catalog.state import look
from caa_registry.disk import give_name, own_folder, place
from caa_registry.errors import IntegrityError, UsageError
from caa_registry.progress import Progress, part_of, silent
from caa_registry.registry.maintenance.fsck import fsck
from caa_registry.registry.workspace import Workspace

_CHECKING, _COPYING = 5, 1


def restore(backup: Path, url: str | None = None, progress: Progress = silent) -> str:
    """Make a registry of a backup, whose every digest is checked before; where it then is, without a password.

    ``url``: a path or URL where there is none, by default that of ``caa_registry.open``. An older backup is upgraded.
    ``backup`` itself is not changed. What is restored appears whole or not at all.

    Raises ``UsageError`` for no file and where there is a registry already, ``RegistryError`` for a file that is no
    registry, ``IntegrityError`` where the backup is damaged.
    """
    target = settings.registry_url(url)
    location = locate(target)
    state = look(target)
    if state.state != "none":
        raise UsageError(
            f"there is a registry at {location.shown} already",
            "A backup is restored into an empty place only. Name one: --registry PATH",
        )
    backup = backup.absolute()
    if not backup.exists():
        raise UsageError(f"there is no file {backup}", "Give the path of a backup, as caa backup printed it.")
    check_file(backup, read_only=True)
    if location.path is not None:
        check_no_log(location.path)
        own_folder(location.path.parent)
    with place(location.path or Path("registry"), beside=location.path is not None) as part:
        copy_file(backup, part, part_of(progress, 0, (_COPYING, _CHECKING, _COPYING)))
        settle(part)
        part.chmod(0o600)
        with Database.open(f"sqlite:///{part}", create=False) as copy:
            _check(copy, backup, part_of(progress, 1, (_COPYING, _CHECKING, _COPYING)))
            if location.path is None:
                with copy.read() as source:
                    fill_server(location, source, part_of(progress, 2, (_COPYING, _CHECKING, _COPYING)))
        if location.path is not None:
            give_name(part, location.path, force=False)
    progress(1, 1)
    return location.shown


def _check(copy: Database, backup: Path, progress: Progress) -> None:
    report = fsck(Workspace(copy, DatabaseBlobStore(copy), "restore"), progress=progress)
    if report.damage:
        first = report.damage[0]
        raise IntegrityError(
            f"{backup} is damaged: {first.thing}: {first.problem}",
            f"Nothing was restored. Try an older backup. All that is wrong: caa fsck --read-only --registry {backup}",
        )
