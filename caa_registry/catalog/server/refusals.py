"""What a PostgreSQL server refuses, in words for people."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from caa_registry.errors import RegistryError

_LOST = "Do the same again: what was under way is stored whole or not at all, and nothing is stored twice."
MAY_NOT = "Nothing was changed. Whoever set up the registry can give the right (caa db roles)."
_FULL = "Too many are connected at once. Try again when others have ended, or have max_connections raised."

# How the driver begins to tell that nobody is at the other end any more.
_ENDED = ("consuming input failed", "flushing failed", "the connection is lost")

# By the state that the server gives. https://www.postgresql.org/docs/current/errcodes-appendix.html
_HINTS = {
    "42501": MAY_NOT,
    "25006": "Nothing was changed. This server or this user takes no changes.",
    "57014": "Nothing was changed. The server is busy, or statement_timeout is too short: try again, or raise it.",
    "53300": _FULL,
    "25P03": _LOST,
    "25P04": _LOST,
    "57P01": _LOST,
    "57P02": _LOST,
    "57P03": "The server is starting or stopping. Try again in a moment.",
}


def state(error: BaseException | None) -> str | None:
    """The state that the server gave with an error."""
    return getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)


def is_refusal(error: Exception) -> bool:
    """Whether an error is one that is told to people, whatever its class: what the server or its pool refuses."""
    return isinstance(error, PoolTimeoutError) or state(error) in _HINTS or _is_lost(error)


def told(shown: str, error: Exception, reason: str) -> RegistryError | None:
    """What a server refused, as one message with what to do about it; ``None`` for other errors. ``reason``: its own
    words, without a password."""
    if isinstance(error, PoolTimeoutError):
        return RegistryError(
            f"{shown}: this program uses as many connections as it may", "Try again when others have ended."
        )
    if _is_lost(error):
        return RegistryError(f"{shown}: the connection was lost: {reason}", _LOST)
    hint = _HINTS.get(state(error) or "")
    return RegistryError(f"{shown}: {reason}", hint) if hint else None


def _is_lost(error: Exception) -> bool:
    """Whether a connection ended that had been made. One that ends as it is prepared is known by its words alone."""
    return isinstance(error, DBAPIError) and (error.connection_invalidated or str(error.orig).startswith(_ENDED))
