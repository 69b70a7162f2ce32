from __future__ import annotations

import pytest
from catalog.catalog_rows import NOW, D, fill
from sqlalchemy import delete, text, update
from sqlalchemy.exc import IntegrityError

from caa_registry.catalog.database import Database
from caa_registry.catalog.models import Base, DatasetVersion, Evaluation, Pair, Rating, VectorVersion

MOVABLE = {"dataset", "vector", "alias", "meta", "tag", "amendment", "search_entry"}
# Of what is movable the columns that are not.
KEPT = {
    "dataset": ("id", "kind", "unchecked_before", "created_at"),
    "vector": ("id", "unchecked_before", "created_at"),
    "tag": ("id", "dataset_version_id", "vector_version_id", "key", "unchecked_before"),
    "amendment": ("id", "dataset_version_id", "vector_version_id", "unchecked_before"),
}
MARKED = {"dataset_version", "vector_version", "evaluation"}
CHILDREN = {
    "dataset_member": DatasetVersion,
    "dataset_question": DatasetVersion,
    "vector_layer": VectorVersion,
    "score": Evaluation,
    "response": Evaluation,
    "rating": Evaluation,
    "judgement": Evaluation,
    "lint_report": DatasetVersion,
}
FIXED = sorted(set(Base.metadata.tables) - MOVABLE)


@pytest.fixture
def filled(database: Database) -> Database:
    with database.write() as session:
        fill(session)
    return database


def refuse(database: Database, statement: str) -> str:
    with pytest.raises(IntegrityError) as caught, database.write() as session:
        session.execute(text(statement))
    return str(caught.value.orig)


def test_no_column_of_what_was_written_can_change(filled: Database) -> None:
    for name in FIXED:
        for column in Base.metadata.tables[name].columns:
            if (name in MARKED and column.name == "deleted_at") or (name, column.name) in (
                ("model", "path"),
                ("model", "adapter_path"),
                ("blob", "stored_at"),
            ):
                continue
            said = refuse(filled, f'UPDATE {name} SET "{column.name}" = "{column.name}"')
            assert f"{name} cannot be changed" in said


@pytest.mark.parametrize("name", KEPT)
def test_of_what_may_change_the_rest_cannot(filled: Database, name: str) -> None:
    for column in KEPT[name]:
        assert f"{name} cannot be changed" in refuse(filled, f"UPDATE {name} SET {column} = {column}")


def test_versions_and_evaluations_go_only_when_marked(filled: Database) -> None:
    for name in sorted(MARKED):
        assert f"{name} is not marked deleted" in refuse(filled, f"DELETE FROM {name}")


def test_what_a_version_holds_goes_only_when_it_is_marked(filled: Database) -> None:
    for name, parent in CHILDREN.items():
        table = Base.metadata.tables[name]
        assert f"belongs to a {parent.__tablename__}" in refuse(filled, f"DELETE FROM {name}")
        with filled.write() as session:
            session.execute(update(parent).values(deleted_at=NOW))
            if name == "judgement":
                session.execute(delete(Rating))
            session.execute(delete(table))
            assert session.execute(table.select()).first() is None
            session.rollback()


def test_a_mark_can_be_set_and_taken_back(filled: Database) -> None:
    for model in (DatasetVersion, VectorVersion, Evaluation):
        with filled.write() as session:
            session.execute(update(model).values(deleted_at=NOW))
        with filled.write() as session:
            session.execute(update(model).values(deleted_at=None))
        assert "not marked deleted" in refuse(filled, f"DELETE FROM {model.__tablename__}")


@pytest.mark.parametrize("table", ["review", "recall", "plan", "deprecation", "quarantine", "signature", "amendment"])
def test_what_was_said_never_goes(filled: Database, table: str) -> None:
    assert f"{table} is append-only" in refuse(filled, f"DELETE FROM {table}")


def test_events_never_go(filled: Database) -> None:
    assert "event is append-only" in refuse(filled, "DELETE FROM event")


def test_a_pair_in_use_cannot_go(filled: Database) -> None:
    with pytest.raises(IntegrityError), filled.write() as session:
        session.execute(delete(Pair))


def test_replacing_does_not_pass_by_the_triggers(sqlite_database: Database) -> None:
    with sqlite_database.write() as session:
        fill(session)
    said = refuse(sqlite_database, f"INSERT OR REPLACE INTO dataset_member VALUES (1, 0, '{D}', 'test', '{{}}')")
    assert "belongs to a dataset_version that is not marked deleted" in said
