"""A registry of the schema before descriptions gets them: who made its versions is known, and all of it is found."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from catalog.registry_fixtures import DIALECTS, empty_postgres, new_sqlite
from sqlalchemy import MetaData, insert, select, text
from sqlalchemy.orm import Session

from caa_registry.catalog.database import Database
from caa_registry.catalog.integrity.row_digests import digest_of_row
from caa_registry.catalog.models import Base
from caa_registry.catalog.schema import migrations_folder
from caa_registry.catalog.upgrade import upgrade
from caa_registry.registry.opening import open as open_registry

if TYPE_CHECKING:
    from caa_registry.models.model import Model

VERSIONS = ("dataset_version", "vector_version")


def copy_as_before(source: Session, target: Session, damaged: bool) -> None:
    """Copy what the older schema has of a registry, with the digests that it had; ``damaged``: but for the source of
    the questions."""
    older = MetaData()
    older.reflect(target.connection())
    for table in Base.metadata.sorted_tables:
        if table.name in ("meta", "search_entry") or table.name not in older.tables:
            continue
        known = older.tables[table.name].columns.keys()
        for row in source.execute(select(table)).mappings():
            cells: dict[str, Any] = {name: row[name] for name in known}
            if table.name in VERSIONS:
                cells["row_digest"] = digest_of_row(table.name, cells)
                if damaged and (table.name, cells["id"]) == ("dataset_version", 2):
                    cells["source"] = {"uri": "elsewhere"}
            target.execute(insert(table).values({table.c[name]: cell for name, cell in cells.items()}))
    head = source.scalar(text("SELECT value FROM meta WHERE key = 'audit_head'"))
    target.execute(text("INSERT INTO meta VALUES ('audit_head', :head)"), {"head": head})


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("damaged", [False, True], ids=["sound", "damaged"])
def test_an_older_registry_gets_what_is_said_of_versions(
    dialect: str, damaged: bool, tmp_path: Path, model: Model
) -> None:
    (tmp_path / "new").mkdir()
    made = new_sqlite(tmp_path / "new")
    questions = tmp_path / "questions.json"
    questions.write_text('[{"question": "Why is the sky blue?"}]')
    with open_registry(made, actor="ada", create=False) as registry:
        registry.datasets.add("team/set", pairs=[(f"Is {i}?\n (A) x\n (B) y", "(A)", "(B)") for i in range(4)])
        registry.vectors.compute("team/v", dataset="team/set", model=model)
        registry.vectors.combine("team/w", ["team/v"], operation="normalize")
    with open_registry(made, actor="bea", create=False) as registry:
        registry.datasets.import_(str(questions), name="team/questions")
    url = f"sqlite:///{tmp_path / 'older.db'}" if dialect == "sqlite" else empty_postgres()
    older = tmp_path / "older"
    shutil.copytree(migrations_folder(), older, ignore=shutil.ignore_patterns("0014_*", "__pycache__"))
    with (
        Database.open(made, create=False) as new,
        Database.open(url, create=True, migrations=older) as old,
        new.read() as source,
        old.write() as target,
    ):
        copy_as_before(source, target, damaged)
        if dialect == "postgresql":
            for table in ("dataset", "run", "event", "vector", "model", *VERSIONS):
                last = f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"
                target.execute(text(last))
    upgrade(url)
    with open_registry(url, actor="cid", create=False) as registry:
        faults = {fault.thing for fault in registry.fsck().faults}
        assert faults == ({"dataset team/questions:v1"} if damaged else set())
        assert registry.datasets.get("team/set").actor == "ada"
        assert [each.actor for each in registry.vectors.ls()] == ["ada", "ada"]
        if not damaged:
            assert registry.datasets.get("team/questions").actor == "bea"
        found = [(hit.kind, hit.reference) for hit in registry.search("set")]
        assert found == [("dataset", "team/set:v1"), ("vector", "team/v:v1"), ("vector", "team/w:v1")]
        assert [hit.kind for hit in registry.search("x y", limit=2)] == ["pair", "pair"]
        assert [hit.kind for hit in registry.search("sky")] == ["question"]
        registry.describe("team/set", text="Pairs.", licence="MIT")
        registry.tags.set("team/v", {"status": "reviewed"})
        registry.rename("team/w", "team/u")
        assert {fault.thing for fault in registry.fsck().faults} == faults
