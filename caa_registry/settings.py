"""Where the registry is, who acts, and what may be used: flag > environment > file > default.

The file is ``config.toml`` in the home folder of the registry (``~/.caa``, or ``CAA_HOME``)::

    registry = "postgresql://team-db/caa"
    actor = "ada"
    memory = "8GB"
    activation_cache = "20GB"
    blob_cache = "500MB"
"""

from __future__ import annotations

import getpass
import os
import re
from pathlib import Path

from caa_registry.disk import expanded
from caa_registry.errors import UsageError, one_line

# What launchers tell each process: mlx.launch (ring, nccl, jaccl), Open MPI, and other kinds of MPI.
_RANKS = ("MLX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK")

# How a URL begins, with one slash or none too. One letter before the colon is a drive.
_SCHEME = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9+.-]+:|(?:postgres|postgresql|mysql|sqlite)(?:\+\w+)?//)")
_CREDENTIALS = re.compile(r":.*@|%3a.*(?:@|%40)|:.*%40|pass\w*\s*=|pwd\s*=|secret\s*=", re.IGNORECASE | re.DOTALL)

_LONGEST_ACTOR = 200


def launched() -> bool:
    """Whether something may have started this process as one of several."""
    return any(name in os.environ for name in _RANKS)


def home() -> Path:
    """The folder of the default registry, the settings file and caches."""
    return Path(os.environ.get("CAA_HOME") or Path.home() / ".caa")


def _from_file(key: str) -> str | None:
    path = home() / "config.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (UnicodeDecodeError, OSError) as error:
        raise _unreadable(path, error) from error
    import tomllib  # most have no such file, and every command asks for it

    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _unreadable(path, error) from error
    value = values.get(key)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{path}: {key} must be a string")
    return value


def _unreadable(path: Path, error: Exception) -> UsageError:
    return UsageError(f"{path}: not a readable settings file ({error})")


def registry_url(flag: str | None = None) -> str:
    """A SQLAlchemy URL: ``flag`` (a URL or a path), else ``CAA_REGISTRY``, else the file, else the default.

    Raises ``UsageError`` for what looks like a URL and is none. It is not shown, since it may hold a password.
    """
    given = flag or os.environ.get("CAA_REGISTRY") or _from_file("registry") or str(home() / "registry.db")
    if "://" in given:
        scheme, rest = given.split("://", 1)
        return f"postgresql+psycopg://{rest}" if scheme in ("postgres", "postgresql") else given
    path = expanded(given).absolute()
    if (_SCHEME.match(given) or may_hold_password(given)) and not _is_file(path):
        raise UsageError(
            "the registry is neither a path nor a URL that can be understood",
            "Give a path (./NAME where it holds a colon), sqlite:///PATH or postgresql://USER@HOST/DATABASE.",
        )
    return f"sqlite:///{path}"


def may_hold_password(text: str) -> bool:
    """Whether a password may stand in ``text``, which is no proper URL: ``user:password@host``, ``password=...``."""
    return _CREDENTIALS.search(text) is not None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def actor(flag: str | None = None) -> str:
    """The name that runs and events are recorded under: ``flag``, else ``CAA_ACTOR``, else ``actor`` in the file, else
    that of the user. Raises ``UsageError`` for one that is no name in one line."""
    given = flag or os.environ.get("CAA_ACTOR") or _from_file("actor")
    if given:
        if not given.isprintable() or len(given) > _LONGEST_ACTOR:
            raise UsageError(
                f"{one_line(given, 60)!r} cannot be the name of who does something",
                f"Give CAA_ACTOR, or actor in the settings file, up to {_LONGEST_ACTOR} characters in one line: ada",
            )
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def memory() -> int | None:
    """Bytes that a computation may use besides the weights: ``CAA_MEMORY``, else ``memory`` in the file, such
    as ``"8GB"``; ``None`` where neither is set."""
    given = os.environ.get("CAA_MEMORY") or _from_file("memory")
    return _bytes("CAA_MEMORY", given) if given else None


def keys() -> Path:
    """The file of the keys whose signatures count: ``CAA_KEYS``, else ``keys.toml`` in the home folder."""
    return Path(os.environ.get("CAA_KEYS") or home() / "keys.toml")


def activation_cache() -> tuple[Path, int]:
    """The folder of cached activations and how many bytes they may take: ``CAA_ACTIVATION_CACHE``, else
    ``activation_cache`` in the file, such as ``"20GB"``, else 4 GB; 0 keeps nothing."""
    given = os.environ.get("CAA_ACTIVATION_CACHE") or _from_file("activation_cache") or "4GB"
    return home() / "cache" / "activations", _bytes("CAA_ACTIVATION_CACHE", given)


def blob_cache() -> tuple[Path, int]:
    """The folder of what was read from an object store and how many bytes it may take: ``CAA_BLOB_CACHE``, else
    ``blob_cache`` in the file, such as ``"500MB"``, else 2 GB; 0 keeps nothing."""
    given = os.environ.get("CAA_BLOB_CACHE") or _from_file("blob_cache") or "2GB"
    return home() / "cache" / "blobs", _bytes("CAA_BLOB_CACHE", given)


def unfinished() -> Path:
    """The folder where interrupted evaluations keep what they have measured."""
    return home() / "cache" / "unfinished"


def _bytes(name: str, text: str) -> int:
    size = re.fullmatch(r"\s*(\d{1,15}(?:\.\d+)?)\s*(?:([kmgt])b?|b)?\s*", text, re.IGNORECASE)
    if size is None:
        raise UsageError(f"{name}: {text!r} is not a size", "Write a number with a unit, such as 500MB or 8GB.")
    return int(float(size[1]) * 1000 ** " kmgt".index((size[2] or " ").lower()))
