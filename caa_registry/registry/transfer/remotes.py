"""Other registries, folders and repositories by name: ``remotes.toml`` in the home folder::

    team = "postgresql://ada@db.example.org/caa"
    archive = "/mnt/share/archive.db"
    share = "/mnt/share/vectors/"
    public = "hf:team/vectors"

It is each user's own and holds no password: PostgreSQL takes it from PGPASSWORD or ~/.pgpass.
"""

from __future__ import annotations

import json
import os
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
from caa_registry.hub.names import parse_hub
from caa_registry.registry.records import Listing, Remote
from caa_registry.registry.workspace import Workspace

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Remotes:
    """The registries, folders and repositories that this user has named."""

    def add(self, name: str, url: str, *, replace: bool = False) -> Remote:
        """Name a registry: the path of a SQLite file, or a PostgreSQL URL without a password. It need not exist yet.

        A folder is named by its path, and a repository of the hub as ``hf:ORG/NAME[@REVISION]``. A path that ends with
        a slash means a folder, which is made where it is missing.
        Raises ``UsageError`` for a name in use unless ``replace`` is given, and for a URL that holds a password;
        ``WriteError`` where the folder cannot be made.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{visible(name)!r} cannot be the name of a remote", "Use letters, digits, '-' and '_': team"
            )
        remote = Remote(name, _place(url) or _checked(url))
        if remote.kind == "hub" and parse_hub(url).file:
            raise UsageError(f"{url} is a file of a repository", "Name the repository: hf:ORG/NAME[@REVISION].")
        known = self._read()
        if not replace and name in known and _remote(name, known[name]) != remote:
            raise UsageError(f"{name} is {known[name]} already", "Choose another name, or give --replace.")
        if remote.kind == "folder":
            _make(Path(remote.url))
        self._write({**known, name: remote.url})
        return remote

    def remove(self, name: str) -> None:
        """Forget a name. What it names stays. Raises ``NotFoundError``."""
        known = self._read()
        if name not in known:
            raise _unknown(name, known)
        self._write({each: url for each, url in known.items() if each != name})

    def ls(self) -> Listing[Remote]:
        """All of them, by name."""
        remotes = tuple(_remote(name, url) for name, url in sorted(self._read().items()))
        return Listing(remotes, len(remotes))

    def get(self, remote: str) -> Remote:
        """The remote of that name. What is a path or a URL stands for itself. Raises ``NotFoundError``."""
        known = self._read()
        if remote in known:
            return _remote(remote, known[remote])
        if _NAME.fullmatch(remote) and not Path(remote).exists():
            raise _unknown(remote, known)
        # A password may be given on the spot, and is not kept.
        return Remote("", _place(remote) or settings.registry_url(remote))

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
        text = "".join(f"{name} = {_toml(url)}\n" for name, url in sorted(remotes.items()))
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


def _remote(name: str, url: str) -> Remote:
    """A remote as the file has it. Somebody may have written a folder without its slash."""
    return Remote(name, f"{url}/" if Remote(name, url).kind == "registry" and _is_folder(url) else url)


def _place(text: str) -> str | None:
    """The URL of the folder or repository that ``text`` names; ``None`` for a registry. Raises ``UsageError``."""
    if text.startswith("hf:"):
        return text
    there = _is_folder(text)
    if "://" in text or not (there or text.endswith("/")):
        return None
    if not there:
        settings.registry_url(text)  # which refuses what may hold a password
    return f"{str(disk.expanded(text).absolute()).rstrip('/')}/"


def _is_folder(text: str) -> bool:
    try:
        return disk.expanded(text).is_dir()
    except (OSError, ValueError):
        return False


def _make(folder: Path) -> None:
    """Make a folder where it is missing, for all whom the one that it lies in is for."""
    with disk.explained(folder):
        if os.path.lexists(folder) and not folder.is_dir():
            raise UsageError(
                f"{folder} is not a folder", "Name a folder; the path of a SQLite file ends without a slash."
            )
        disk.check_parent(folder)
        folder.mkdir(exist_ok=True)


def _toml(url: str) -> str:
    """A string of TOML: that of JSON, but every character that is not in ASCII as it is, since TOML knows no pairs of
    surrogates."""
    try:
        url.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{visible(ascii(url))} is not in UTF-8", "Give it another name, or a link to it.") from None
    return json.dumps(url, ensure_ascii=False).replace("\x7f", "\\u007f")


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
