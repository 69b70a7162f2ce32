"""First pages of listings, and lineage on a terminal: bounded, and nothing twice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cli.command_line import caa

from caa_registry.registry.opening import open as open_registry

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))
from registry_rows import DIAMONDS, SHARED, TOP, fill


@pytest.fixture
def many(empty: Path) -> Path:
    """A registry of 240 vector versions, 60 names."""
    with open_registry(str(empty), actor="bench") as registry:
        fill(registry, 240)
    return empty


def names(out: str) -> list[str]:
    return [line.split()[0] for line in out.splitlines() if line.startswith("bench/")]


def test_a_listing_shows_a_first_page_and_how_many_there_are(many: Path) -> None:
    page = caa("vector", "ls")
    assert names(page.out) == [f"bench/v{i:05}" for i in range(50)]
    assert page.err == "First 50 of 60; --all shows all.\n"
    assert len(names(caa("vector", "ls", "--all").out)) == 60 and caa("vector", "ls", "--all").err == ""
    short = caa("vector", "ls", "--limit", 2, "--versions")
    assert names(short.out) == ["bench/v00000"] * 2 and short.err == "First 2 of 240; --all shows all.\n"
    ranked = caa("vector", "ls", "--limit", 3, "--sort", "steerability")
    assert names(ranked.out) == ["bench/v00059:v4", "bench/v00058:v4", "bench/v00057:v4"]
    assert ranked.err.endswith("First 3 of 60; --all shows all.\n")
    assert caa("alias", "ls", "--limit", 1).err == "First 1 of 60; --all shows all.\n"
    assert caa("model", "ls", "--limit", 2).err == "First 2 of 3; --all shows all.\n"


def test_json_is_complete_unless_a_limit_is_given(many: Path) -> None:
    assert len(caa("--json", "vector", "ls").json) == len(caa("--json", "alias", "ls").json) == 60
    assert [v["name"] for v in caa("--json", "vector", "ls", "--limit", 2).json] == ["bench/v00000", "bench/v00001"]
    assert len(caa("--json", "vector", "ls", "--versions").json) == 240
    assert len(caa("--json", "model", "ls").json) == 3


@pytest.mark.parametrize("options", [("--limit", 0), ("--limit", -1), ("--limit", "x"), ("--limit", 3, "--all")])
def test_a_limit_that_makes_no_sense_is_refused(many: Path, options: tuple[object, ...]) -> None:
    for noun in ("vector", "alias", "model"):
        done = caa(noun, "ls", *options)
        assert done.code == 2 and done.out == ""


def test_a_lineage_mentions_again_what_is_above_and_stops_at_a_depth(many: Path) -> None:
    whole = caa("lineage", f"dataset:{TOP}", "--depth", 100).out
    # Of each diamond both sides lead to its bottom: it is unfolded under the first of them.
    assert whole.count("(shown above)") == DIAMONDS
    assert [whole.count(f"dataset bench/part{i}:v1  ") for i in range(3 * DIAMONDS)] == [1] * (3 * DIAMONDS)
    short = caa("lineage", f"dataset:{TOP}", "--depth", 3).out
    assert short.count("dataset bench/part") == 2 + 2 + 2
    assert short.count("... 1 more, shown with a larger --depth") == 2
    assert len(caa("lineage", f"dataset:{TOP}").out) < len(whole)


def test_the_json_of_a_lineage_has_every_node_and_run_once(many: Path) -> None:
    document = caa("--json", "lineage", f"dataset:{SHARED}", "--depth", 1).json
    keys = [node["key"] for node in document["nodes"]]
    assert len(keys) == len(set(keys)) == 241 and document["root"] == keys[0] == f"dataset:{SHARED}:v1"
    runs = {run["id"]: run["kind"] for run in document["runs"]}
    assert len(runs) == len(document["runs"]) == 241
    for node in document["nodes"]:
        assert set(node["inputs"]) | set(node["outputs"]) <= set(keys)
        assert runs[node["run"]] == {"dataset": "import", "vector": "compute", "evaluation": "evaluate"}[node["kind"]]
