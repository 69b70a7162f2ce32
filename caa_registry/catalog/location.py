"""A registry URL, taken apart: which database it means, and how to name it without its password."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from caa_registry.errors import RegistryError

POSTGRES_DRIVER = "postgresql+psycopg"

_SQLITE = ("sqlite:///", "sqlite+pysqlite:///")
_SECRET_OPTIONS = frozenset({"password", "passfile", "sslpassword"})
_EXAMPLES = "Give a path, sqlite:///PATH or postgresql://USER@HOST/DATABASE."


@dataclass(frozen=True)
class Location:
    """Where a registry is: ``path`` for SQLite, else ``url`` for PostgreSQL. ``shown`` is safe to print."""

    shown: str
    path: Path | None = None
    url: URL | None = field(default=None, repr=False)

    @property
    def option(self) -> str:
        """``--registry ...`` as a shell takes it. A placeholder stands for a password, which is never printed."""
        if self.url is None:
            return f"--registry {shlex.quote(self.shown)}"
        url = self.url.set(drivername="postgresql")
        if url.password:
            url = url.set(password="YOUR_PASSWORD")
        url = url.set(query={k: "YOUR_PASSWORD" if k in _SECRET_OPTIONS else v for k, v in url.query.items()})
        return f"--registry {shlex.quote(url.render_as_string(hide_password=False))}"

    def without_secrets(self, text: str) -> str:
        """``text`` with the password blotted out wherever it occurs."""
        if self.url is None:
            return text
        values = [self.url.password, *(v for k, v in self.url.query.items() if k in _SECRET_OPTIONS)]
        for value in values:
            if isinstance(value, str) and value:
                text = text.replace(value, "***")
        return text


def locate(url: str) -> Location:
    """Take ``url`` apart.

    A SQLite path is taken as it stands after ``sqlite:///``, so that ``?``, ``#`` and ``%`` may be part of it.
    Raises ``RegistryError`` when it names no SQLite file and no PostgreSQL database.
    """
    for prefix in _SQLITE:
        if url.startswith(prefix):
            return _file(url.removeprefix(prefix))
    if not url.strip():
        raise RegistryError("the registry URL is empty", _EXAMPLES)
    if url.startswith("sqlite"):
        raise RegistryError(f"{url!r} names no file", _EXAMPLES)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise RegistryError("the registry URL cannot be understood", _EXAMPLES) from error
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername=POSTGRES_DRIVER)
    if parsed.drivername != POSTGRES_DRIVER:
        raise RegistryError(f"a registry cannot be kept in {parsed.drivername!r}", _EXAMPLES)
    shown = parsed.set(
        drivername="postgresql",
        query={k: "***" if k in _SECRET_OPTIONS else v for k, v in parsed.query.items()},
    )
    return Location(shown.render_as_string(hide_password=True), url=parsed)


def _file(text: str) -> Location:
    if not text.strip() or text == ":memory:" or text.startswith("file:"):
        raise RegistryError(f"{text!r} is not the path of a registry", _EXAMPLES)
    if "\x00" in text:
        raise RegistryError("the path of the registry holds a NUL character", _EXAMPLES)
    if text.endswith("/"):
        raise RegistryError(f"{text} is a folder", "Name a file in it: registry.db")
    path = Path(text).absolute()
    return Location(str(path), path=path)
