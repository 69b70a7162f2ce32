"""Connections to a PostgreSQL server: how long they wait, how a lost one is noticed, and the lock of the one writer."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text

from caa_registry.catalog import engines
from caa_registry.catalog.location import Location
from caa_registry.errors import RegistryError

# One number for every advisory lock: there is one writer at a time, as on SQLite.
ADVISORY_LOCK = 0x4341415245474953

# What libpq is told unless the URL says otherwise. A connection that nobody answers is noticed within a minute.
_CONNECTING = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "fallback_application_name": "caa",
}

# What a session is bounded by, unless the URL, the role, the database or the server says otherwise. Whoever sleeps in
# the middle of a transaction, such as a laptop that was closed, keeps nobody from writing for longer.
_BOUND = """
SELECT set_config(name, bound, false)
FROM pg_settings JOIN (VALUES
    ('statement_timeout', '10min'),
    ('lock_timeout', %s),
    ('idle_in_transaction_session_timeout', '10min')
) AS bounds (bounded, bound) ON name = bounded
WHERE source = 'default'
"""

# How long a server that was there before is waited for: one that restarts takes some seconds.
RESTART_SECONDS = 30.0
_TRY_EVERY = 0.2


def postgres_engine(location: Location) -> Engine:
    """An engine on a PostgreSQL database. Raises ``RegistryError`` where the driver is not installed.

    Its pool looks at each connection before it is used again, so that one which the server has ended is replaced.
    """
    assert location.url is not None
    given = {name: value for name, value in _CONNECTING.items() if name not in location.url.query}
    try:
        engine = create_engine(location.url, pool_pre_ping=True, json_serializer=engines.dump_json, connect_args=given)
    except ImportError as error:
        raise RegistryError(
            "PostgreSQL needs the psycopg driver, which is not installed",
            "Run: pip install 'caa-registry[postgres]'",
        ) from error
    _connect_patiently(engine)
    engines.remember(engine)
    return engine


def _connect_patiently(engine: Engine) -> None:
    """Wait for a server that restarts, once it has been there, and bound each session. A connection that is lost as
    soon as it is made is made anew."""
    seen = False

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, _record: object, arguments: Any, named: Any) -> Any:
        nonlocal seen
        deadline = time.monotonic() + RESTART_SECONDS
        while True:
            try:
                connection = dialect.connect(*arguments, **named)
                _bound(connection)
            except dialect.loaded_dbapi.OperationalError:
                if not seen or time.monotonic() > deadline:
                    raise
                time.sleep(_TRY_EVERY)
            else:
                seen = True
                return connection


def _bound(connection: Any) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(_BOUND, [f"{engines.LOCK_WAIT_MS}ms"])
        connection.commit()
    except BaseException:
        connection.close()
        raise


def take_lock(connection: Connection) -> None:
    """Become the only writer until the transaction ends, waiting as long as on SQLite."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})


def unbounded(connection: Connection) -> None:
    """Let statements of this transaction take as long as they need: an upgrade of large tables."""
    connection.execute(text("SET LOCAL statement_timeout = 0"))
