from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from catalog.catalog_rows import fill
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

import caa_registry
from caa_registry.catalog.database import Database
from caa_registry.catalog.models import Base
from caa_registry.catalog.schema import (
    VERSION_TABLE,
    current_revision,
    head_revision,
    migrations_folder,
    revisions,
)

TRIGGERS = {
    *(f"keep_{table}_update" for table in Base.metadata.tables),
    "keep_model_tensors_update",
    *(f"keep_{table}_delete" for table in ("dataset_version", "vector_version", "evaluation", "event")),
    *(f"keep_{table}_delete" for table in ("dataset_member", "dataset_question", "vector_layer", "score")),
    *(f"keep_{table}_delete" for table in ("response", "judgement", "rating")),
    *(f"keep_{table}_delete" for table in ("lint_report", "review", "recall", "plan", "deprecation")),
    *(f"keep_{table}_delete" for table in ("quarantine", "signature", "amendment")),
} - {f"keep_{table}_update" for table in ("alias", "meta", "search_entry")}


def is_mapped(_object: object, name: str | None, kind: str, reflected: bool, _other: object) -> bool:
    """Whether something is a table of the models, or of one: the index of words is written by hand."""
    of_words = (name or "").startswith("search_index") or name == "ix_search_entry_text"
    return not (reflected and kind in ("table", "index") and of_words)


def test_models_match_the_migrated_tables(database: Database) -> None:
    with database.read() as session:
        context = MigrationContext.configure(
            session.connection(),
            opts={"compare_type": True, "version_table": VERSION_TABLE, "include_object": is_mapped},
        )
        assert compare_metadata(context, Base.metadata) == []


def test_every_table_takes_a_row(database: Database) -> None:
    with database.write() as session:
        fill(session)
    with database.read() as session:
        for name, table in Base.metadata.tables.items():
            assert session.execute(table.select()).first() is not None, name


def test_triggers_are_there(database: Database) -> None:
    query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    if database.dialect == "postgresql":
        query = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
    with database.read() as session:
        assert set(session.scalars(text(query))) == TRIGGERS


def test_revisions_are_those_alembic_sees() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [head_revision()]
    assert [found.revision for found in script.walk_revisions()][::-1] == revisions(migrations_folder())


def test_registry_says_who_wrote_it(database: Database) -> None:
    with database.read() as session:
        assert current_revision(session.connection()) == head_revision()
        written_by = session.scalar(text("SELECT value FROM meta WHERE key = 'written_by'"))
    assert written_by == f"caa-registry {caa_registry.__version__}"


def test_migrations_are_found_inside_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "100%s of it" / "caa_registry"
    shutil.copytree(migrations_folder(), package / "migrations")
    monkeypatch.setattr("caa_registry.package._FOLDER", package)
    assert migrations_folder() == package / "migrations"
    Database.open(f"sqlite:///{tmp_path}/a.db", create=True).close()


@pytest.mark.parametrize("direction", ["input", "output", "both"])
@pytest.mark.parametrize("kind", ["dataset", "model", "vector", "evaluation", "plan", "pair"])
def test_runs_read_and_make_what_has_a_lineage(database: Database, direction: str, kind: str) -> None:
    insert = f"INSERT INTO run_io (run_id, direction, kind, object_id, role) VALUES (1, '{direction}', '{kind}', 7, '')"
    allowed = direction != "both" and kind != "pair"
    with nullcontext() if allowed else pytest.raises(IntegrityError), database.write() as session:
        fill(session)
        session.execute(text(insert))


@pytest.mark.parametrize("kind", ["neither", "dataset", "vector", "both"])
def test_alias_points_to_one_version_of_its_kind(sqlite_database: Database, kind: str) -> None:
    columns = {"neither": "", "dataset": "dataset_version_id", "vector": "vector_version_id"}
    with sqlite_database.write() as session:
        fill(session)
        insert = "INSERT INTO alias (kind, owner_id, name, updated_at{}) VALUES ('dataset', 1, 'x', 0{})"
        if kind == "both":
            statement = insert.format(", dataset_version_id, vector_version_id", ", 1, 1")
        else:
            column = columns[kind]
            statement = insert.format(f", {column}" if column else "", ", 1" if column else "")
        if kind == "dataset":
            session.execute(text(statement))
        else:
            with pytest.raises(Exception, match="ck_alias_target"):
                session.execute(text(statement))
