"""A registry URL, taken apart: which database it means, and how to name it without its password."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from caa_registry.errors import RegistryError
from caa_registry.settings import may_hold_password

POSTGRES_DRIVER = "postgresql+psycopg"

_SQLITE = ("sqlite:///", "sqlite+pysqlite:///")
# What a connection's options may be shown with. A name that is misspelt may be a password's, and options of a session
# may set one.
_SHOWN_OPTIONS = frozenset(
    {
        "channel_binding", "client_encoding", "connect_timeout", "dbname", "gssencmode", "host",
        "hostaddr", "keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval", "port",
        "sslcert", "sslcrl", "sslkey", "sslmode", "sslrootcert", "target_session_attrs",
    }
)  # fmt: skip
_EXAMPLES = "Give a path, sqlite:///PATH or postgresql://USER@HOST/DATABASE."
_NOT_UNDERSTOOD = "the registry URL cannot be understood"
_ENCODE = f"{_EXAMPLES} In a user, a password or a database, '@', ':', '/' and '%' are written %40, %3A, %2F and %25."
_KNOWN_ELSEWHERE = re.compile(r"(?:mysql|mariadb|mssql|oracle|postgresql|postgres|sqlite)(?:\+[a-z0-9]{1,12})?")


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
        if not _is_plain(url.username):
            url = url.set(username="YOUR_USER")
        if url.password:
            url = url.set(password="YOUR_PASSWORD")
        url = url.set(query={k: v if k in _SHOWN_OPTIONS else "YOUR_PASSWORD" for k, v in url.query.items()})
        return f"--registry {shlex.quote(url.render_as_string(hide_password=False))}"

    def without_secrets(self, text: str) -> str:
        """``text`` with the password blotted out wherever it occurs, percent-encoded too."""
        if self.url is None:
            return text
        secrets: list[str] = [str(self.url.password)] if self.url.password else []
        if not _is_plain(self.url.username):
            secrets.append(str(self.url.username))
        for option, value in self.url.query.items():
            if option not in _SHOWN_OPTIONS:
                secrets += [value] if isinstance(value, str) else value
        written = {form for secret in secrets for form in _written(secret) if form}
        for form in sorted(written, key=len, reverse=True):
            text = text.replace(form, "***")
        return text

    def cause(self, error: Exception) -> Exception | None:
        """``error``, to be shown as the cause of another, unless a message on the way to it holds the password."""
        each: BaseException | None = error
        while each is not None:
            if self.without_secrets(str(each)) != str(each):
                return None
            each = each.__cause__ or each.__context__
        return error


def _is_plain(user: str | None) -> bool:
    """Whether ``user`` is no more than a name: behind ``%3A`` a password may be part of it."""
    return user is None or re.fullmatch(r"[\w.-]*", user) is not None


def _written(secret: str) -> Iterable[str]:
    return secret, quote(secret), quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]


def locate(url: str) -> Location:
    """Take ``url`` apart.

    A SQLite path is taken as it stands after ``sqlite:///``, so that ``?``, ``#`` and ``%`` may be part of it.
    Raises ``RegistryError`` when it names no SQLite file and no PostgreSQL database. What cannot be taken apart is
    never shown, since nobody can say where in it a password stands.
    """
    for prefix in _SQLITE:
        if url.startswith(prefix):
            return _file(url.removeprefix(prefix))
    if not url.strip():
        raise RegistryError("the registry URL is empty", _EXAMPLES)
    if url.startswith("sqlite"):
        raise RegistryError("the registry URL names no file", _EXAMPLES)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise RegistryError(_NOT_UNDERSTOOD, _ENCODE) from None
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername=POSTGRES_DRIVER)
    if parsed.drivername != POSTGRES_DRIVER:
        known = _KNOWN_ELSEWHERE.fullmatch(parsed.drivername)
        kind = repr(parsed.drivername) if known else "a database of that kind"
        raise RegistryError(f"a registry cannot be kept in {kind}", _EXAMPLES)
    # Behind a password with a bare '@' the rest of it would count as the host, or as options.
    rest = url.partition("://")[2]
    if parsed.password is not None:
        rest = rest.partition(":")[2].partition("@")[2]
    if "@" in rest and (parsed.password is not None or parsed.username is None):
        raise RegistryError(_NOT_UNDERSTOOD, _ENCODE)
    _check_parts(parsed)
    shown = parsed.set(
        drivername="postgresql", query={k: v if k in _SHOWN_OPTIONS else "***" for k, v in parsed.query.items()}
    )
    if not _is_plain(shown.username):
        shown = shown.set(username="***")
    return Location(shown.render_as_string(hide_password=True).replace(quote("***"), "***"), url=parsed)


def _check_parts(url: URL) -> None:
    """Raise ``RegistryError`` where a part holds what belongs to another, as after a password with a bare ``@``."""
    host, database = url.host or "", url.database or ""
    if ":" in host:
        import ipaddress  # most registries are files

        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            raise RegistryError(_NOT_UNDERSTOOD, _ENCODE) from None
    shown = [value for option, value in url.query.items() if option in _SHOWN_OPTIONS]
    values = [each for value in shown for each in ([value] if isinstance(value, str) else value)]
    misplaced = re.search(r"[@#\s;=]", host + database) or may_hold_password(database)
    if misplaced or any("@" in value or may_hold_password(value) for value in values):
        raise RegistryError(_NOT_UNDERSTOOD, _ENCODE)
    if any(not re.fullmatch(r"[A-Za-z_]{1,40}", option) for option in url.query):
        raise RegistryError(_NOT_UNDERSTOOD, _ENCODE)


def _file(text: str) -> Location:
    if not text.strip() or text == ":memory:" or text.startswith("file:"):
        raise RegistryError("the registry URL names no file", _EXAMPLES)
    if "\x00" in text:
        raise RegistryError("the path of the registry holds a NUL character", _EXAMPLES)
    path = Path(text).absolute()
    if may_hold_password(text) and not path.is_file():
        raise RegistryError(_NOT_UNDERSTOOD, _EXAMPLES)
    if text.endswith("/"):
        raise RegistryError(f"{text} is a folder", "Name a file in it: registry.db")
    return Location(str(path), path=path)
