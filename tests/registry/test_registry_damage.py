"""A damaged registry says so: whatever is changed behind its back is noticed where it is read."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.changed import change

import caa_registry as caa
from caa_registry.catalog.database import Database
from caa_registry.catalog.integrity.row_digests import digest_of_row
from caa_registry.catalog.schema import migrations_folder
from caa_registry.errors import IntegrityError, RegistryError
from caa_registry.registry.registry import Registry
from caa_registry.registry.vectors.tensors import load_layer

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "scripts"))

from damage import UNCOVERED, Views, make_unplanned, outcome, plan_and_calibrate, retire, views  # noqa: E402


@pytest.fixture(scope="module")
def unplanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("unplanned") / "registry.db"
    make_unplanned(path)
    return path


@pytest.fixture(scope="module")
def whole(unplanned: Path) -> Path:
    path = Path(shutil.copy(unplanned, unplanned.with_name("whole.db")))
    plan_and_calibrate(path)
    retire(path)
    return path


@pytest.fixture(scope="module")
def before(whole: Path) -> Views:
    return views(whole)


@pytest.fixture
def copy(tmp_path: Path, whole: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "copy.db"))


SWAP = "UPDATE pair SET positive = negative, negative = positive WHERE digest = (SELECT min(digest) FROM pair)"
LAYERS = (
    "UPDATE vector_layer SET layer = CASE layer WHEN 1 THEN 102 ELSE 101 END WHERE version_id = 1 AND layer IN (1, 2)"
)
BACK = "UPDATE vector_layer SET layer = layer - 100 WHERE layer > 100"

Read = Callable[[Registry], Any]
DAMAGES: dict[str, tuple[list[str], Read, str]] = {
    "sides swapped": (
        [SWAP],
        lambda r: r.vectors.compute("team/new", dataset="team/dishes:v1", model="demo"),
        r"pair sha256:\w+: its texts",
    ),
    "sides swapped, export": ([SWAP], lambda r: r.datasets.to_datasets("team/dishes:v1"), r"pair sha256:\w+"),
    "sides swapped, review": (
        [SWAP],
        lambda r: r.datasets.review_sheet("team/dishes:v1", Path("x.csv")),
        "pair sha256",
    ),
    "a test row trains": (
        ["UPDATE dataset_member SET split = 'generate' WHERE version_id = 1 AND position = 13"],
        lambda r: r.datasets.pairs("team/dishes:v1", "generate"),
        "dataset team/dishes:v1: its pairs",
    ),
    "metadata": (
        ["UPDATE dataset_member SET metadata = '{\"category\": \"x\"}' WHERE version_id = 1 AND position = 3"],
        lambda r: r.datasets.pairs("team/dishes:v1"),
        "dataset team/dishes:v1: its pairs",
    ),
    "a row that is gone, review": (
        ["DELETE FROM dataset_member WHERE version_id = 1 AND position = 0"],
        lambda r: r.datasets.reviews("team/dishes:v1"),
        "dataset team/dishes:v1: its pairs",
    ),
    "a question": (
        ["UPDATE dataset_question SET text = 'What?' WHERE position = 1"],
        lambda r: r.datasets.questions("team/questions"),
        "dataset team/questions:v1: its questions",
    ),
    "layers exchanged": (
        [LAYERS, BACK],
        lambda r: r.vectors.get("team/praise:v1"),
        "vector team/praise:v1: its layers",
    ),
    "a norm": (
        ["UPDATE vector_layer SET norm = norm * 2 WHERE version_id = 1 AND layer = 1"],
        lambda r: r.vectors.get("team/praise:v1"),
        "vector team/praise:v1: its layers",
    ),
    "a recipe": (
        ["UPDATE vector_version SET recipe = replace(recipe, 'float32', 'float16') WHERE id = 1"],
        lambda r: r.vectors.get("team/praise:v1"),
        "vector team/praise:v1: it is not what was stored",
    ),
    "a score": (
        ["UPDATE score SET value = value + 1e-9 WHERE evaluation_id = 1 AND position = 2"],
        lambda r: r.evaluations.ls(),
        "evaluation 1: its scores",
    ),
    "a score that is gone": (
        ["DELETE FROM score WHERE evaluation_id = 1 AND position = 2"],
        lambda r: r.evaluations.get(1),
        "evaluation 1: its scores",
    ),
    "settings": (
        ["UPDATE evaluation SET parameters = replace(parameters, 'float32', 'float16') WHERE id = 1"],
        lambda r: r.evaluations.get(1),
        "evaluation 1: it is not what was stored",
    ),
    "an answer": (
        ["UPDATE response SET text = text || '!' WHERE position = 1"],
        lambda r: r.evaluations.answers(3),
        "evaluation 3: its answers",
    ),
    "a rating": (
        ["UPDATE rating SET value = 9 WHERE position = 1"],
        lambda r: r.evaluations.judgements(3),
        "evaluation 3: the ratings",
    ),
    "statistics": (
        ["UPDATE dataset_version SET statistics = replace(statistics, '8', '9') WHERE id = 1"],
        lambda r: r.datasets.statistics("team/dishes:v1"),
        "dataset team/dishes:v1: it is not what was stored",
    ),
    "a recommendation": (
        ["UPDATE alias SET recommendation = replace(recommendation, '1.5', '-1.5') WHERE name = 'best'"],
        lambda r: r.aliases.get("team/praise:best"),
        "alias team/praise:best",
    ),
    "a name": (["UPDATE vector SET name = 'team/blame'"], lambda r: r.vectors.ls(), "vector team/blame"),
    "a name, aliases": (["UPDATE dataset SET name = 'x' WHERE id = 1"], lambda r: r.aliases.ls(), "dataset x"),
    "a judgement that is gone": (
        ["UPDATE judgement SET evaluation_id = 2"],
        lambda r: r.evaluations.judgements(3),
        "evaluation 3: it has ratings",
    ),
    "a review under another pair": (
        ["UPDATE review SET pair_digest = (SELECT pair_digest FROM review WHERE id = 3) WHERE id = 1"],
        lambda r: r.datasets.reviews("team/dishes:v1"),
        "review 1",
    ),
    "a lint report": (
        ["UPDATE lint_report SET findings = '[]'"],
        lambda r: r.datasets.lint_report("team/dishes:v1"),
        "dataset team/dishes:v1",
    ),
    "a recall": (["UPDATE recall SET lifted = 1"], lambda r: r.vectors.ls(), "recall 1"),
    "no JSON": (
        ["UPDATE evaluation SET parameters = '{' WHERE id = 2"],
        lambda r: r.evaluations.ls(),
        "evaluation 2: its parameters cannot be read",
    ),
    "a date that is none": (
        ["UPDATE dataset SET created_at = '2024-13-45' WHERE name = 'team/dishes'"],
        lambda r: r.datasets.ls(),
        "dataset team/dishes: its created_at cannot be read",
    ),
    "bytes for text": (
        ["UPDATE score SET metric = x'ff00' WHERE evaluation_id = 1 AND position = 2"],
        lambda r: r.evaluations.ls(),
        "evaluation 1: its metric cannot be read",
    ),
    "a plan's digest": (
        ["UPDATE plan SET digest = replace(digest, 'a', 'b')"],
        lambda r: r.evaluations.get(4),
        "plan team/plan: it is not what was stored",
    ),
    "a plan that is gone": (
        ["DELETE FROM plan"],
        lambda r: r.evaluations.ls(),
        "evaluation 4: the plan that it followed is missing",
    ),
    "a run of a plan that is gone": (
        ["DELETE FROM evaluation WHERE id = 4"],
        lambda r: r.plans.ls(),
        "evaluation 4: it followed a plan, and is missing",
    ),
    "what was asked before a plan": (
        ["DELETE FROM evaluation WHERE id = 1"],
        lambda r: r.plans.asked_before(r.plans.get("team/plan")),
        "evaluation 1: it was recorded, and a part of it is missing",
    ),
    "a verdict": (
        ["UPDATE run SET parameters = replace(parameters, 'too few', 'enough') WHERE kind = 'calibrate'"],
        lambda r: r.evaluations.leaderboard(),
        r"run \d+: it is not what was stored",
    ),
    "a verdict that is gone": (
        ["DELETE FROM run WHERE kind = 'calibrate'"],
        lambda r: r.evaluations.leaderboard(),
        r"run \d+: a calibration was recorded as it, and it is missing",
    ),
    "who made an evaluation": (
        ["DELETE FROM run WHERE kind = 'evaluate'"],
        lambda r: r.reports.tables("team/praise:v1"),
        "evaluation 1: it was recorded, and a part of it is missing",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_an_error_that_names_the_object(
    name: str, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements, read, message = DAMAGES[name]
    monkeypatch.chdir(tmp_path)
    change(copy, *statements)
    with caa.open(str(copy)) as registry:
        vectors = [version.reference for version in registry.vectors.ls()] if name.startswith("sides") else None
        with pytest.raises(IntegrityError, match=message):
            read(registry)
        if vectors is not None:
            assert [version.reference for version in registry.vectors.ls()] == vectors
            assert not Path("x.csv").exists()


def test_a_layer_is_compared_with_the_version(copy: Path) -> None:
    """As of a registry whose digests of rows were written anew: that of the version says which layer has which."""
    with caa.open(str(copy)) as registry:
        version = registry.vectors.get("team/praise:v1")
        one, two = version.layers[-2:]
        others = [replace(two, layer=one.layer), replace(one, layer=two.layer)]
        other = replace(version, layers=(*version.layers[:-2], *others))
        assert load_layer(registry.workspace, version, one.layer).sha256 == one.sha256
        with pytest.raises(
            IntegrityError, match=f"the row of layer {one.layer} of team/praise:v1 does not fit its file"
        ):
            load_layer(registry.workspace, other, one.layer)
        moved = replace(version, layers=(*version.layers[:-2], replace(one, offset=two.offset), two))
        with pytest.raises(IntegrityError, match=f"layer {one.layer} of team/praise:v1 does not match its digest"):
            load_layer(registry.workspace, moved, one.layer)


def test_a_schema_that_is_no_text_is_said(copy: Path) -> None:
    copy.write_bytes(copy.read_bytes().replace(b"CREATE TABLE alias", b"CREATE \xa7\xa7BLE alias"))
    with pytest.raises(RegistryError, match=r"copy\.db"):
        caa.open(str(copy))


def test_who_made_a_version_is_checked(copy: Path) -> None:
    change(copy, "UPDATE dataset_version SET actor = 'eve' WHERE id = 1")
    with caa.open(str(copy)) as registry, pytest.raises(IntegrityError, match="dataset team/dishes:v1"):
        registry.datasets.log("team/dishes")


def test_a_plan_is_compared_with_what_it_said(copy: Path) -> None:
    """Also where the digest of its row was written anew: the audit has that of its terms."""
    change(copy, "UPDATE plan SET terms = json_set(terms, '$.draws', 20)")
    with (
        caa.open(str(copy)) as registry,
        pytest.raises(IntegrityError, match="plan team/plan: it is not what was stored"),
    ):
        registry.plans.get("team/plan")
    with closing(sqlite3.connect(copy)) as connection:
        connection.row_factory = sqlite3.Row
        row = dict(connection.execute("SELECT * FROM plan").fetchone())
    terms, moment = json.loads(row["terms"]), datetime.fromisoformat(row["created_at"]).replace(tzinfo=UTC)
    digest = digest_of_row("plan", {**row, "terms": terms, "created_at": moment})
    change(copy, f"UPDATE plan SET row_digest = '{digest}'")
    with caa.open(str(copy)) as registry, pytest.raises(IntegrityError, match="plan team/plan: its terms are not"):
        registry.plans.get("team/plan")


def test_a_calibration_whose_run_names_no_role_has_its_verdict(copy: Path, before: Views) -> None:
    """As the first runs with a verdict were written; runs before them have none."""
    change(copy, "UPDATE run_io SET role = '' WHERE role = 'calibrated'")
    assert views(copy)["leaderboard"] == before["leaderboard"]
    assert '"verdict": "failed: ' in before["leaderboard"]


def test_a_lineage_that_leads_to_nothing_is_said(copy: Path) -> None:
    change(copy, "UPDATE vector_version SET id = 77 WHERE id = 2")
    with caa.open(str(copy)) as registry, pytest.raises(IntegrityError, match="vector 2: the lineage leads to it"):
        registry.lineage("team/dishes:v1")


@pytest.mark.long
def test_damages_of_all_kinds_are_noticed(whole: Path, before: Views, tmp_path: Path) -> None:
    outcomes = [outcome(whole, before, tmp_path / "copy.db", seed) for seed in range(5000, 5040)]
    assert [found for found in outcomes if found.kind in ("silent", "untyped")] == []
    assert {"harmless", "reported"} <= {found.kind for found in outcomes}


def test_what_no_check_covers_is_documented() -> None:
    text = (ROOT / "docs" / "durability.md").read_text(encoding="utf-8")
    documented = {
        (table, column)
        for tables, columns in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (`\w+`(?:, `\w+`)*) \|$", text, re.MULTILINE)
        for table in re.findall(r"\w+", tables)
        for column in re.findall(r"\w+", columns)
    }
    assert {(table, column) for table, columns in UNCOVERED.items() for column in columns} <= documented


@pytest.fixture
def older(tmp_path: Path, unplanned: Path) -> Path:
    """A registry as the release before the digests of rows wrote it."""
    folder = tmp_path / "migrations"
    newer = ("0008_*", "0009_*", "0010_*", "0011_*", "0012_*", "0013_*", "0014_*", "__pycache__")
    shutil.copytree(migrations_folder(), folder, ignore=shutil.ignore_patterns(*newer))
    path = tmp_path / "older.db"
    Database.open(f"sqlite:///{path}", create=True, migrations=folder).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ATTACH DATABASE ? AS new", (str(unplanned),))
        tables = [row[0] for row in connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")]
        for table in tables:
            if not table.startswith(("sqlite_", "caa_", "meta")):
                columns = ", ".join(f'"{row[1]}"' for row in connection.execute(f"PRAGMA main.table_info({table})"))
                connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}")
        connection.commit()
    return path


def test_an_older_registry_gets_digests_and_a_date(older: Path, unplanned: Path) -> None:
    now, before = views(older), views(unplanned)
    marks = re.compile(r'"unchecked_before": "[^"]+"')
    assert marks.search(now["vectors"]) and not marks.search(before["vectors"])
    assert {name: marks.sub('"unchecked_before": null', said) for name, said in now.items()} == before


@pytest.mark.parametrize(
    ("statements", "view", "message"),
    [
        ([SWAP], "dataset team/dishes:v1", "dataset team/dishes:v1: it was damaged before"),
        ([LAYERS, BACK], "vector team/praise:v1", "vector team/praise:v1: it was damaged before"),
        (
            ["UPDATE vector_version SET recipe = '{}' WHERE id = 1"],
            "vector team/praise:v1",
            "vector team/praise:v1: it was damaged",
        ),
        (["UPDATE evaluation SET parameters = '{' WHERE id = 1"], "evaluation 1", "evaluation 1: "),
    ],
)
def test_damage_from_before_an_upgrade_stays_damage(
    older: Path, statements: list[str], view: str, message: str
) -> None:
    change(older, *statements)
    assert message in views(older)[view]
