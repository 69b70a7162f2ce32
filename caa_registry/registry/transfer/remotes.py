"""Other registries by name: ``remotes.toml`` in the home folder::

    team = "postgresql://ada@db.example.org/caa"
    archive = "/mnt/share/archive.db"

It is each user's own and holds no password: PostgreSQL takes it from PGPASSWORD or ~/.pgpass.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from caa_registry import disk, settings
from caa_registry.blobs.location import open_store
from caa_registry.catalog.database import Database
from caa_registry.catalog.location import locate
from caa_registry.errors import InputError, NotFoundError, UsageError, visible
from caa_registry.registry.records import Listing, Remote
from caa_registry.registry.workspace import Workspace

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Remotes:
    """The registries that this user has named."""

    def add(self, name: str, url: str, *, replace: bool = False) -> Remote:
        """Name a registry: the path of a SQLite file, or a PostgreSQL URL without a password. It need not exist yet.

        Raises ``UsageError`` for a name in use unless ``replace`` is given, and for a URL that holds a password.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{visible(name)!r} cannot be the name of a remote", "Use letters, digits, '-' and '_': team"
            )
        remote = Remote(name, _checked(url))
        known = self._read()
        if not replace and name in known and known[name] != remote.url:
            raise UsageError(f"{name} is {known[name]} already", "Choose another name, or give --replace.")
        self._write({**known, name: remote.url})
        return remote

    def remove(self, name: str) -> None:
        """Forget a name. The registry stays. Raises ``NotFoundError``."""
        known = self._read()
        if name not in known:
            raise _unknown(name, known)
        self._write({each: url for each, url in known.items() if each != name})

    def ls(self) -> Listing[Remote]:
        """All of them, by name."""
        remotes = tuple(Remote(name, url) for name, url in sorted(self._read().items()))
        return Listing(remotes, len(remotes))

    def get(self, remote: str) -> Remote:
        """The remote of that name. What is a path or a URL stands for itself. Raises ``NotFoundError``."""
        known = self._read()
        if remote in known:
            return Remote(remote, known[remote])
        if remote.startswith("hf:"):
            return Remote("", remote)
        if _NAME.fullmatch(remote) and not Path(remote).exists():
            raise _unknown(remote, known)
        # A password may be given on the spot, and is not kept.
        return Remote("", settings.registry_url(remote))

    def _path(self) -> Path:
        return settings.home() / "remotes.toml"

    def _read(self) -> dict[str, str]:
        path = self._path()
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise InputError(f"is not a readable file of remotes ({error})", source=str(path)) from error
        for name, url in values.items():
            if not _NAME.fullmatch(name) or not isinstance(url, str):
                raise InputError(f"{visible(name)} is not a name with a URL", 'Write name = "URL".', source=str(path))
        return values

    def _write(self, remotes: Mapping[str, str]) -> None:
        # A JSON string in ASCII is a TOML string.
        text = "".join(f"{name} = {json.dumps(url)}\n" for name, url in sorted(remotes.items()))
        with disk.explained(self._path()):
            disk.keep(self._path(), text.encode())


@contextmanager
def opened(remote: Remote, here: Workspace, *, read_only: bool) -> Iterator[Workspace]:
    """The registry of a remote, while the context lasts. Raises ``UsageError`` where it is ``here``, ``RegistryError``
    where it cannot be opened."""
    with Database.open(settings.registry_url(remote.url), create=False, read_only=read_only) as database:
        same = database.shown == here.database.shown
        if same or (database.path and here.database.path and database.path.samefile(here.database.path)):
            raise UsageError(f"{database.shown} is this registry itself", "Name another one: caa remote ls")
        yield Workspace(database, open_store(database), here.actor)


def described(workspace: Workspace) -> str:
    """How another registry remembers this one: a server's address, or the name of a file and not where it lies."""
    path = workspace.database.path
    return workspace.database.shown if path is None else path.name


def _checked(url: str) -> str:
    location = locate(settings.registry_url(url))
    if location.path is not None:
        return str(location.path)
    if location.url is None or location.url.password or "***" in location.shown:
        raise UsageError(
            "the URL holds a password, and remotes are kept in a file",
            "Leave it out: PostgreSQL takes it from PGPASSWORD or ~/.pgpass.",
        )
    return location.shown


def _unknown(name: str, known: Mapping[str, str]) -> NotFoundError:
    return NotFoundError(
        f"there is no remote {visible(name)}",
        f"There are {', '.join(sorted(known))}." if known else "Name one: caa remote add NAME URL",
    )
