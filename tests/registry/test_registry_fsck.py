"""Checking a whole registry: nothing is found where nothing is wrong, and what was tampered with is named."""

from __future__ import annotations

import random
import shutil
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from catalog.registry_fixtures import new_postgres
from registry.registry_support import jsonl, letters
from sqlalchemy import text
from support.changed import change
from support.tried import Tried, listed

import caa_registry as caa
from caa_registry.errors import CaaError
from caa_registry.registry.records import Fault

if TYPE_CHECKING:
    from caa_registry.models.model import Model

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "scripts"))

from damage import changed_cells, damage  # noqa: E402

# What fsck cannot know: where a model's files were last seen, since when a row is checked, and a tag's number, to which
# nothing refers.
UNKNOWN = {
    ("tag", "*"),
    *(("model", column) for column in ("tensors", "path", "adapter_path")),
    *((table, "unchecked_before") for table in ("dataset_version", "vector_version", "evaluation", "model", "run")),
    ("meta", "value"),
}


@pytest.fixture
def copy(tmp_path: Path, whole: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "copy.db"))


def found(path: Path) -> list[Fault]:
    with caa.open(str(path)) as registry:
        return list(registry.fsck().faults)


def test_a_whole_registry_has_nothing_wrong(whole: Path) -> None:
    seen: list[tuple[int, int]] = []
    with caa.open(str(whole)) as registry:
        report = registry.fsck(progress=lambda done, total: seen.append((done, total)))
        assert report.faults == () and report.damage == ()
        assert {
            "datasets": 3,
            "vectors": 5,
            "evaluations": 9,
            "plans": 1,
            "pairs": 14,
        }.items() <= report.checked.items()
        later = registry.fsck(since=datetime.now(UTC) + timedelta(days=1))
    assert later.faults == () and "vectors" not in later.checked and later.checked["rows"] > report.checked["rows"]
    assert all(done <= total for done, total in seen) and seen[-1] == (1, 1)


# One of each table, of the kind that reading a version does not always meet.
TAMPERED: dict[str, tuple[list[str], tuple[str, str, str]]] = {
    "pair": (
        ["UPDATE pair SET positive = negative, negative = positive WHERE digest = (SELECT min(digest) FROM pair)"],
        ("pairs", "pair sha256:", "its texts are not those that were stored"),
    ),
    "dataset": (
        ["UPDATE dataset SET name = 'other/name' WHERE id = 2"],
        ("rows", "dataset other/name", "it is not what"),
    ),
    "dataset_version": (
        ["UPDATE dataset_version SET licence = 'MIT' WHERE id = 1"],
        ("datasets", "dataset team/dishes:v1", "it is not what was stored"),
    ),
    "dataset_member": (
        [
            "INSERT INTO dataset_member SELECT version_id, 99, pair_digest, split, metadata FROM dataset_member "
            "WHERE version_id = 1 AND position = 0"
        ],
        ("datasets", "dataset team/dishes:v1", "its pairs are not those that were stored"),
    ),
    "dataset_question": (
        ["UPDATE dataset_question SET text = 'Why?' WHERE position = 0"],
        ("datasets", "dataset team/questions:v1", "its questions are not those that were stored"),
    ),
    "lint_report": (
        ["DELETE FROM lint_report WHERE id = 1"],
        ("numbering", "table lint_report", "it lacks rows, which are never deleted: 1"),
    ),
    "review": (
        ["UPDATE review SET state = 'rejected' WHERE id = 1"],
        ("rows", "review 1", "it is not what was stored"),
    ),
    "recall": (["DELETE FROM recall WHERE id = 1"], ("events", "event ", "it tells of recall 1, which is missing")),
    "model": (["UPDATE model SET n_layers = 7"], ("rows", "model demo", "it is not what was stored")),
    "vector": (
        ["UPDATE vector SET name = 'team/other' WHERE id = 1"],
        ("events", "event ", "it tells of vector team/praise:v1, which is missing"),
    ),
    "vector_version": (
        [
            "DELETE FROM vector_layer WHERE version_id = 2",
            "DELETE FROM vector_version WHERE id = 2",
        ],
        ("events", "event ", "it tells of vector team/praise:v2, which is missing"),
    ),
    "vector_layer": (
        ["UPDATE vector_layer SET norm = norm * 2 WHERE layer = 1 AND version_id = 1"],
        ("vectors", "vector team/praise:v1", "its layers are not those that were stored"),
    ),
    "plan": (
        ["UPDATE plan SET terms = json_set(terms, '$.split', 'generate')"],
        ("rows", "plan team/plan", "it is not what"),
    ),
    "evaluation": (
        ["UPDATE evaluation SET metric = 'other' WHERE id = 2"],
        ("evaluations", "evaluation 2", "it is not what was stored"),
    ),
    "score": (
        ["UPDATE score SET value = 0.99 WHERE evaluation_id = 1 AND position = 0"],
        ("evaluations", "evaluation 1", "its scores are not those that were stored"),
    ),
    "response": (
        ["UPDATE response SET text = 'Fine.' WHERE position = 0"],
        ("evaluations", "evaluation 3", "its answers are not those that were stored"),
    ),
    "judgement": (
        ["UPDATE judgement SET judge = json_object('kind', 'x')"],
        ("rows", "evaluation 3", "it is not what"),
    ),
    "rating": (
        ["UPDATE rating SET value = 9 WHERE position = 0"],
        ("evaluations", "evaluation 3", "the ratings of its judgement 1 are not as stored"),
    ),
    "deprecation": (
        ["UPDATE deprecation SET successor = 'team/other:v1'"],
        ("rows", "deprecation 1", "it is not what was stored"),
    ),
    "quarantine": (
        ["UPDATE quarantine SET lifted = 1"],
        ("rows", "quarantine 1", "it is not what was stored"),
    ),
    "signature": (
        ["DELETE FROM signature"],
        ("events", "event ", "it tells of signature 1, which is missing"),
    ),
    "run": (
        [
            "INSERT INTO run SELECT 99, kind, parameters, environment, actor, started_at, finished_at, row_digest, "
            "unchecked_before, failure, NULL FROM run WHERE id = 1"
        ],
        ("events", "run 99", "no event tells of it: it was not written by caa"),
    ),
    "run_io": (
        ["UPDATE run_io SET object_id = 2 WHERE direction = 'input' AND kind = 'vector' AND object_id = 1"],
        ("rows", "run ", "what it read and made is not what was stored"),
    ),
    "event": (["UPDATE event SET actor = 'nobody' WHERE id = 2"], ("events", "the log", "event 2 (")),
    "alias": (
        ["UPDATE alias SET vector_version_id = 2 WHERE vector_version_id = 1"],
        ("rows", "alias team/praise:best", "it is not"),
    ),
    "tag": (
        ["UPDATE tag SET value = 'wrong' WHERE id = 1"],
        ("rows", "tag 1", "it is not what was stored"),
    ),
    "amendment": (
        ["DELETE FROM amendment WHERE licence IS NOT NULL"],
        ("events", "dataset team/dishes:v1", "its licence is not as the last event about it says"),
    ),
    "search_entry": (
        ["UPDATE search_entry SET text = 'other words' WHERE id = 3"],
        ("search", "the index of words", "1 entry is wrong and 1 entry is missing"),
    ),
    "search_index": (
        ["INSERT INTO search_index (search_index, rowid, text) SELECT 'delete', id, text FROM search_entry LIMIT 1"],
        ("search", "the index of words", "it is not that of its entries"),
    ),
    "blob": (["UPDATE blob SET data = zeroblob(length(data))"], ("vectors", "vector team/praise:v1", "")),
    "meta": (
        ["UPDATE meta SET value = 'x' WHERE key = 'audit_head'"],
        ("events", "the log", "events are missing from the end"),
    ),
}


@pytest.mark.parametrize("table", TAMPERED)
def test_what_was_tampered_with_is_named(table: str, copy: Path) -> None:
    statements, (check, thing, problem) = TAMPERED[table]
    change(copy, *statements)
    faults = found(copy)
    assert any(
        each.check == check and each.thing.startswith(thing) and problem in each.problem and not each.harmless
        for each in faults
    ), faults


def test_there_is_a_tampering_for_every_table(whole: Path) -> None:
    with closing(sqlite3.connect(whole)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    # Those behind the table of the index belong to SQLite.
    assert {name for name in tables if not name.startswith(("sqlite_", "caa_", "search_index_"))} == set(TAMPERED)


def test_a_row_that_refers_to_nothing_is_named(copy: Path) -> None:
    change(
        copy, "DELETE FROM pair WHERE digest = (SELECT pair_digest FROM dataset_member WHERE version_id = 1 LIMIT 1)"
    )
    faults = found(copy)
    assert Fault("references", "dataset team/dishes:v1", "its pair_digest names a pair that is missing") in faults


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        (
            f"UPDATE dataset_version SET number = {2**62} WHERE id = 3",
            ("numbering", "dataset team/dishes", f"it lacks versions: 2-{2**62 - 1}"),
        ),
        (
            "DELETE FROM tag WHERE id = 1",
            ("events", "vector team/praise:v1", "its tag status is not as the last event about it says"),
        ),
        ("DELETE FROM meta WHERE key = 'written_by'", ("rows", "meta written_by", "it is missing")),
        (
            "UPDATE dataset_question SET position = -1 WHERE position = 0",
            ("numbering", "dataset version 2", "its rows are not numbered from 0 on, each once"),
        ),
        (
            "UPDATE lint_report SET id = 0",
            ("numbering", "table lint_report", "its row 0 has a number that the database never gave"),
        ),
        *(
            (
                f"INSERT INTO {table} ({columns}, row_digest) SELECT {columns}, row_digest FROM {table} WHERE id = 1",
                ("events", f"{kind} 2", "no event tells of it: it was not written by caa"),
            )
            for table, kind, columns in (
                ("recall", "recall", "pair_digest, version_id, lifted, why, actor, created_at"),
                ("lint_report", "report", "version_id, parameters, summary, findings, actor, created_at"),
            )
        ),
    ],
)
def test_what_no_digest_covers_is_looked_at_too(copy: Path, statement: str, fault: tuple[str, str, str]) -> None:
    change(copy, statement)
    assert fault in [(each.check, each.thing, each.problem) for each in found(copy)]


@pytest.mark.parametrize(
    ("statement", "thing", "problem"),
    [
        ("DELETE FROM sqlite_sequence WHERE name = 'run'", "run", "the last number that the database gave is missing"),
        ("UPDATE sqlite_sequence SET name = 'x' WHERE name = 'alias'", "x", "and there is no such table"),
        (
            "INSERT INTO sqlite_sequence SELECT * FROM sqlite_sequence WHERE name = 'run'",
            "run",
            "its last number twice",
        ),
        (f"UPDATE sqlite_sequence SET seq = {2**62} WHERE name = 'run'", "run", f"-{2**62}"),
        ("UPDATE sqlite_sequence SET seq = 0 WHERE name = 'alias'", "alias", "a number that the database never gave"),
    ],
)
def test_the_numbers_that_the_database_gave_are_looked_at(copy: Path, statement: str, thing: str, problem: str) -> None:
    change(copy, statement)
    assert any(
        (each.check, each.thing) == ("numbering", f"table {thing}") and problem in each.problem for each in found(copy)
    )


def test_damage_does_not_hide_more_damage(copy: Path) -> None:
    change(
        copy,
        "UPDATE score SET value = 0.99 WHERE evaluation_id IN (1, 2) AND position = 0",
        "UPDATE review SET state = 'rejected'",
        "UPDATE dataset_version SET message = X'ff' WHERE id = 2",
    )
    faults = found(copy)
    things = {fault.thing for fault in faults}
    assert {"evaluation 1", "evaluation 2", "review 1", "dataset team/questions:v1"} <= things, things


@pytest.mark.parametrize(
    "statement",
    [
        *(
            f"UPDATE event SET subject = '{subject}' WHERE action = '{action}'"
            for action in ("set-alias", "compute", "delete")
            for subject in (
                '{"kind": "dataset"}',
                "[1]",
                "null",
                '{"run": [1]}',
                '{"vectors": 5}',
                '{"plan": [5]}',
                "1",
            )
            if action != "delete"
        ),
        *(
            f"UPDATE {table} SET {column} = {value} WHERE rowid = 1"
            for table, column in (
                ("pair", "prompt"),
                ("dataset", "name"),
                ("run", "actor"),
                ("run", "kind"),
                ("meta", "value"),
                ("dataset_version", "digest"),
                ("dataset_version", "number"),
                ("dataset_member", "position"),
                ("run_io", "object_id"),
                ("alias", "name"),
                ("score", "metric"),
            )
            for value in ("CAST(X'ff' AS TEXT)", "X'ff'", "'x'", "1.5")
        ),
    ],
)
def test_whatever_a_cell_holds_there_is_a_report(copy: Path, statement: str) -> None:
    try:
        change(copy, statement)
    except sqlite3.IntegrityError:
        pytest.skip("SQLite does not take that")
    with caa.open(str(copy)) as registry:
        report = registry.fsck()
    assert report.damage
    assert {"database", "references", "rows", "blobs"} <= report.checked.keys()


def test_bytes_that_nothing_refers_to_are_harmless(copy: Path) -> None:
    with caa.open(str(copy)) as registry:
        digest = registry.blobs.put(b"left by a writer that was killed")
        report = registry.fsck()
        assert [(each.check, each.thing, each.harmless) for each in report.faults] == [
            ("blobs", f"blob {digest}", True)
        ]
        assert report.damage == ()
    change(copy, f"UPDATE blob SET data = X'00' WHERE digest = '{digest}'")
    assert any("do not match its digest" in fault.problem for fault in found(copy))


def test_a_postgres_registry_is_checked(model: Model, tmp_path: Path) -> None:
    sources = {name: jsonl(tmp_path / f"{name}.jsonl", letters(4, about=name)) for name in ("generate", "test")}
    with caa.open(new_postgres()) as registry:
        pairs = registry.datasets.import_(sources, name="team/pairs")
        vector = registry.vectors.compute("team/vector", dataset=pairs, model=model)
        registry.evaluations.propensity(
            vector, dataset=pairs, split="test", model=model, layers=[1], multipliers=[-1, 0, 1]
        )
        registry.aliases.set("team/vector", "best")
        assert registry.fsck().faults == ()
        with registry.database.write() as session:
            session.execute(text("ALTER TABLE score DISABLE TRIGGER ALL"))
            session.execute(text("UPDATE score SET value = 0.5 WHERE position = 0"))
            session.execute(text("ALTER TABLE blob DISABLE TRIGGER ALL"))
            session.execute(text("DELETE FROM blob WHERE digest = (SELECT blob_digest FROM vector_version)"))
        faults = registry.fsck().faults
    assert {(fault.check, fault.thing) for fault in faults} == {
        ("evaluations", "evaluation 1"),
        ("vectors", "vector team/vector:v1"),
    }


def test_random_damage_is_found(whole: Path, tmp_path: Path, tried: Tried) -> None:
    """Bytes, pages and cells. ``scripts/check_damage.py --fsck`` does more of it."""
    outcomes: Counter[str] = Counter()
    for seed in range(60):
        copy = tmp_path / f"{seed}.db"
        shutil.copy(whole, copy)
        what = damage(copy, random.Random(seed), seed)
        different = changed_cells(whole, copy)
        try:
            outcome = "found" if any(not each.harmless for each in found(copy)) else "clean"
        except CaaError:
            outcome = "refused"
        if outcome == "clean":
            assert different <= UNKNOWN, (seed, what, sorted(different))
        outcomes[outcome] += 1
    assert outcomes["found"] > 15 and outcomes["refused"] > 5, outcomes
    tried(f"{outcomes.total()} damages, {listed(outcomes)}")
