"""A registry made of a file: of a backup, or of the copy of another registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from caa_registry import settings
from caa_registry.blobs.database import DatabaseBlobStore
from caa_registry.catalog.copies.files import copy_file, settle
from caa_registry.catalog.copies.rows import check_empty, fill_server
from caa_registry.catalog.database import Database
from caa_registry.catalog.files import check_file, check_no_log
from caa_registry.catalog.location import Location, locate
from caa_registry.catalog.state import check_known, look
from caa_registry.disk import give_name, own_folder, place
from caa_registry.errors import IntegrityError, RegistryError, UsageError
from caa_registry.progress import Progress, part_of, silent
from caa_registry.registry.maintenance.fsck import fsck
from caa_registry.registry.workspace import Workspace

_PUTTING, _CHECKING, _FILLING = 1, 5, 3


def restore(backup: Path, url: str | None = None, progress: Progress = silent) -> str:
    """Make a registry of a backup, whose every digest is checked before; where it then is, without a password.

    ``url``: a path or URL where there is none, by default that of ``caa_registry.open``. An older backup is upgraded.
    ``backup`` itself is not changed. What is restored appears whole or not at all.

    Raises ``UsageError`` for no file and where there is a registry already, ``RegistryError`` for a file that is no
    registry, ``IntegrityError`` where the backup is damaged.
    """
    target = empty_place(
        settings.registry_url(url), "A backup is restored into an empty place only. Name one: --registry PATH"
    )
    backup = backup.absolute()
    if not backup.exists():
        raise UsageError(f"there is no file {backup}", "Give the path of a backup, as caa backup printed it.")
    check_file(backup, read_only=True)
    check_known(backup)

    def put(part: Path, telling: Progress) -> None:
        copy_file(backup, part, telling)

    hint = f"Nothing was restored. Try an older backup. All that is wrong: caa fsck --read-only --registry {backup}"
    make_registry(target, put, str(backup), hint, progress)
    return target.shown


def empty_place(url: str, hint: str) -> Location:
    """Where a registry is to be made. Raises ``UsageError`` with ``hint`` where there is one, ``RegistryError`` for a
    file of another program and a database that takes no registry."""
    location, found = locate(url), look(url)
    if found.state == "unusable":
        problem, _, advice = found.problem.partition("\n")
        raise RegistryError(problem, advice)
    if found.state != "none":
        raise UsageError(f"there is a registry at {location.shown} already", hint)
    if location.path is None:
        check_empty(location)
    else:
        check_no_log(location.path)
    return location


def make_registry(
    location: Location, put: Callable[[Path, Progress], None], source: str, hint: str, progress: Progress
) -> None:
    """Make a registry at ``location``, where there is none, of the SQLite file that ``put`` writes. All of it is
    checked before. It appears whole or not at all. Raises ``IntegrityError`` where the file is damaged: ``source``, of
    which it is a copy, with ``hint``."""
    parts = (_PUTTING, _CHECKING) if location.path is not None else (_PUTTING, _CHECKING, _FILLING)
    if location.path is not None:
        own_folder(location.path.parent)
    with place(location.path or Path("registry"), beside=location.path is not None) as part:
        put(part, part_of(progress, 0, parts))
        settle(part)
        part.chmod(0o600)
        with Database.open(f"sqlite:///{part}", create=False) as made:
            _check(made, source, hint, part_of(progress, 1, parts))
            if location.path is None:
                with made.read() as rows:
                    fill_server(location, rows, part_of(progress, 2, parts))
        if location.path is not None:
            give_name(part, location.path, force=False)
    progress(1, 1)


def _check(made: Database, source: str, hint: str, progress: Progress) -> None:
    report = fsck(Workspace(made, DatabaseBlobStore(made), "restore"), progress=progress)
    if report.damage:
        first = report.damage[0]
        raise IntegrityError(f"{source} is damaged: {first.thing}: {first.problem}", hint)
