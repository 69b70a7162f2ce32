"""``caa eval plan``, ``plans`` and ``run``."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.command_line import caa

PLAN = ["eval", "plan", "team/p", "--vector", "team/s", "--layers", "1", "--draws", "19"]


def test_a_plan_is_made_listed_run_and_shown(full: Path) -> None:
    made = caa(*PLAN, "--conditions", "leaks,null", "--level", "0.99")
    assert made.code == 0 and "team/s" in made.out and "p is at most 0.99" in made.out
    # The fixture asked the vector these questions.
    assert "evaluation 1 had asked this vector these questions before" in " ".join((made.out + made.err).split())
    (listed,) = caa("eval", "plans", "--json").json
    assert (listed["plan"], listed["evaluations"], listed["terms"]["draws"]) == ("team/p", [], 19)
    ran = caa("eval", "run", listed["digest"][:20], "--json")
    assert ran.json["outcome"]["met"] == (ran.code == 0)
    found = caa("eval", "plans", "team/p", "--json").json
    (run,) = found["runs"]
    assert found["evaluations"] == [2] and run["standing"] == "exploratory"
    assert run["standing_reason"] == "the questions had been asked before the plan (evaluation 1)"
    assert run["plan"] == {"name": "team/p", "digest": listed["digest"], "run": 1, "runs": 1}
    assert run["outcome"] == ran.json["outcome"]
    shown = " ".join(caa("eval", "plans", "team/p").err.split())
    assert "Exploratory, run 1 of 1 of plan team/p: the questions had been asked" in shown
    for command in (["eval", "show", "2"], ["eval", "ls"], ["eval", "leaderboard"]):
        result = caa(*command)
        assert "xploratory, run 1 of 1" in " ".join((result.out + result.err).split()), command
    assert caa("eval", "ls", "--json").json[0]["standing_reason"] == "it has no plan"
    (ranked,) = caa("eval", "leaderboard", "--json").json
    assert ranked["evidence"]["plan"]["name"] == "team/p"


def test_what_fails_ends_with_1(full: Path) -> None:
    assert caa(*PLAN).code == 0
    ran = caa("eval", "run", "team/p")
    # The letters of a tiny network have next to no mass.
    assert ran.code == 1 and "answers" in ran.out and "NO" in ran.out
    assert caa("eval", "plans", "team/p").code == 0


def test_a_recipe_is_run_from_the_command_line(full: Path, tiny_folder: Path) -> None:
    recipe = ["--recipe", "team/new", "--pairs", "team/s", "--model", tiny_folder, "--method", "pca"]
    made = caa("eval", "plan", "team/r", *recipe, "--layers", "1", "--draws", "19", "--conditions", "leaks")
    assert made.code == 0 and "team/new, to be computed from team/s" in " ".join(made.out.split())
    ran = caa("eval", "run", "team/r", "--json")
    assert ran.code == 0 and (ran.json["vector"], ran.json["standing"]) == ("team/new:v1", "confirmatory")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["eval", "plan", "p"], "a plan is about one vector"),
        ([*PLAN, "--recipe", "team/new"], "a plan is about one vector"),
        ([*PLAN, "--method", "pca"], "--method is given, and the vector exists"),
        (["eval", "plan", "p", "--recipe", "team/new", "--model", "demo"], "a vector to be computed needs pairs"),
        (["eval", "plan", "p", "--recipe", "team/new", "--pairs", "team/s"], "no model is given"),
        ([*PLAN[:-1], "18"], "18 is not in the range"),
        ([*PLAN, "--conditions", "kl"], "'kl' is not one of"),
        ([*PLAN, "--multipliers", "0,1", "--statistic", "steerability"], "a slope is planned over multipliers"),
        ([*PLAN, "--split", "dev"], "team/s:v1 has no split 'dev'"),
        (["eval", "run", "team/none"], "there is no plan team/none in this registry"),
        (["eval", "plans", f"sha256:{'0' * 64}"], "there is no plan sha256:0000"),
    ],
)
def test_what_does_not_fit_is_one_sentence(full: Path, change: list[str], said: str) -> None:
    result = caa(*change)
    assert result.code in (1, 2) and said in " ".join(result.err.split()), result.err
    assert "Traceback" not in result.err and caa("eval", "plans", "--json").json == []
