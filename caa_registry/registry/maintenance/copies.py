"""A whole registry copied to another place, a file or a PostgreSQL database."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from caa_registry import settings
from caa_registry.catalog.copies.files import copy_file, only_read
from caa_registry.catalog.database import Database
from caa_registry.catalog.files import check_file
from caa_registry.catalog.location import Location, locate
from caa_registry.catalog.state import check_known
from caa_registry.errors import UsageError
from caa_registry.progress import Progress, silent
from caa_registry.registry.maintenance.backup import copy_to_file
from caa_registry.registry.maintenance.restore import empty_place, make_registry

_HINT = "A registry is copied into an empty place only. Give another path, or an empty database."


def copy(source: str, target: str, progress: Progress = silent) -> str:
    """Copy the registry at ``source`` as it is at one moment to ``target``, where there is none; where it then is,
    without a password. Both are paths or URLs. See ``caa_registry.copy``."""
    for url, what in ((source, "source"), (target, "target")):
        if not url.strip():
            raise UsageError(f"the {what} of the copy is empty", "Give a path or a URL.")
    url, place = settings.registry_url(source), settings.registry_url(target)
    origin = locate(url)
    if origin.path is not None:
        if not origin.path.exists():
            raise UsageError(f"there is no registry at {origin.shown}", "Give the path of one, or its URL.")
        check_file(origin.path, read_only=True)
    with only_read(origin.path) if origin.path is not None else nullcontext():
        return _copy(origin, url, place, progress)


def _copy(origin: Location, url: str, place: str, progress: Progress) -> str:
    if origin.path is not None:
        check_known(origin.path)
    location = empty_place(place, _HINT)

    def put(part: Path, telling: Progress) -> None:
        if origin.path is not None:
            # An older one is upgraded in the copy.
            copy_file(origin.path, part, telling)
            return
        with Database.open(url, create=False, read_only=True) as database:
            copy_to_file(database, part, telling)

    damage = f"Nothing was copied. All that is wrong: caa fsck --read-only {origin.option}"
    make_registry(location, put, origin.shown, damage, progress)
    return location.shown
