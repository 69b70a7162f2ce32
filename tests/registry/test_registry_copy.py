"""A copy says what the registry says, in whichever database each is, and appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from catalog.registry_fixtures import empty_postgres, new_postgres, oldest_sqlite
from sqlalchemy import create_engine, make_url, text
from support.changed import change

import caa_registry as caa
from caa_registry.catalog.copies import rows
from caa_registry.catalog.database import Database
from caa_registry.catalog.state import look
from caa_registry.errors import CaaError, IntegrityError, RegistryError, UsageError
from caa_registry.registry.maintenance.copies import copy as copy_to

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))

from damage import views
from logical_dump import logical_dump

Place = Callable[[], str]


@pytest.fixture
def source(whole: Path, tmp_path: Path) -> Iterator[str]:
    """A registry with some of everything, of which the last alias was removed."""
    path = Path(shutil.copy(whole, tmp_path / "source.db"))
    with caa.open(str(path)) as registry:
        registry.aliases.set("team/praise:v1", "gone")
        registry.aliases.remove("vector:team/praise:gone")
    yield str(path)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Empty places of each kind."""
    if request.param == "postgresql":
        return empty_postgres
    names = iter(range(100))
    return lambda: str(tmp_path / "copies" / f"{next(names)}.db")


def dumped(where: str) -> dict[str, list[str]]:
    return logical_dump(where if "://" in where else f"sqlite:///{where}")


def run(url: str, *statements: str) -> None:
    engine = create_engine(make_url(url))
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def test_there_and_back_it_says_the_same(source: str, place: Place, tmp_path: Path) -> None:
    before, said = Path(source).read_bytes(), dumped(source)
    there, again, back = place(), place(), str(tmp_path / "back.db")
    for origin, target in ((source, there), (there, again), (again, back)):
        with caa.copy(origin, target) as registry:
            assert registry.fsck().faults == ()
        assert dumped(target) == said
    assert views(Path(back)) == views(Path(source))
    assert Path(source).read_bytes() == before


def test_the_source_lies_there_as_it_did(source: str, place: Place) -> None:
    # Nobody has it open, so that it has no log.
    before = {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in Path(source).parent.glob("source.db*")
    }
    assert list(before) == ["source.db"]
    caa.copy(source, place()).close()
    with pytest.raises(UsageError):
        caa.copy(source, source)
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in Path(source).parent.glob("source.db*")}
    assert after == before


def test_numbers_go_on_behind_those_that_were_given(source: str, place: Place) -> None:
    with caa.open(source) as registry:
        registry.aliases.set("team/praise:v1", "next")
    used = alias_numbers(source)
    with caa.open(source) as registry:
        registry.aliases.remove("vector:team/praise:next")
    with caa.copy(source, place()) as registry:
        registry.aliases.set("team/praise:v1", "after")
        assert registry.fsck().faults == ()
        assert registry.database.path is None or max(alias_numbers(str(registry.database.path))) > max(used)
        if registry.database.path is None:
            with registry.database.read() as session:
                assert (session.scalar(text("SELECT max(id) FROM alias")) or 0) > max(used)


def alias_numbers(path: str) -> list[int]:
    with Database.open(f"sqlite:///{path}", create=False) as database, database.read() as session:
        return list(session.scalars(text("SELECT id FROM alias")))


def test_numbers_that_a_server_left_out_stay_left_out(tmp_path: Path) -> None:
    server = new_postgres()
    with caa.open(server) as registry:
        registry.datasets.import_("seed:demo-sentiment", name="team/a")
        with pytest.raises(ZeroDivisionError), registry.database.write() as session:
            session.execute(text("INSERT INTO dataset (name, kind, created_at) VALUES ('x', 'pairs', now())"))
            raise ZeroDivisionError
        registry.datasets.import_("seed:demo-sycophancy", name="team/b")
    said = dumped(server)
    with caa.copy(server, str(tmp_path / "copy.db")) as registry:
        assert registry.fsck().faults == ()
    back = empty_postgres()
    caa.copy(str(tmp_path / "copy.db"), back).close()
    assert dumped(back) == said


def test_others_write_meanwhile(source: str, place: Place) -> None:
    origin = place()
    caa.copy(source, origin).close()
    said, told = dumped(origin), []
    with caa.open(origin, actor="bob") as other:

        def write(done: int, total: int) -> None:
            if len(told) < 5:
                told.append(other.aliases.set("team/praise:v1", f"a{len(told)}"))

        target = place()
        copy_to(origin, target, progress=write)
        assert len(told) == 5
    # What is written before its first word is not in it, nor is anything behind.
    assert dumped(target) == said


def test_it_is_put_into_an_empty_place_only(source: str, tmp_path: Path) -> None:
    taken = tmp_path / "taken.txt"
    taken.write_text("mine")
    other = empty_postgres()
    run(other, "CREATE TABLE run (id integer)")
    (tmp_path / "left.db-wal").write_bytes(b"left by a registry that was removed")
    for target, words in (
        (source, "there is a registry at"),
        (str(taken), "is not a registry"),
        (new_postgres(), "there is a registry at"),
        (other, "has tables already: run"),
        (str(tmp_path / "left.db"), "is left of a registry"),
    ):
        before = files(tmp_path)
        with pytest.raises(CaaError, match=words) as caught:
            caa.copy(source, target)
        assert caught.value.hint and files(tmp_path) == before
    assert taken.read_text() == "mine"


def files(folder: Path) -> dict[str, bytes]:
    """What is there, but for what SQLite leaves beside a file that somebody reads."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("source.db-")]
    return {path.name: path.read_bytes() for path in found}


def test_a_user_who_may_not_make_tables(source: str) -> None:
    target = empty_postgres()
    name = make_url(target).database
    run(target, f"CREATE ROLE guest_{name} LOGIN", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    url = make_url(target).set(username=f"guest_{name}").render_as_string(hide_password=False)
    with pytest.raises(RegistryError, match="this user may not make tables there"):
        caa.copy(source, url)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_an_interrupted_copy_leaves_nothing(source: str, place: Place, share: float) -> None:
    def interrupt(done: int, total: int) -> None:
        if done >= share * total:
            raise KeyboardInterrupt

    target = place()
    with pytest.raises(KeyboardInterrupt):
        copy_to(source, target, progress=interrupt)
    assert left_of(target) == []
    caa.copy(source, target).close()
    assert dumped(target) == dumped(source)


def left_of(target: str) -> list[str]:
    if "://" not in target:
        return [path.name for path in Path(target).parent.iterdir()]
    engine = create_engine(make_url(target))
    with engine.connect() as connection:
        tables = list(connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")))
    engine.dispose()
    return tables


def test_a_killed_copy_leaves_nothing_that_opens(source: str, place: Place) -> None:
    program = """
import os, signal, sys
from caa_registry.registry.maintenance.copies import copy
def kill(done, total):
    if done > 0.8 * total:
        os.kill(os.getpid(), signal.SIGKILL)
copy(sys.argv[1], sys.argv[2], progress=kill)
"""
    target = place()
    done = subprocess.run([sys.executable, "-c", program, source, target], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert look(target if "://" in target else f"sqlite:///{target}").state == "none"
    caa.copy(source, target).close()
    assert dumped(target) == dumped(source)


def test_what_arrives_otherwise_is_not_kept(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = rows.copy_rows

    def wrong(origin: object, target: object, progress: object) -> None:
        copied(origin, target, progress)  # type: ignore[arg-type]
        target.execute(text("UPDATE meta SET value = 'caa-registry 0' WHERE key = 'written_by'"))  # type: ignore[attr-defined]

    monkeypatch.setattr(rows, "copy_rows", wrong)
    target = empty_postgres()
    with pytest.raises(IntegrityError, match="table meta of the copy is not what was copied"):
        caa.copy(source, target)
    assert left_of(target) == []


def test_a_damaged_registry_is_not_copied(source: str, place: Place) -> None:
    change(Path(source), "UPDATE score SET value = 0.9 WHERE evaluation_id = 1 AND position = 0")
    target = place()
    with pytest.raises(IntegrityError, match="evaluation 1: its scores are not those that were stored") as caught:
        caa.copy(source, target)
    assert source in caught.value.message and f"--registry {source}" in caught.value.hint
    assert left_of(target) == []


def test_an_older_file_is_upgraded_in_the_copy_alone(tmp_path: Path, place: Place) -> None:
    path = tmp_path / "old.db"
    oldest_sqlite(path, tmp_path / "migrations")
    before = path.read_bytes()
    with caa.copy(path, place()) as registry:
        assert list(registry.datasets.ls()) == [] and registry.fsck().faults == ()
    assert path.read_bytes() == before


def test_an_older_server_is_upgraded_first(tmp_path: Path) -> None:
    oldest_sqlite(tmp_path / "old.db", tmp_path / "migrations")
    server = empty_postgres()
    Database.open(server, create=True, migrations=tmp_path / "migrations").close()
    with pytest.raises(RegistryError, match="has the older schema 0001") as caught:
        caa.copy(server, tmp_path / "new.db")
    assert "caa db upgrade --registry" in caught.value.hint and not (tmp_path / "new.db").exists()


def test_a_newer_one_names_the_version_needed(source: str, tmp_path: Path) -> None:
    server = new_postgres()
    newer = (
        "UPDATE caa_alembic_version SET version_num = '9999'",
        "UPDATE meta SET value = 'caa-registry 9.9.9' WHERE key = 'written_by'",
    )
    run(server, *newer)
    change(Path(source), *newer)
    for origin in (source, server):
        with pytest.raises(RegistryError, match="was written by a newer caa-registry") as caught:
            caa.copy(origin, tmp_path / "new.db")
        assert "caa-registry 9.9.9 or newer" in caught.value.hint
        assert ".caa-" not in caught.value.message and not (tmp_path / "new.db").exists()
    with pytest.raises(RegistryError, match="was written by a newer caa-registry") as caught:
        caa.restore(source, str(tmp_path / "new.db"))
    assert source in caught.value.message


def test_no_registry_to_copy(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for origin, target, words in (
        (str(tmp_path / "none.db"), str(tmp_path / "new.db"), r"there is no registry at .*none\.db"),
        (str(tmp_path / "notes.txt"), str(tmp_path / "new.db"), "is not a registry"),
        (empty_postgres(), str(tmp_path / "new.db"), "no registry at postgresql://"),
        ("", str(tmp_path / "new.db"), "the source of the copy is empty"),
        (str(tmp_path / "none.db"), " ", "the target of the copy is empty"),
    ):
        with pytest.raises((UsageError, RegistryError), match=words) as caught:
            caa.copy(origin, target)
        assert caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_registry_is_copied_from_where_nothing_can_be_written(unwritable: Path, place: Place) -> None:
    with caa.copy(unwritable, place()) as registry:
        assert registry.fsck().faults == ()
    assert [path.name for path in unwritable.parent.iterdir()] == ["registry.db"]


def test_a_copy_is_for_its_owner_only(source: str, tmp_path: Path) -> None:
    Path(source).chmod(0o644)
    caa.copy(source, tmp_path / "new" / "copy.db").close()
    assert (tmp_path / "new" / "copy.db").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
