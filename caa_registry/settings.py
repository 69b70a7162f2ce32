"""Where the registry is and who acts: flag > environment > file > default.

The file is ``config.toml`` in the home folder of the registry (``~/.caa``, or ``CAA_HOME``)::

    registry = "postgresql://team-db/caa"
    actor = "ada"
"""

from __future__ import annotations

import getpass
import os
import tomllib
from pathlib import Path

from caa_registry.errors import UsageError


def home() -> Path:
    """The folder of the default registry, the settings file and caches."""
    return Path(os.environ.get("CAA_HOME") or Path.home() / ".caa")


def _from_file(key: str) -> str | None:
    path = home() / "config.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path}: not a readable settings file ({error})") from error
    value = values.get(key)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{path}: {key} must be a string")
    return value


def registry_url(flag: str | None = None) -> str:
    """A SQLAlchemy URL: ``flag`` (a URL or a path), else ``CAA_REGISTRY``, else the file, else the default."""
    given = flag or os.environ.get("CAA_REGISTRY") or _from_file("registry") or str(home() / "registry.db")
    if "://" in given:
        scheme, rest = given.split("://", 1)
        return f"postgresql+psycopg://{rest}" if scheme in ("postgres", "postgresql") else given
    return f"sqlite:///{Path(given).expanduser().absolute()}"


def actor(flag: str | None = None) -> str:
    """The name that runs and events are recorded under."""
    given = flag or os.environ.get("CAA_ACTOR") or _from_file("actor")
    if given:
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
