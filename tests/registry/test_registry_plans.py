"""A plan is stored before anything is measured, never changes, and decides what counts as confirmatory."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from registry.registry_support import check_consistent, counts, events, jsonl, letters
from sqlalchemy import select, update
from support.tiny_models import TinyModels

from caa_registry.catalog import models as t
from caa_registry.digests import digest_object
from caa_registry.errors import CaaError, ModelMismatchError, NotFoundError, RegistryError, UsageError
from caa_registry.models.model import Model
from caa_registry.registry.evaluations.plans.standing import Asked, standing
from caa_registry.registry.records import (
    DatasetVersion,
    Evaluation,
    PlanSettings,
    PropensitySettings,
    RecordedPropensity,
    Terms,
    ToCompute,
    VectorVersion,
)
from caa_registry.registry.registry import Registry

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))
from registry_rows import counted

FEW = PlanSettings(draws=19)
LAYER: dict[str, Any] = {"layers": [1], "settings": FEW}


@pytest.fixture
def pairs(registry: Registry, tmp_path: Path) -> DatasetVersion:
    sources = {
        "generate": jsonl(tmp_path / "generate.jsonl", letters(6)),
        "test": jsonl(tmp_path / "test.jsonl", letters(6, about="that")),
    }
    return registry.datasets.import_(sources, name="team/pairs")


@pytest.fixture
def vector(registry: Registry, pairs: DatasetVersion, model: Model) -> VectorVersion:
    return registry.vectors.compute("team/v", dataset=pairs, model=model)


def ask(registry: Registry, vector: VectorVersion, model: Model, **change: Any) -> Evaluation:
    settings = PropensitySettings(controls=(), **change)
    return registry.evaluations.propensity(vector, model=model, layers=[0], settings=settings)


def stored(registry: Registry) -> dict[str, int]:
    with registry.database.read() as session:
        return {**counts(registry), "plan": len(list(session.scalars(select(t.Plan))))}


def test_a_plan_pins_what_it_names_and_its_digest_stands_in_the_audit(
    registry: Registry, vector: VectorVersion, pairs: DatasetVersion, model: Model
) -> None:
    made = registry.plans.make("team/p", vector, model=model, **LAYER)
    terms = made.terms
    assert terms.vector is not None and terms.vector.digest == vector.digest and terms.dataset.digest == pairs.digest
    assert terms.model == model.info.fingerprint.digest and terms.settings.orders == "both"
    assert made.digest == digest_object("plan", terms.to_json())
    assert Terms.from_json(json.loads(json.dumps(terms.to_json())), "team/p") == terms
    action, subject = events(registry)[-1]
    assert (action, subject["plan"], subject["digest"]) == ("plan", "team/p", made.digest)
    assert registry.plans.get("team/p") == registry.plans.get(made.digest[:20]) == made
    # The same again is the plan that exists.
    before = stored(registry)
    assert registry.plans.make("team/p", vector, model=model, **LAYER) == replace(made, existing=True)
    assert stored(registry) == before
    assert list(registry.plans.ls()) == [made] and registry.plans.ls(limit=1).total == 1


def test_every_part_of_a_plan_changes_its_digest(registry: Registry, vector: VectorVersion, model: Model) -> None:
    other: list[dict[str, Any]] = [
        {"layers": [0]},
        {"multipliers": [-1, 1]},
        {"split": "generate"},
        *(
            {"settings": replace(FEW, **change)}
            for change in (
                {"positions": "all"},
                {"template": "llama-2"},
                {"rows": "odd"},
                {"orders": "as-written"},
                {"controls": ("isotropic",)},
                {"draws": 20},
                {"seed": 1},
                {"statistic": "steerability"},
                {"direction": "less"},
                {"conditions": ("interval", "null")},
                {"beyond": 0.1},
                {"level": 0.06},
            )
        ),
    ]
    made = [
        registry.plans.make(f"p{i}", vector, model=model, **{**LAYER, **change})
        for i, change in enumerate([{}, *other])
    ]
    assert len({plan.digest for plan in made}) == len(made)
    assert all(registry.plans.get(plan.name).terms == plan.terms for plan in made)


def test_a_run_measures_exactly_what_was_planned(registry: Registry, vector: VectorVersion, model: Model) -> None:
    registry.plans.make("team/p", vector, model=model, **LAYER)
    ran = registry.plans.run("team/p", model=model)
    plain = registry.evaluations.propensity(
        vector, model=model, layers=[1], settings=PropensitySettings(orders="both", draws=19)
    )
    assert ran.scores == plain.scores
    assert isinstance(ran.settings, RecordedPropensity) and isinstance(plain.settings, RecordedPropensity)
    plan = registry.plans.get("team/p")
    assert ran.settings == replace(plain.settings, plan=plan.digest, shape=5)
    assert "plan" not in plain.settings.to_json()
    assert plan.evaluations == (ran.id,)
    lineage = registry.lineage("vector:team/v")
    (node,) = [node for node in lineage.nodes.values() if node.kind == "plan"]
    assert node.digest == plan.digest and f"evaluation:{ran.id}" in node.outputs
    with registry.database.read() as session:
        inputs = select(t.RunIO.run_id).where(t.RunIO.kind == "plan", t.RunIO.direction == "input")
        outputs = select(t.RunIO.object_id).where(t.RunIO.run_id.in_(inputs), t.RunIO.direction == "output")
        assert list(session.scalars(outputs)) == [ran.id]
    assert events(registry)[-2][1]["plan_digest"] == plan.digest
    check_consistent(registry)


def test_what_follows_its_plan_is_confirmatory_and_every_run_is_counted(
    registry: Registry, vector: VectorVersion, model: Model
) -> None:
    registry.plans.make("team/p", vector, model=model, **LAYER)
    first, second = (registry.plans.run("team/p", model=model) for _ in range(2))
    shown = {each.id: each.standing for each in registry.evaluations.ls()}
    assert [(shown[e.id].word, shown[e.id].run, shown[e.id].runs) for e in (first, second)] == [
        ("confirmatory", 1, 2),
        ("confirmatory", 2, 2),
    ]
    assert shown[second.id].sentence == "Confirmatory, run 2 of 2 of plan team/p."
    other = ask(registry, vector, model)
    assert (other.standing.word, other.standing.reason) == ("exploratory", "it has no plan")
    # What is asked after the plan does not change what its runs are.
    assert registry.evaluations.get(first.id).standing.confirmatory
    (ranked,) = registry.evaluations.leaderboard()
    assert ranked.evidence.evaluation.standing == registry.evaluations.get(second.id).standing


def test_questions_that_were_asked_before_the_plan_make_it_exploratory(
    registry: Registry, vector: VectorVersion, model: Model
) -> None:
    before = ask(registry, vector, model)
    # Deleting it does not make it unasked.
    with registry.database.write() as session:
        session.execute(update(t.Evaluation).values(deleted_at=datetime.now(UTC)))
    plan = registry.plans.make("team/p", vector, model=model, **LAYER)
    assert registry.plans.asked_before(plan) == before.id
    found = registry.plans.run("team/p", model=model).standing
    assert not found.confirmatory
    assert found.reason == f"the questions had been asked before the plan (evaluation {before.id})"


def test_another_name_of_the_same_vector_hides_nothing(
    registry: Registry, vector: VectorVersion, pairs: DatasetVersion, model: Model
) -> None:
    ask(registry, vector, model)
    renamed = registry.vectors.compute("team/other", dataset=pairs, model=model)
    assert renamed.digest == vector.digest
    registry.plans.make("team/p", renamed, model=model, **LAYER)
    assert "asked before" in registry.plans.run("team/p", model=model).standing.reason


def test_the_other_half_and_another_split_are_other_questions(
    registry: Registry, vector: VectorVersion, model: Model
) -> None:
    ask(registry, vector, model, rows="even")
    registry.evaluations.propensity(
        vector, model=model, split="generate", layers=[0], settings=PropensitySettings(controls=())
    )
    registry.plans.make("odd", vector, model=model, layers=[1], settings=replace(FEW, rows="odd"))
    registry.plans.make("all", vector, model=model, **LAYER)
    assert registry.plans.run("odd", model=model).standing.confirmatory
    assert not registry.plans.run("all", model=model).standing.confirmatory


def test_the_vectors_own_pairs_confirm_nothing(registry: Registry, vector: VectorVersion, model: Model) -> None:
    registry.plans.make("team/p", vector, model=model, split="generate", **LAYER)
    ran = registry.plans.run("team/p", model=model)
    assert ran.standing.reason == "6 questions are among the vector's own pairs"
    (leaks,) = [c for c in registry.plans.outcome(ran).conditions if c.name == "leaks"]
    assert not leaks.met


NOW = datetime(2024, 8, 5, tzinfo=UTC)
STORED = t.Plan(name="p", digest="sha256:aa", created_at=NOW)
RUN = Asked(7, "v", "d", "test", "all", "sha256:aa", 0, False, NOW + timedelta(seconds=1))


@pytest.mark.parametrize(
    ("change", "other", "reason"),
    [
        ({}, {}, ""),
        ({"began": NOW}, {}, "it began before the plan was stored"),
        ({"leaked": 2}, {}, "2 questions are among the vector's own pairs"),
        ({"leaks_unknown": True}, {}, "not all of the vector's own pairs are known"),
        ({}, {"began": NOW}, "the questions had been asked before the plan (evaluation 3)"),
        ({}, {"began": NOW, "rows": "odd"}, "the questions had been asked before the plan (evaluation 3)"),
        ({"rows": "even"}, {"began": NOW, "rows": "odd"}, ""),
        ({"rows": "even"}, {"began": NOW}, "the questions had been asked before the plan (evaluation 3)"),
        ({}, {"began": NOW, "vector": "w"}, ""),
        ({}, {"began": NOW, "dataset": "e"}, ""),
        ({}, {"began": NOW, "split": "generate"}, ""),
    ],
)
def test_what_an_evaluation_counts_as(change: dict[str, Any], other: dict[str, Any], reason: str) -> None:
    run, earlier = replace(RUN, **change), replace(RUN, id=3, plan="", **other)
    found = standing(run, STORED, [earlier, run])
    assert (found.reason, found.confirmatory) == (reason, not reason)
    assert (found.plan, found.run, found.runs) == ("p", 1, 1)


def test_a_plan_that_is_gone_confirms_nothing() -> None:
    assert standing(RUN, None, [RUN]).reason == "its plan is missing from this registry"


REFUSED: dict[str, tuple[Callable[[Registry, VectorVersion, Model], Any], str]] = {
    "no vector": (lambda r, v, m: r.plans.make("p", "team/none", model=m), "there is no vector team/none"),
    "no split": (lambda r, v, m: r.plans.make("p", v, model=m, split="dev", **LAYER), "no split 'dev'"),
    "no layer": (lambda r, v, m: r.plans.make("p", v, model=m, layers=[99], settings=FEW), "layer 99"),
    "slope of one sign": (
        lambda r, v, m: r.plans.make(
            "p", v, model=m, layers=[1], multipliers=[0, 1, 2], settings=replace(FEW, statistic="steerability")
        ),
        "a slope is planned over multipliers of one sign, 0 to 2",
    ),
    "one multiplier": (lambda r, v, m: r.plans.make("p", v, model=m, multipliers=[1], **LAYER), "one multiplier"),
    "few draws": (
        lambda r, v, m: r.plans.make("p", v, model=m, layers=[1], settings=PlanSettings(draws=18)),
        "with 18 vectors no p-value can be below 0.053",
    ),
    "few draws for the level": (
        lambda r, v, m: r.plans.make("p", v, model=m, layers=[1], settings=PlanSettings(draws=98, level=0.01)),
        "with 98 vectors no p-value can be at most 0.01",
    ),
    "no null": (
        lambda r, v, m: r.plans.make("p", v, model=m, layers=[1], settings=PlanSettings(controls=())),
        "the condition 'null' needs vectors that mean nothing",
    ),
    "the best of layers": (
        lambda r, v, m: r.plans.make(
            "p", v, model=m, layers=[0, 1], settings=PlanSettings(controls=(), conditions=["interval"])
        ),
        "the largest of 2 layers is large by chance",
    ),
    "a name in use": (
        lambda r, v, m: r.plans.make("taken", v, model=m, layers=[0], settings=FEW),
        "plan taken exists and says something else",
    ),
    "said already": (lambda r, v, m: r.plans.make("p", v, model=m, **LAYER), "plan taken says exactly this"),
    "a bad name": (lambda r, v, m: r.plans.make("-p", v, model=m, **LAYER), "'-p'"),
    "a recipe without a model": (
        lambda r, v, m: r.plans.make("p", ToCompute("team/n", "team/pairs"), **LAYER),
        "a vector to be computed needs a model",
    ),
    "a recipe by no method": (
        lambda r, v, m: r.plans.make("p", ToCompute("team/n", "team/pairs", method="x"), model=m, **LAYER),
        "'x'",
    ),
    "a recipe of no pairs": (
        lambda r, v, m: r.plans.make("p", ToCompute("team/n", "team/none"), model=m, **LAYER),
        "there is no dataset team/none",
    ),
    "no plan": (lambda r, v, m: r.plans.run("team/p", model=m), "there is no plan team/p in this registry"),
    "a plan of another registry": (
        lambda r, v, m: r.plans.run(f"sha256:{'ab' * 32}", model=m),
        "there is no plan sha256:abab",
    ),
    "no condition": (lambda r, v, m: PlanSettings(conditions=()), "decides nothing"),
    "an unknown condition": (lambda r, v, m: PlanSettings(conditions=["kl"]), "there is no condition 'kl'"),
    "an unknown direction": (lambda r, v, m: PlanSettings(direction="up"), "there is no direction 'up'"),  # type: ignore[arg-type]
    "a bad level": (lambda r, v, m: PlanSettings(level=1.5), "1.5 is no level"),
    "a bad bound": (lambda r, v, m: PlanSettings(beyond=-0.1), "beyond -0.1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_planned_is_one_sentence_and_stores_nothing(
    registry: Registry, vector: VectorVersion, model: Model, case: str
) -> None:
    registry.plans.make("taken", vector, model=model, **LAYER)
    before = stored(registry)
    call, said = REFUSED[case]
    with pytest.raises(CaaError) as caught:
        call(registry, vector, model)
    assert said in caught.value.message and "\n" not in caught.value.message
    assert stored(registry) == before


def test_a_run_is_refused_where_anything_moved(
    registry: Registry, vector: VectorVersion, model: Model, tiny: TinyModels
) -> None:
    registry.plans.make("team/p", vector, model=model, **LAYER)
    with pytest.raises(ModelMismatchError, match=r"plan team/p cannot be run on .*: its fingerprint is"):
        registry.plans.run("team/p", model=tiny("qwen2"))
    for table in (t.DatasetVersion, t.VectorVersion):
        with registry.database.write() as session:
            session.execute(update(table).values(deleted_at=datetime.now(UTC)))
        with pytest.raises(NotFoundError, match=r"plan team/p cannot be run: (dataset|vector) team/"):
            registry.plans.run("team/p", model=model)
        with registry.database.write() as session:
            session.execute(update(table).values(deleted_at=None))
    assert not list(registry.evaluations.ls())


def test_an_interrupted_run_goes_on_and_takes_nothing_that_was_measured_before_the_plan(
    registry: Registry, vector: VectorVersion, model: Model
) -> None:
    steps: list[int] = []

    def stop(done: int, total: int) -> None:
        steps.append(done)
        if done == total:
            raise KeyboardInterrupt

    settings = PropensitySettings(orders="both", draws=19)
    with pytest.raises(KeyboardInterrupt):
        registry.evaluations.propensity(vector, model=model, layers=[1], settings=settings, progress=stop)
    measured = list(steps)
    registry.plans.make("team/p", vector, model=model, **LAYER)
    steps.clear()
    with pytest.raises(KeyboardInterrupt):
        registry.plans.run("team/p", model=model, progress=stop)
    assert steps == measured
    assert not registry.evaluations.ls()
    steps.clear()
    ran = registry.plans.run("team/p", model=model, progress=lambda done, total: steps.append(done))
    assert len(steps) < len(measured) and ran.standing.confirmatory


def test_a_recipe_is_computed_when_its_plan_is_run(registry: Registry, pairs: DatasetVersion, model: Model) -> None:
    wanted = ToCompute("team/new", "team/pairs", method="pca")
    plan = registry.plans.make("team/p", wanted, model=model, **LAYER)
    assert plan.terms.recipe is not None and plan.terms.recipe.read == "answer" and not registry.vectors.ls()
    ran = registry.plans.run("team/p", model=model)
    made = registry.vectors.get("team/new")
    assert (ran.vector, made.recipe.method, made.recipe.read) == ("team/new:v1", "pca", "answer")
    assert made.layer_numbers == list(range(model.n_layers)) and ran.settings.layers == (1,)
    assert ran.standing.confirmatory and registry.plans.run("team/p", model=model).vector == "team/new:v1"


def test_the_outcome_is_what_the_scores_say(registry: Registry, vector: VectorVersion, model: Model) -> None:
    settings = PlanSettings(draws=19, statistic="steerability", direction="less")
    registry.plans.make("several", vector, model=model, layers=[0, 1, 2], settings=settings)
    ran = registry.plans.run("several", model=model)
    found = registry.plans.outcome(ran)
    slopes = ran.of("steerability")
    assert [(each.layer, each.value, each.low) for each in found.layers] == [
        (s.layer, s.value, s.ci_low) for s in slopes
    ]
    assert found.layer == min(slopes, key=lambda score: score.value).layer
    chosen = {score.layer: score.value for score in ran.of("p_chosen_steerability", "covariance")}
    assert {each.layer: each.p_value for each in found.layers} == chosen
    assert [condition.name for condition in found.conditions] == ["interval", "null", "answers", "leaks"]
    assert not found.met  # the letters of a tiny network have no mass
    with pytest.raises(UsageError, match="follows no plan"):
        registry.plans.outcome(ask(registry, vector, model))
    one = registry.plans.make("one", vector, model=model, **LAYER)
    came = registry.plans.outcome(registry.plans.run(one, model=model))
    (p_value,) = [s.value for s in registry.evaluations.get(2 + 1).of("p_effect", "covariance")]
    assert came.layers[0].p_value == p_value


def test_free_text_cannot_be_saturated_at_both_ends(registry: Registry, tmp_path: Path, model: Model) -> None:
    rows = [{"prompt": f"Say {i}.", "positive": "yes it is", "negative": "no it is not"} for i in range(12)]
    source = {"generate": jsonl(tmp_path / "a.jsonl", rows[:6]), "test": jsonl(tmp_path / "b.jsonl", rows[6:])}
    data = registry.datasets.import_(source, name="team/text")
    made = registry.vectors.compute("team/t", dataset=data, model=model)
    settings = replace(FEW, conditions=["null", "answers"])
    registry.plans.make("team/p", made, model=model, layers=[1], settings=settings)
    ran = registry.plans.run("team/p", model=model)
    answers = registry.plans.outcome(ran).conditions[1]
    propensity = registry.evaluations.measurements(ran.id).vector.propensity[0]
    sure = np.mean([(abs(propensity[[0, -1], i] - 0.5) > 0.49).all() for i in range(6)])
    assert answers.met == (sure <= 0.5) and answers.figure.startswith(f"{sure:.3f} of the texts")


def test_a_damaged_plan_is_said_to_be_one() -> None:
    with pytest.raises(RegistryError, match=r"the terms of plan p .*'split' is None"):
        Terms.from_json({**_terms(), "split": None}, "p")
    with pytest.raises(RegistryError, match="'x'"):
        Terms.from_json({**_terms(), "multipliers": ["x"]}, "p")
    with pytest.raises(RegistryError, match="revision 2"):
        Terms.from_json({**_terms(), "revision": 2}, "p")


def _terms() -> dict[str, Any]:
    return {
        "vector": {"name": "v", "digest": "sha256:aa"}, "recipe": None, "model": "sha256:bb",
        "dataset": {"name": "d", "digest": "sha256:cc"}, "split": "test", "rows": "all", "layers": [1],
        "multipliers": ["-1.0", "1.0"], "positions": "after_prompt", "template": "chat", "template_digest": "sha256:dd",
        "orders": "both", "controls": ["covariance"], "draws": 199, "seed": None, "statistic": "effect",
        "direction": "more", "conditions": {"interval": "0.0", "null": "0.05"},
    }  # fmt: skip


def test_stored_terms_come_back_as_they_were() -> None:
    """As the first release that had plans stored them."""
    assert Terms.from_json(_terms(), "p").to_json() == _terms()
    recipe = {
        "name": "n", "dataset": {"name": "d", "digest": "sha256:cc"}, "split": "generate", "method": "pca",
        "read": "answer", "template": "chat",
    }  # fmt: skip
    computed = {**_terms(), "vector": None, "recipe": recipe, "seed": 3}
    assert Terms.from_json(computed, "p").to_json() == computed


def test_statements_do_not_grow_with_runs(registry: Registry, vector: VectorVersion, model: Model) -> None:
    def statements() -> int:
        with counted() as sent:
            assert list(registry.evaluations.ls()) and list(registry.plans.ls())
        return len(sent)

    registry.plans.make("p0", vector, model=model, **LAYER)
    registry.plans.run("p0", model=model)
    one = statements()
    registry.plans.make("p1", vector, model=model, layers=[0], settings=FEW)
    for name in ("p0", "p1", "p1"):
        registry.plans.run(name, model=model)
    assert statements() == one
