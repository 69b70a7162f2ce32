"""``caa init`` says what it made, and a hint that names a registry can be pasted."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from catalog.registry_fixtures import empty_postgres
from cli.command_line import caa
from registry.registry_support import jsonl, letters
from sqlalchemy import create_engine, make_url, text

from caa_registry.catalog.location import locate


def test_init_says_what_it_made_and_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "my registry.db"
    first = caa("init", "--registry", path)
    assert first.code == 0 and first.err.splitlines()[0] == f"Created the registry {path} (a SQLite file)."
    again = caa("init", "--registry", path)
    assert "Created" not in again.err and f"The registry {path} is ready: 0 datasets, 0 vectors." in again.err


@pytest.mark.parametrize("command", ["init", "import"])
def test_a_server_gets_its_tables_and_the_user_is_told(command: str, tmp_path: Path) -> None:
    url = empty_postgres()
    shown = locate(url).shown
    arguments: list[object] = ["init"]
    if command == "import":
        arguments = ["dataset", "import", jsonl(tmp_path / "p.jsonl", letters(1)), "--name", "a/b"]
    first = caa("--registry", url, *arguments)
    assert first.code == 0, first.err
    assert first.err.splitlines()[0] == f"Created the registry {shown} (tables in this PostgreSQL database)."
    assert "Created" not in caa("--registry", url, *arguments).err


def hinted(error: str) -> list[str]:
    """The arguments of the command that the last line tells the user to run."""
    return shlex.split(error.splitlines()[-1].split("caa ", 1)[1])


def test_a_hint_can_be_pasted(tmp_path: Path) -> None:
    missing = caa("dataset", "ls", "--registry", tmp_path / "my registry.db")
    assert hinted(missing.err) == ["init", "--registry", str(tmp_path / "my registry.db")]
    assert caa(*hinted(missing.err)).code == 0

    url = empty_postgres()
    missing = caa("dataset", "ls", "--registry", url)
    assert missing.code == 1 and caa(*hinted(missing.err)).code == 0

    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE caa_alembic_version SET version_num = '0001'"))
    engine.dispose()
    older = caa("dataset", "ls", "--registry", url)
    assert older.code == 1 and hinted(older.err)[:3] == ["db", "upgrade", "--registry"]
    assert make_url(hinted(older.err)[3]).database == make_url(url).database


def test_a_password_is_replaced_by_a_placeholder() -> None:
    option = locate("postgresql://ada:s3cret@host/team?sslpassword=s3cret&sslmode=require").option
    assert "s3cret" not in option and "***" not in option
    url = make_url(shlex.split(option)[1])
    assert (url.username, url.password, url.host, url.database) == ("ada", "YOUR_PASSWORD", "host", "team")
    assert url.query == {"sslpassword": "YOUR_PASSWORD", "sslmode": "require"}
    assert locate("postgresql://host/team").option == "--registry postgresql://host/team"
