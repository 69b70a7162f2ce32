"""Evaluations: scores with their interval and n, each run an observation of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from registry.registry_support import check_consistent, dump, events, failures, jsonl, letters, only_failures

from caa_registry.errors import InputError, ModelError, NotFoundError, UsageError
from caa_registry.evaluation.inference.intervals import METHOD
from caa_registry.models.model import Model
from caa_registry.pairs.halves import REMAINDERS
from caa_registry.registry.records import (
    CalibrationSettings,
    DatasetVersion,
    Evaluation,
    Leaked,
    PropensitySettings,
    RecordedPropensity,
    VectorVersion,
)
from caa_registry.registry.registry import Registry

if TYPE_CHECKING:
    from support.tiny_models import TinyModels

ALONE = PropensitySettings(controls=())
# The parameters of an evaluation that the first version of the package stored.
FIRST_REVISION = {
    "template_digest": "sha256:" + "0" * 64,
    "dtype": "float32",
    "layers": [0],
    "multipliers": [-1.0, 1.0],
    "rows": "all",
    "paper": False,
    "beyond_letters": 0,
    "too_long": 0,
    "interval": METHOD.format("clusters of questions"),
    "verdict": "exact",
}


@pytest.fixture
def version(registry: Registry, pairs: DatasetVersion, model: Model) -> VectorVersion:
    return registry.vectors.compute("team/v", dataset=pairs, model=model)


def test_scores_are_stored_with_interval_and_n(registry: Registry, version: VectorVersion, model: Model) -> None:
    found = registry.evaluations.propensity("team/v", model=model, multipliers=[1, -1, 0, 1])
    assert (found.vector, found.dataset, found.split) == ("team/v:v1", "team/pairs:v1", "test")
    assert (found.metric, found.positions, found.template) == ("propensity", "after_prompt", "plain")
    assert [(s.layer, s.multiplier) for s in found.of()] == [(la, m) for la in range(3) for m in (-1.0, 0.0, 1.0)]
    for score in found.of():
        # Four questions are too few for an interval.
        assert score.n == 4 and 0 <= score.value <= 1 and score.ci_low is None and score.ci_high is None
    unsteered = {score.value for score in found.of() if score.multiplier == 0}
    assert len(unsteered) == 1 and len({score.value for score in found.of()}) > 3
    assert found.settings.verdict == "exact" and recorded(found).too_long == 0
    assert registry.evaluations.get(found.id) == found
    listed = replace(found, scores=tuple(score for score in found.scores if score.condition == "vector"))
    assert registry.evaluations.ls() == registry.evaluations.ls("team/v:v1") == [listed]
    action, subject = events(registry)[-1]
    assert (action, subject["evaluation"], subject["vector"]) == ("evaluate", found.id, "team/v:v1")
    check_consistent(registry)


def recorded(evaluation: Evaluation) -> RecordedPropensity:
    assert isinstance(evaluation.settings, RecordedPropensity)
    return evaluation.settings


def check_alike(one: Evaluation, other: Evaluation) -> None:
    """Scores that differ by rounding at most: questions may have been grouped otherwise."""
    places = [[(s.condition, s.layer, s.multiplier, s.metric, s.n) for s in each.scores] for each in (one, other)]
    assert places[0] == places[1]
    values, wanted = (
        [s.value for s in each.scores if not s.metric.startswith(("wrong_way", "anti", "p_"))] for each in (one, other)
    )
    np.testing.assert_allclose(values, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("free", [False, True])
def test_every_cell_of_the_vector_has_its_dose(
    registry: Registry, version: VectorVersion, model: Model, tmp_path: Path, free: bool
) -> None:
    dataset = None
    if free:
        rows = [{"prompt": f"Is it {n}?", "positive": "Yes, it is", "negative": "No"} for n in "abcdef"]
        registry.datasets.import_(jsonl(tmp_path / "free.jsonl", rows), name="team/free", split="test")
        dataset = "team/free"
    asked = PropensitySettings(draws=19, few_shot=1)
    found = registry.evaluations.propensity(
        version, dataset=dataset, model=model, multipliers=[-2, 0, 1], layers=[0, 2], settings=asked
    )
    cells = [(layer, multiplier) for layer in (0, 2) for multiplier in (-2.0, 0.0, 1.0)]
    observed = registry.evaluations.measurements(found.id).observed
    assert observed["few-shot"].kl is None and observed["few-shot"].answers_first is None
    kl = observed["vector"].kl
    assert kl is not None and (kl[:, [0, 2]] > 0).all() and (kl[:, 1] == 0).all()
    assert (observed["vector"].answers_first is None) == free
    for metric in ("kl", "norm_ratio", *(() if free else ("answers_first",))):
        assert [(score.layer, score.multiplier) for score in found.of(metric)] == cells
        assert {score.condition for score in found.scores if score.metric == metric} == {"vector"}
    np.testing.assert_allclose([score.value for score in found.of("kl")], kl.mean(axis=-1).ravel())
    records = {record.layer: record for record in version.layers}
    for score in found.of("norm_ratio"):
        record = records[score.layer]
        assert record.residual_norm and score.multiplier is not None
        assert score.value == pytest.approx(abs(score.multiplier) * record.norm / record.residual_norm)
    assert [shape.layer for shape in registry.evaluations.shapes(found)] == [0, 2]


def test_a_second_run_is_a_second_observation(registry: Registry, version: VectorVersion, model: Model) -> None:
    one, two = (registry.evaluations.propensity(version, model=model, layers=[1]) for _ in range(2))
    assert one.id != two.id and one.scores == two.scores
    assert [found.id for found in registry.evaluations.ls()] == [one.id, two.id]


def test_even_and_odd_rows_are_the_two_halves(registry: Registry, version: VectorVersion, model: Model) -> None:
    ask: dict[str, Any] = {"model": model, "layers": [1], "multipliers": [1.0]}
    values = {
        rows: registry.evaluations.propensity(version, settings=PropensitySettings(rows=rows), **ask).scores[0]
        for rows in REMAINDERS
    }
    assert [values[rows].n for rows in ("all", "even", "odd")] == [4, 2, 2]
    assert np.isclose((values["even"].value + values["odd"].value) / 2, values["all"].value)
    assert registry.evaluations.ls()[1].settings.rows == "even"


def test_the_vector_and_the_first_draws_are_measured_together(
    registry: Registry, version: VectorVersion, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that their questions are run once for both."""
    import caa_registry.evaluation.sweep as module

    together: list[list[int]] = []
    real = module.sweep

    def counting(model: Model, arms: Any, *arguments: Any, **named: Any) -> None:
        together.append([len(arm.vectors[1]) for arm in arms])
        real(model, arms, *arguments, **named)

    monkeypatch.setattr(module, "sweep", counting)
    ask: dict[str, Any] = {"model": model, "layers": [1]}
    registry.evaluations.propensity(version, settings=PropensitySettings(draws=19), **ask)
    both = PropensitySettings(draws=19, controls=("covariance", "isotropic"))
    registry.evaluations.propensity(version, settings=both, **ask)
    registry.evaluations.propensity(version, settings=PropensitySettings(controls=()), **ask)
    assert together == [[1, 19], [1, 19, 19], [1]]


def test_no_pairs_are_loaded_twice(
    registry: Registry, version: VectorVersion, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of questions, leaks, few-shot examples and shuffled labels each takes what was loaded."""
    import caa_registry.registry.datasets.datasets as module

    loaded: list[tuple[int, str | None]] = []
    real = module.load_pairs

    def counting(session: Any, version_id: int, split: str | None = None, **options: Any) -> Any:
        loaded.append((version_id, split))
        return real(session, version_id, split, **options)

    monkeypatch.setattr(module, "load_pairs", counting)
    settings = PropensitySettings(draws=19, few_shot=1)
    registry.evaluations.propensity(version, model=model, layers=[1], settings=settings)
    assert sorted(loaded) == [(1, "generate"), (1, "test")]
    loaded.clear()
    registry.evaluations.propensity(version, split="generate", model=model, layers=[1], settings=settings)
    assert loaded == [(1, "generate")]
    loaded.clear()
    text = tmp_path / "short.txt"
    text.write_text("It is a day.\n\nAnd so it is.", encoding="utf-8")
    asked = CalibrationSettings(text=str(text), target_kl=1000, coherence=1)
    registry.evaluations.calibrate(version, model=model, layers=[1], multipliers=[1], settings=asked)
    assert sorted(loaded) == [(1, "generate"), (1, "test")]


def test_letters_beyond_b_are_scored_over_all_letters_or_counted_as_in_the_paper(
    registry: Registry, version: VectorVersion, model: Model, tmp_path: Path
) -> None:
    beyond = {"prompt": "Which?\n (A) x\n (B) y\n (C) z", "positive": "(C)", "negative": "(A)"}
    registry.datasets.import_(jsonl(tmp_path / "c.jsonl", [*letters(3), beyond]), name="team/c")
    ask: dict[str, Any] = {"dataset": "team/c", "split": "generate", "model": model, "layers": [1], "multipliers": [0]}
    ours = registry.evaluations.propensity(version, **ask)
    papers = registry.evaluations.propensity(version, settings=PropensitySettings(paper=True), **ask)
    assert (ours.scores[0].n, recorded(ours).more_choices, recorded(ours).beyond_letters) == (4, 1, 0)
    assert (papers.scores[0].n, recorded(papers).paper, recorded(papers).beyond_letters) == (4, True, 1)
    one, other = (registry.evaluations.measurements(found.id).vector.propensity[0, 0] for found in (ours, papers))
    assert np.allclose(one[:3], other[:3], atol=1e-6) and one[3] > 0 == other[3]
    assert papers.of("mass")[0].n == 3
    registry.datasets.import_(jsonl(tmp_path / "all.jsonl", [beyond]), name="team/all")
    nothing = registry.evaluations.propensity(
        version, **{**ask, "dataset": "team/all"}, settings=PropensitySettings(paper=True)
    )
    assert all(score.value == 0 for score in nothing.scores)


def test_items_beyond_the_context_are_left_out_and_counted(
    registry: Registry, version: VectorVersion, model: Model, tmp_path: Path
) -> None:
    long = {"prompt": "why " * 200, "positive": "(A)", "negative": "(B)"}
    registry.datasets.import_(jsonl(tmp_path / "l.jsonl", [*letters(3), long]), name="team/l")
    found = registry.evaluations.propensity(version, dataset="team/l", split="generate", model=model, layers=[0])
    assert (recorded(found).too_long, found.scores[0].n) == (1, 3)


def test_free_text_is_scored_by_the_whole_completion(
    registry: Registry, version: VectorVersion, model: Model, tmp_path: Path
) -> None:
    rows = [{"prompt": f"Day {i}", "positive": "It was good.", "negative": "It was bad."} for i in range(3)]
    registry.datasets.import_(jsonl(tmp_path / "f.jsonl", rows), name="team/free")
    found = registry.evaluations.propensity(version, dataset="team/free", split="generate", model=model, layers=[1])
    assert found.metric == "propensity_completion" and found.scores[0].n == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layers": [3]}, "layer 3 does not exist"),
        ({"layers": []}, "no layer is given"),
        ({"multipliers": []}, "no multiplier is given"),
        ({"multipliers": [0.0, float("nan")]}, "not a finite number"),
        ({"multipliers": [float("-inf")]}, "not a finite number"),
        ({"multipliers": [1e300]}, "not a finite number"),
        ({"split": "dev"}, "has no split 'dev'"),
        ({"multipliers": [0], "settings": {"positions": "nowhere"}}, "there are no positions 'nowhere'"),
        ({"settings": {"rows": "third"}}, "there is no half 'third'"),
        ({"settings": {"template": "chat"}}, "no chat template"),
        ({"settings": {"controls": ["noise"]}}, "there is no control 'noise'"),
        ({"settings": {"draws": 18}}, "with 18 vectors no p-value can be below 0.053"),
        ({"settings": {"few_shot": 5}}, "5 examples cannot be drawn from 4 pairs"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    registry: Registry, version: VectorVersion, model: Model, change: dict[str, Any], said: str
) -> None:
    before = dump(f"sqlite:///{registry.database.path}")
    with pytest.raises(UsageError, match=said):
        asked = {**change, "settings": PropensitySettings(**change.get("settings", {}))}
        registry.evaluations.propensity("team/v", model=model, **asked)
    assert dump(f"sqlite:///{registry.database.path}") == before


def test_a_layer_that_was_not_computed_is_said(registry: Registry, pairs: DatasetVersion, model: Model) -> None:
    registry.vectors.compute("team/part", dataset=pairs, model=model, layers=[0, 2])
    assert {s.layer for s in registry.evaluations.propensity("team/part", model=model).scores} == {0, 2}
    with pytest.raises(UsageError, match="has no layer 1"):
        registry.evaluations.propensity("team/part", model=model, layers=[1])


def test_scores_that_are_not_finite_are_never_stored(
    registry: Registry, version: VectorVersion, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    from caa_registry.engine import likelihoods, logits, sweeps

    read = logits.read_answers
    for module in (likelihoods, sweeps):
        monkeypatch.setattr(module, "read_answers", lambda answers, rows, *at: read(answers, rows * np.nan, *at))
    before = dump(f"sqlite:///{registry.database.path}")
    with pytest.raises(ModelError, match="not finite"):
        registry.evaluations.propensity(version, model=model)
    assert only_failures(registry, before)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("step", [0, 2])
def test_an_interrupted_sweep_leaves_nothing_and_the_model_as_it_was(
    registry: Registry, version: VectorVersion, model: Model, error: type[BaseException], step: int
) -> None:
    before = dump(f"sqlite:///{registry.database.path}")
    plainly = model.next_tokens("Is it good?")

    def stop(done: int, total: int) -> None:
        if done >= step:
            raise error

    with pytest.raises(error):
        registry.evaluations.propensity(version, model=model, progress=stop)
    assert only_failures(registry, before)
    assert failures(registry) == [{RuntimeError: "RuntimeError", KeyboardInterrupt: "interrupted"}[error]]
    assert model.next_tokens("Is it good?") == plainly
    again = registry.evaluations.propensity(version, model=model)
    assert again.id == 1
    # What was measured before the interruption is what a run without one measures.
    check_alike(registry.evaluations.propensity(version, model=model), again)


def test_only_the_same_request_goes_on_from_an_interrupted_one(
    registry: Registry, version: VectorVersion, model: Model, tiny: TinyModels
) -> None:
    """Nothing of one model, template, position, multiplier or dtype gets into another's scores."""
    few = PropensitySettings(draws=19)
    ask: dict[str, Any] = {"multipliers": [-1, 1], "settings": few}

    def interrupted(**change: Any) -> None:
        def stop(done: int, total: int) -> None:
            if done == total:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            registry.evaluations.propensity(version, **{"model": model, **ask, **change}, progress=stop)

    interrupted(settings=replace(few, positions="all"))
    interrupted(multipliers=[-2, 2])
    interrupted(settings=replace(few, template="llama-2"))
    interrupted(model=tiny("llama", seed=1), settings=replace(few, allow_mismatch=True))
    interrupted(settings=replace(few, rows="even"))
    found = registry.evaluations.propensity(version, model=model, **ask)
    check_alike(registry.evaluations.propensity(version, model=model, **ask), found)


def test_nothing_to_score_is_said(registry: Registry, version: VectorVersion, model: Model, tmp_path: Path) -> None:
    registry.datasets.import_(jsonl(tmp_path / "one.jsonl", letters(1)), name="team/one")
    with pytest.raises(InputError, match="none of 0 pairs can be scored"):
        registry.evaluations.propensity(
            version, dataset="team/one", split="generate", model=model, settings=PropensitySettings(rows="odd")
        )
    registry.datasets.import_(jsonl(tmp_path / "q.jsonl", [{"question": "Why?"}]), name="team/q")
    with pytest.raises(UsageError, match="holds open-ended questions"):
        registry.evaluations.propensity(version, dataset="team/q", model=model)


@pytest.mark.parametrize("number", [0, -1, 7, 2**31, 10**30])
def test_an_unknown_evaluation_is_said(registry: Registry, number: int) -> None:
    with pytest.raises(NotFoundError, match=f"there is no evaluation {number}"):
        registry.evaluations.get(number)


def test_a_mismatch_is_in_the_evaluation_and_in_the_audit(
    registry: Registry, version: VectorVersion, tiny: TinyModels
) -> None:
    other = tiny("llama", seed=1)
    found = registry.evaluations.propensity(
        version, model=other, layers=[1], settings=PropensitySettings(allow_mismatch=True)
    )
    assert found.settings.verdict == "same-architecture"
    assert found.model.fingerprint == other.info.fingerprint != version.model.fingerprint
    assert [action for action, _ in events(registry)][-2:] == ["apply-to-mismatched-model", "evaluate"]
    # The covariance of the pairs' differences belongs to the vector's own model.
    assert recorded(found).beside.controls == ("isotropic",) and found.null == "isotropic"


def test_controls_and_baselines_are_measured_beside(
    registry: Registry, version: VectorVersion, model: Model, tiny: TinyModels
) -> None:
    ask: dict[str, Any] = {"model": model, "layers": [0, 2], "multipliers": [-1, 0, 1]}
    prompts: dict[str, Any] = {"system_positive": "Say A.", "system_negative": "Say B.", "few_shot": 2}
    nulls = ("covariance", "isotropic", "shuffled")
    settings = PropensitySettings(controls=nulls, draws=19, **prompts)
    found = registry.evaluations.propensity(version, **ask, settings=settings)
    baselines = ["vector", "system-positive", "system-negative", "few-shot"]
    assert list(dict.fromkeys(score.condition for score in found.scores)) == [*baselines, *nulls]
    for condition in baselines:
        cells = found.of(condition=condition)
        assert [(s.layer, s.multiplier) for s in cells] == [(la, m) for la in (0, 2) for m in (-1.0, 0.0, 1.0)]
        assert {s.n for s in cells} == {4}
        assert [s.layer for s in found.of("steerability", condition)] == [0, 2]
    for null in nulls:
        # So few draws have no middle 95 %, and those that were enough are not gone beyond.
        assert [(s.layer, s.n, s.ci_low) for s in found.of("effect", null)] == [(0, 19, None), (2, 19, None)]
        assert all(0.05 <= s.value <= 1 and s.n == 19 for s in found.of("p_steerability", null))
        assert [s.value for s in found.of("p_chosen_effect", null)] >= [s.value for s in found.of("p_effect", null)]
    measured = registry.evaluations.measurements(found.id)
    assert measured.vector.rows == (0, 1, 2, 3) and measured.vector.letters == ("B", "A", "B", "A")
    assert np.isclose(measured.vector.propensity[0, 0].mean(), found.of()[0].value)
    assert measured.nulls["isotropic"].propensity.shape == (19, 2, 2)
    assert measured.nulls["isotropic"].multipliers == (-1.0, 1.0)
    assert measured.nulls["covariance"].lengths == pytest.approx((1, 1))
    assert all(0 < length < 2 for length in measured.nulls["shuffled"].lengths)
    alone = [measured.observed[name].propensity[0, 1] for name in baselines]
    assert all(np.abs(alone[0] - other).max() > 1e-5 for other in alone[1:])
    # Without controls the vector's scores are the same.
    plain = registry.evaluations.propensity(version, **ask, settings=PropensitySettings(controls=()))
    assert [(s.layer, s.multiplier) for s in plain.of()] == [(s.layer, s.multiplier) for s in found.of()]
    assert np.allclose([s.value for s in plain.of()], [s.value for s in found.of()], atol=1e-5)
    assert recorded(plain).beside.seeds == 0 and {s.condition for s in plain.scores} == {"vector"}
    check_consistent(registry)


def test_questions_that_made_the_vector_are_flagged(
    registry: Registry, version: VectorVersion, model: Model, tmp_path: Path
) -> None:
    assert registry.evaluations.propensity(version, model=model, layers=[0], settings=ALONE).leaked == 0
    leaked = registry.evaluations.propensity(version, model=model, split="generate", layers=[0], settings=ALONE)
    assert leaked.leaked == 4 and recorded(leaked).leaked == Leaked(same=4, near=0)
    registry.datasets.import_(jsonl(tmp_path / "m.jsonl", [letters(4)[2], *letters(2, about="that")]), name="team/m")
    mixed = registry.evaluations.propensity(version, dataset="team/m", split="generate", model=model, layers=[0])
    assert mixed.leaked == 1
    assert [found.leaked for found in registry.evaluations.ls()] == [0, 4, 1]


def test_the_items_of_an_older_evaluation_were_not_kept(
    registry: Registry, version: VectorVersion, model: Model
) -> None:
    from caa_registry.catalog import models as t
    from caa_registry.catalog.integrity.row_digests import digest_of_rows

    found = registry.evaluations.propensity(version, model=model, layers=[0], settings=ALONE)
    with registry.database.write() as session:
        row = session.get_one(t.Evaluation, found.id)
        session.add(
            t.Evaluation(
                kind="propensity",
                vector_version_id=row.vector_version_id,
                dataset_version_id=row.dataset_version_id,
                split="test",
                model_id=row.model_id,
                metric="propensity",
                positions="all",
                template="plain",
                parameters=FIRST_REVISION,
                scores_digest=digest_of_rows("score", []),
                created_at=row.created_at,
            )
        )
    with pytest.raises(UsageError, match="evaluation 2 was stored without its items"):
        registry.evaluations.measurements(2)
