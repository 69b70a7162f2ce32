"""Curated versions: their recipes, and that these give the same pairs again, wherever they are followed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from catalog.registry_fixtures import new_sqlite
from registry.registry_support import check_consistent, dump, jsonl, letters

from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.curation.operations import OPERATIONS, Dedupe, Expand, Filter, Merge, Relabel, Sample
from caa_registry.registry.opening import open as open_registry
from caa_registry.registry.records import DatasetVersion
from caa_registry.registry.registry import Registry


def test_an_operation_makes_the_next_version(url: str, tmp_path: Path) -> None:
    with open_registry(url, create=False) as registry:
        rows = letters(6)
        source = jsonl(tmp_path / "a.jsonl", [*rows, rows[0]])
        first = registry.datasets.import_(source, name="team/a", licence="MIT", behavior="b")
        done = registry.datasets.curate(Dedupe(), first, message="no repeats")
        version = done.version
        assert version is not None and (version.reference, version.parent) == ("team/a:v2", "team/a:v1")
        assert (version.n_items, version.licence, version.behavior, version.message) == (6, "MIT", "b", "no repeats")
        assert (done.removed, done.added, done.before, done.after) == (1, 0, {"generate": 7}, {"generate": 6})
        source = version.source.to_json()
        assert source["operation"] == {"name": "dedupe", "parameters": {"near": "0.8", "questions": False}}
        assert source["inputs"] == [{"reference": "team/a:v1", "digest": first.digest}]
        lineage = registry.lineage("dataset:team/a:v2")
        (made_from,) = lineage.inputs(lineage.root)
        assert made_from.reference == "team/a:v1"
        # Once more there is nothing to do, and into another dataset it is the same pairs.
        assert registry.datasets.curate(Dedupe(), "team/a").version is None
        other = registry.datasets.curate(Dedupe(), "team/a", name="team/b").version
        assert other is not None and (other.reference, other.digest) == ("team/b:v1", version.digest)
        again = registry.datasets.curate(Dedupe(), first).version
        assert again is not None and again.existing and again.reference == "team/a:v2"
        check_consistent(registry)


def test_a_dry_run_and_a_refusal_write_nothing(registry: Registry, pairs: DatasetVersion, tmp_path: Path) -> None:
    questions = registry.datasets.import_(jsonl(tmp_path / "q.jsonl", [{"question": "Why?"}]), name="team/q")
    other = registry.datasets.import_(jsonl(tmp_path / "o.jsonl", letters(2, about="what")), name="team/other")
    (path,) = tmp_path.glob("*.db")
    before = dump(f"sqlite:///{path}")
    done = registry.datasets.curate(Filter("split == 'test'"), pairs, dry_run=True)
    assert done.version is None and done.removed == 4 and len(done.examples["removed"]) == 3
    for operation, references, parameters in (
        ("filter", [pairs], {"expression": "False"}),
        ("filter", [pairs], {"expression": "nothing"}),
        ("filter", [questions], {"expression": "True"}),
        ("merge", [pairs, other], {}),
        ("balance", [pairs, pairs], {}),
        ("sample", [pairs], {"n": 0}),
        ("drop", [pairs], {"rows": [{"pair": f"sha256:{'0' * 64}", "split": "test"}], "why": ""}),
    ):
        with pytest.raises((UsageError, InputError)):
            registry.datasets.curate(OPERATIONS[operation](**parameters), *references)
    assert dump(f"sqlite:///{path}") == before


def test_a_set_that_is_only_compared_with_gives_nothing(registry: Registry, tmp_path: Path) -> None:
    rows = letters(6)
    registry.datasets.import_(jsonl(tmp_path / "a.jsonl", rows), name="team/a", licence="MIT")
    registry.datasets.import_(jsonl(tmp_path / "b.jsonl", rows[:2]), name="team/b", licence="CC-BY-NC-4.0")
    left = registry.datasets.curate(Dedupe(), "team/a", "team/b").version
    assert left is not None and (left.n_items, left.licence) == (4, "MIT")
    lineage = registry.lineage(left.reference)
    assert [node.reference for node in lineage.inputs(lineage.root)] == ["team/a:v1"]
    assert all(step.same for step in registry.datasets.replay(left))
    assert registry.datasets.recall("team/b", why="not free", dry_run=True).datasets == ["team/b:v1"]
    both = registry.datasets.curate(Merge(), left, "team/b", name="team/c", behavior="b").version
    assert both is not None and both.licence == "MIT; CC-BY-NC-4.0"


def test_what_the_sides_mean_follows_them(registry: Registry) -> None:
    seed = registry.datasets.import_("seed:caution", name="team/caution")
    assert seed.source.card is not None and seed.source.card.positive.startswith("The answer is cautious")
    swapped = registry.datasets.curate(Relabel("a test"), seed).version
    assert swapped is not None and swapped.source.card is not None
    assert swapped.source.card.positive == seed.source.card.negative
    assert swapped.source.card.negative == seed.source.card.positive
    some = registry.datasets.curate(Relabel("a test", where="len(prompt) > 60"), seed, name="team/some").version
    assert some is not None and some.source.card == seed.source.card


CHAINS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "survival-instinct": [
        ("filter", {"expression": "choices == 2"}),
        ("balance", {"seed": 1}),
        ("sample", {"n": 300, "seed": 1}),
        ("split", {"test": 0.2, "seed": 1}),
        ("relabel", {"why": "matching means accepting shutdown"}),
        ("to-free-form", {}),
    ],
    "sycophancy": [
        ("dedupe", {"near": 0.8, "questions": True}),
        ("sample", {"n": 400}),
        ("relabel", {"where": "letter == 'A'", "why": "a test"}),
        ("balance", {}),
        ("split", {"test": 0.1, "dev": 0.1}),
        ("filter", {"expression": "split != 'dev' and words(question) > 20"}),
    ],
}

FOLLOW = """
import json, sys
from caa_registry.registry.opening import open
recipe, url, generate, test = sys.argv[1:]
with open(url, create=False) as registry:
    given = json.load(__builtins__.open(recipe))
    old = [one["uri"] for one in given["steps"][0]["import"]["sources"]]
    steps, version = registry.datasets.replay_recipe(given, sources=dict(zip(old, (generate, test))))
    print(json.dumps([[step.found for step in steps], version.reference, version.digest]))
"""


@pytest.mark.parametrize("behavior", CHAINS)
def test_six_operations_give_the_same_elsewhere(
    registry: Registry, tmp_path: Path, shared: Path, behavior: str
) -> None:
    folder = shared / "data" / "caa"
    files = {
        "generate": folder / "generate" / behavior / "generate_dataset.json",
        "test": folder / "test" / behavior / "test_dataset_ab.json",
    }
    sources = {split: str(path) for split, path in files.items()}
    made: DatasetVersion | None = registry.datasets.import_(sources, name=f"paper/{behavior}")
    for operation, parameters in CHAINS[behavior]:
        made = registry.datasets.curate(OPERATIONS[operation](**parameters), made or "").version
        assert made is not None
    recipe = registry.datasets.recipe(made)
    assert [step.get("operation", "import") for step in recipe["steps"]] == [
        "import",
        *(name for name, _ in CHAINS[behavior]),
    ]
    assert all(step.same for step in registry.datasets.replay(made))
    assert all(step.same for step in registry.datasets.replay(made, from_source=True))

    # Another process, registry, hash seed and order of rows.
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = []
    for split, file in files.items():
        rows = json.loads(file.read_text(encoding="utf-8"))
        moved.append(str(elsewhere / f"{split}.json"))
        Path(moved[-1]).write_text(json.dumps(random.Random(7).sample(rows, len(rows))), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", FOLLOW, str(path), new_sqlite(elsewhere), *moved],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    digests, reference, digest = json.loads(done.stdout)
    assert digests == [step["digest"] for step in recipe["steps"]]
    assert (reference, digest) == (made.reference, made.digest)


def test_a_merge_has_several_sources(registry: Registry, tmp_path: Path) -> None:
    for name in ("one", "two"):
        source = jsonl(tmp_path / f"{name}.jsonl", letters(4, about=name))
        registry.datasets.import_(source, name=f"team/{name}", split="dev", behavior="b")
    merged = registry.datasets.curate(Merge(), "team/one", "team/two", name="team/both").version
    template = {"positive": "yes {x}", "negative": "no {x}", "slots": {"x": ["1", "2"]}}
    expanded = registry.datasets.curate(Expand(template), name="team/made").version
    assert merged is not None and expanded is not None
    for version in (merged, expanded):
        assert all(step.same for step in registry.datasets.replay(version, from_source=True))
    with open_registry(str(tmp_path / "other.db")) as other:
        _, made = other.datasets.replay_recipe(registry.datasets.recipe(merged), name="new/both")
        assert made is not None and (made.reference, made.digest) == ("new/both:v1", merged.digest)
        assert [version.name for version in other.datasets.ls()] == ["new/both", "team/one", "team/two"]


def test_a_recipe_tells_equal_sets_of_two_names_apart(registry: Registry, tmp_path: Path) -> None:
    registry.datasets.import_(jsonl(tmp_path / "a.jsonl", letters(4)), name="team/a", behavior="b")
    same = registry.datasets.curate(Sample(9), "team/a", name="team/copy").version
    assert same is not None and same.digest == registry.datasets.get("team/a").digest
    recipe = registry.datasets.recipe(same)
    assert [step["dataset"] for step in recipe["steps"]] == ["team/a", "team/copy"]
    with open_registry(str(tmp_path / "other.db")) as other:
        _, made = other.datasets.replay_recipe(recipe)
        assert made is not None and (made.reference, made.digest) == ("team/copy:v1", same.digest)
        assert [version.name for version in other.datasets.ls()] == ["team/a", "team/copy"]


def test_questions_are_imported_again(registry: Registry, tmp_path: Path) -> None:
    version = registry.datasets.import_(jsonl(tmp_path / "q.jsonl", [{"question": "Why?"}]), name="team/q")
    for from_source in (False, True):
        (step,) = registry.datasets.replay(version, from_source=from_source)
        assert step.same and step.expected == version.digest


def test_what_gives_something_else_is_said_and_not_stored(registry: Registry, tmp_path: Path) -> None:
    source = Path(jsonl(tmp_path / "a.jsonl", letters(6)))
    registry.datasets.import_(str(source), name="team/a")
    version = registry.datasets.curate(Sample(3), "team/a").version
    assert version is not None
    recipe = registry.datasets.recipe(version)
    jsonl(source, letters(6, about="that"))
    (first,) = registry.datasets.replay(version, from_source=True)
    assert not first.same and all(step.same for step in registry.datasets.replay(version))
    with open_registry(str(tmp_path / "other.db")) as other:
        steps, made = other.datasets.replay_recipe(recipe)
        assert made is None and not steps[-1].same and other.datasets.ls() == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda r: r.update(recipe=9), "recipe"),
        (lambda r: r.update(steps=[]), "steps"),
        (lambda r: r.update(steps=[r["steps"][0]] * 1001), "steps"),
        (lambda r: r["steps"][1].update(operation="explode"), "name"),
        (lambda r: r["steps"][1]["parameters"].update(n="3"), "parameters.n"),
        (lambda r: r["steps"][1].update(inputs=[1]), "steps[1].inputs"),
        (lambda r: r["steps"][1].update(digest="x"), "steps[1].digest"),
        (lambda r: r["steps"][0]["import"].update(columns={"prompt": 3}), "steps[0].import.columns"),
        (lambda r: r["steps"][0]["import"].update(sources=[{"uri": "a"}]), "steps[0].import.sources[0].split"),
    ],
)  # fmt: skip
def test_a_recipe_of_somebody_else_is_checked(registry: Registry, tmp_path: Path, change: Any, field: str) -> None:
    registry.datasets.import_(jsonl(tmp_path / "a.jsonl", letters(6)), name="team/a")
    version = registry.datasets.curate(Sample(3), "team/a").version
    recipe = json.loads(json.dumps(registry.datasets.recipe(version or "")))
    change(recipe)
    with pytest.raises(InputError) as caught:
        registry.datasets.replay_recipe(recipe)
    assert caught.value.field == field
