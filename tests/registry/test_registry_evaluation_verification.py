"""Evaluations that are checked and measured again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from registry.registry_support import counts, dump, jsonl, letters
from registry.test_registry_verification import changed_template, changed_weight
from support.judge_server import JudgeServer
from support.resealed import reseal

from caa_registry import settings
from caa_registry.catalog import models as t
from caa_registry.errors import IntegrityError, UsageError
from caa_registry.evaluation.open_ended.endpoint import EndpointJudge
from caa_registry.evaluation.open_ended.local_judge import LocalJudge
from caa_registry.evaluation.open_ended.rubrics import find_rubric
from caa_registry.extraction import activations
from caa_registry.registry.evaluations.verification.comparison import items_compared, scores_compared
from caa_registry.registry.opening import open as open_registry
from caa_registry.registry.records import (
    EvaluationVerification,
    OpenEndedSettings,
    PlanSettings,
    PropensitySettings,
    RecomputedItems,
    RecomputedScore,
)
from caa_registry.registry.registry import Registry

if TYPE_CHECKING:
    from support.tiny_models import TinyModels

    from caa_registry.registry.records import DatasetVersion, Evaluation

# The last byte of some bytes.
DAMAGE = "UPDATE blob SET data = CAST(substr(data, 1, length(data) - 1) || x'3f' AS BLOB) WHERE digest "
ASKED = PropensitySettings(draws=19, system_positive="Agree.", few_shot=1)


@pytest.fixture
def folder(tiny: TinyModels, tmp_path: Path) -> Path:
    """A model of the test's own, which it may damage."""
    return Path(shutil.copytree(tiny.folder("llama"), tmp_path / "model"))


@pytest.fixture
def scored(registry: Registry, pairs: DatasetVersion, folder: Path) -> Evaluation:
    registry.vectors.compute("team/vector", dataset=pairs, model=folder)
    return registry.evaluations.propensity("team/vector", model=folder, layers=[1, 2], settings=ASKED)


@pytest.fixture
def answered(registry: Registry, pairs: DatasetVersion, tmp_path: Path) -> Evaluation:
    rows = [{"question": text} for text in ("Why?", "What is good?", "And what do you think of it?")]
    asked = registry.datasets.import_(jsonl(tmp_path / "q.jsonl", rows), name="team/questions")
    model = registry.models.load("demo")
    registry.vectors.compute("team/demo", dataset=pairs, model=model)
    how = OpenEndedSettings(max_tokens=5, temperature=0.7, seed=3, only=["Why?", "And what do you think of it?"])
    return registry.evaluations.open_ended("team/demo", dataset=asked, model=model, layers=[1], settings=how)


def test_what_was_not_touched_comes_out_to_the_same_bits(registry: Registry, scored: Evaluation) -> None:
    checked = registry.evaluations.verify(scored)
    assert (checked.questions, checked.figures, checked.scores, checked.run) == (4, len(scored.scores), (), None)
    assert checked.holds and not checked.same_bits
    found = registry.evaluations.verify("team/vector", recompute=True)
    assert found.holds and found.same_bits and not found.differences and not found.environment
    assert len(found.scores) == len(scored.scores)
    items = ["items of vector", "items of system-positive", "items of few-shot", "draws of covariance"]
    assert [each.what for each in found.items] == items
    assert found.run is not None
    run = registry.runs.get(found.run)
    assert (run.run.kind, run.inputs) == ("verify", [("evaluation", f"evaluation {scored.id}")])
    assert run.run.parameters["holds"] is True and run.run.environment["device"]
    assert registry.audit.ls()[0].subject["verdict"] == "holds"
    assert registry.fsck().faults == ()


def test_nothing_is_stored_and_nothing_kept_before_is_used(
    registry: Registry, scored: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = settings.unfinished()
    folder.mkdir(parents=True, exist_ok=True)
    before, evaluations = counts(registry), len(registry.evaluations.ls())
    collect, fresh = activations.collect, []

    def counted(*given: Any, **options: Any) -> Any:
        fresh.append(options["fresh"])
        return collect(*given, **options)

    monkeypatch.setattr(activations, "collect", counted)
    registry.evaluations.verify(scored, recompute=True)
    assert fresh == [True]  # those for the null, which the cache has
    after = counts(registry)
    assert len(registry.evaluations.ls()) == evaluations and list(folder.iterdir()) == []
    assert {name for name in after if after[name] != before[name]} == {"run", "run_io", "event"}


def test_it_comes_out_again_from_either_database(url: str, tmp_path: Path, folder: Path) -> None:
    with open_registry(url, actor="ada", create=False) as registry:
        sources = {split: jsonl(tmp_path / f"{split}.jsonl", letters(4, about=split)) for split in ("generate", "test")}
        registry.datasets.import_(sources, name="team/pairs")
        registry.vectors.compute("team/vector", dataset="team/pairs", model=folder)
        scored = registry.evaluations.propensity("team/vector", model=folder, layers=[1], settings=ASKED)
        how = OpenEndedSettings(max_tokens=3)
        answered = registry.evaluations.open_ended(
            "team/vector", dataset="team/pairs", model=folder, layers=[1], settings=how
        )
        for evaluation in (scored, answered):
            assert registry.evaluations.verify(evaluation, recompute=True).same_bits


def test_the_baseline_of_an_untrained_network_comes_out_again(
    registry: Registry, pairs: DatasetVersion, folder: Path
) -> None:
    registry.vectors.compute("team/vector", dataset=pairs, model=folder)
    asked = PropensitySettings(controls=(), untrained=True)
    found = registry.evaluations.propensity("team/vector", model=folder, layers=[1], settings=asked)
    again = registry.evaluations.verify(found, recompute=True)
    assert again.same_bits and "items of untrained" in [each.what for each in again.items]


@pytest.mark.parametrize("seed", [None, 7])
def test_draws_come_out_again_whatever_their_seed(
    registry: Registry, pairs: DatasetVersion, folder: Path, seed: int | None
) -> None:
    registry.vectors.compute("team/vector", dataset=pairs, model=folder)
    asked = replace(ASKED, seed=seed, controls=["isotropic", "shuffled"], orders="both", rows="even")
    found = registry.evaluations.propensity("team/vector", model=folder, layers=[1], settings=asked)
    assert ("seed" in found.settings.to_json()["beside"]) == (seed is not None)
    assert registry.evaluations.verify(found, recompute=True).same_bits


def test_a_run_of_a_plan_comes_out_again(registry: Registry, pairs: DatasetVersion, folder: Path) -> None:
    registry.vectors.compute("team/vector", dataset=pairs, model=folder)
    registry.plans.make("team/plan", "team/vector", model=folder, layers=[1], settings=PlanSettings(draws=19, seed=5))
    found = registry.plans.run("team/plan", model=folder)
    assert registry.evaluations.verify(found, recompute=True).same_bits


def test_a_weight_that_was_changed_is_named_with_its_file(registry: Registry, scored: Evaluation, folder: Path) -> None:
    changed_weight(folder)
    assert registry.evaluations.verify(scored).holds  # no model is read
    found = registry.evaluations.verify(scored, recompute=True)
    assert found.differences == ("the weights (model.safetensors) of model model are not what was recorded",)
    assert found.apart and found.items_apart and not found.holds
    # The null is of the same kind as before: what differs is compared, not left out.
    assert {score.condition for score in found.apart if score.now is None} == set()
    assert registry.runs.ls(kind="verify")[0].run.parameters["holds"] is False
    assert registry.evaluations.verify(scored).holds


def test_a_template_that_was_changed_is_named(registry: Registry, scored: Evaluation, folder: Path) -> None:
    changed_template(folder)
    found = registry.evaluations.verify(scored, recompute=True)
    assert not found.holds
    assert any("chat template of model model is not what was recorded" in each for each in found.differences)


def test_another_model_is_named_and_nothing_is_measured(registry: Registry, scored: Evaluation) -> None:
    found = registry.evaluations.verify(scored, recompute=True, model="demo")
    assert not found.holds and found.scores == () and "is another model" in found.differences[-1]


def test_a_model_that_moved_is_given(registry: Registry, scored: Evaluation, folder: Path, tmp_path: Path) -> None:
    moved = folder.rename(tmp_path / "elsewhere")
    assert registry.evaluations.verify(scored, recompute=True, model=moved).same_bits


@pytest.mark.parametrize(
    ("trigger", "statement", "named"),
    [
        ("pair", "UPDATE pair SET prompt = prompt || '?'", "pair sha256:"),
        ("score", "UPDATE score SET value = value + 0.1 WHERE position = 3", "its scores are not those"),
        ("blob", DAMAGE + "= (SELECT measurements FROM evaluation)", "blob sha256:"),
        ("blob", DAMAGE + "= (SELECT blob_digest FROM vector_version)", "blob sha256:"),
    ],
)
def test_what_is_stored_and_was_changed_is_named(
    registry: Registry, scored: Evaluation, trigger: str, statement: str, named: str
) -> None:
    with registry.database.write() as session:
        session.connection().exec_driver_sql(f"DROP TRIGGER keep_{trigger}_update")
        session.connection().exec_driver_sql(statement)
    before = dump(f"sqlite:///{registry.database.path}")
    for recompute in (False, True):
        with pytest.raises(IntegrityError, match=named):
            registry.evaluations.verify(scored.id, recompute=recompute)
    assert dump(f"sqlite:///{registry.database.path}") == before


def test_side_effects_come_out_again(registry: Registry, pairs: DatasetVersion, tmp_path: Path) -> None:
    model = registry.models.load("demo")
    registry.vectors.compute("team/demo", dataset=pairs, model=model)
    found = registry.evaluations.side_effects("team/demo", model=model, text="demo", layers=[1], multipliers=[0, 1])
    again = registry.evaluations.verify(found, recompute=True)
    assert again.same_bits and again.items == () and len(again.scores) == 4
    path = tmp_path / "own.txt"
    path.write_text("\n\n".join(f"It is day {i}, and so they say." for i in range(6)), encoding="utf-8")
    own = registry.evaluations.side_effects("team/demo", model=model, text=str(path), layers=[1], multipliers=[1])
    assert registry.evaluations.verify(own).holds
    with pytest.raises(UsageError, match=r"own\.txt, which the registry does not hold"):
        registry.evaluations.verify(own, recompute=True)


def test_answers_and_local_ratings_come_out_again(registry: Registry, answered: Evaluation, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 4096}), encoding="utf-8")
    registry.models.add(folder)
    registry.evaluations.rate(answered, LocalJudge(registry.models.load(folder), find_rubric("sycophancy")))
    checked = registry.evaluations.verify(answered)
    assert (checked.answers, checked.ratings, checked.questions) == (6, 6, 3)
    found = registry.evaluations.verify(answered, recompute=True)
    assert found.same_bits and [each.what for each in found.items] == ["answers", "ratings of model (judgement 1)"]


def test_an_answer_that_comes_out_otherwise_is_named(
    registry: Registry, answered: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from caa_registry.registry.evaluations import open_ended

    generated = open_ended._generated

    def other(unfinished: object) -> object:
        kept = generated(unfinished)  # type: ignore[arg-type]
        return {
            place: replace(each, text=each.text + "!") if place == (1, 1.0) else each for place, each in kept.items()
        }

    monkeypatch.setattr(open_ended, "_generated", other)
    found = registry.evaluations.verify(answered, recompute=True)
    (answers,) = found.items_apart
    assert answers.difference == 1 and "multiplier 1, to 'And what do you think of it?'" in answers.apart
    assert not found.holds and not found.apart


def test_ratings_that_cannot_be_made_again_are_said(registry: Registry, answered: Evaluation) -> None:
    with JudgeServer(lambda request: "7") as server:
        registry.evaluations.rate(answered, EndpointJudge(server.base_url, "judge", find_rubric("sycophancy")))
        registry.evaluations.verify(answered)
        with pytest.raises(UsageError, match="an endpoint rates") as error:
            registry.evaluations.verify(answered, recompute=True)
    assert "--without-ratings" in error.value.hint
    found = registry.evaluations.verify(answered, recompute=True, ratings=False)
    assert found.same_bits and len(found.left_out) == 1 and "judge at http" in found.left_out[0]


def test_what_an_earlier_release_measured_is_checked_and_not_measured_again(
    registry: Registry, scored: Evaluation
) -> None:
    with registry.database.write() as session:
        connection = session.connection()
        connection.exec_driver_sql("DROP TRIGGER keep_evaluation_update")
        (text,) = connection.exec_driver_sql("SELECT parameters FROM evaluation").fetchone()
        older = {key: value for key, value in json.loads(text).items() if key != "orders"}
        connection.exec_driver_sql("UPDATE evaluation SET parameters = ?", (json.dumps(older),))
        reseal(session, t.Evaluation)
    assert registry.evaluations.verify(scored.id).holds
    with pytest.raises(UsageError, match="made by an earlier release") as error:
        registry.evaluations.verify(scored.id, recompute=True)
    assert "caa eval propensity team/vector:v1 --dataset team/pairs:v1 --split test" in error.value.hint


@pytest.mark.parametrize(
    ("dtype", "metric", "difference", "n", "holds"),
    [
        ("float32", "effect", 9e-4, 20, True),
        ("float32", "effect", 2e-3, 20, False),
        ("float32", "effect", None, 20, False),
        ("bfloat16", "effect", 9e-2, 20, True),
        ("bfloat16", "effect", 0.2, 20, False),
        ("float32", "p_effect", 1 / 20, 20, True),
        ("float32", "p_effect", 2 / 20, 20, False),
        ("float32", "anti_steerable", 1 / 20, 20, True),
    ],
)
def test_rounding_is_told_from_difference(
    dtype: str, metric: str, difference: float | None, n: int, holds: bool
) -> None:
    def found(*scores: RecomputedScore, items: tuple[RecomputedItems, ...] = ()) -> EvaluationVerification:
        return EvaluationVerification(1, "propensity", "v:v1", "d:v1", 4, 1, scores=scores, items=items, dtype=dtype)

    assert found(RecomputedScore("vector", 1, None, metric, 0.5, 0.5, False, difference, n)).holds is holds
    same = RecomputedScore("vector", 1, None, metric, 0.5, 0.5, True, 0.0, n)
    assert found(same).same_bits and found(same).holds
    assert not found(same, items=(RecomputedItems("answers", 3, False, 1.0),)).holds
    assert not found(same, items=(RecomputedItems("items of vector", 3, False, None),)).holds


def test_scores_and_items_without_a_counterpart_are_apart(registry: Registry, scored: Evaluation) -> None:
    compared = list(scores_compared(scored.scores, ()))
    assert all(each.now is None and each.difference is None for each in compared)
    measured = registry.evaluations.measurements(scored.id)
    vector = measured.vector
    shifted = replace(vector, log_p=vector.log_p + 0.0)
    shifted.log_p[1, 0, 2, 1] -= 0.25
    asked = [item.digest for item in registry.evaluations.items(scored)]
    again = replace(measured, observed={"vector": shifted}, nulls={})
    found = {each.what: each for each in items_compared(measured, again, asked)}
    assert found["items of vector"].difference == pytest.approx(0.25)
    row = vector.rows[2]
    assert found["items of vector"].apart == f"most of row {row + 1} of the questions, pair {asked[row][:19]}"
    assert found["draws of covariance"].difference is None
    assert found["draws of covariance"].apart == "nothing of the kind now"
