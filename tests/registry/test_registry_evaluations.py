"""Evaluations: scores with their interval and n, each run an observation of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from registry.registry_support import check_consistent, dump, events, jsonl, letters

from caa_registry.errors import InputError, ModelError, NotFoundError, UsageError
from caa_registry.models.model import Model
from caa_registry.registry.records import DatasetVersion, VectorVersion
from caa_registry.registry.registry import Registry

if TYPE_CHECKING:
    from support.tiny_models import TinyModels


@pytest.fixture
def version(registry: Registry, pairs: DatasetVersion, model: Model) -> VectorVersion:
    return registry.vectors.compute("team/v", dataset=pairs, model=model)


def test_scores_are_stored_with_interval_and_n(registry: Registry, version: VectorVersion, model: Model) -> None:
    found = registry.evaluations.propensity("team/v", model=model, multipliers=[1, -1, 0, 1])
    assert (found.vector, found.dataset, found.split) == ("team/v:v1", "team/pairs:v1", "test")
    assert (found.metric, found.positions, found.template) == ("propensity", "after_prompt", "plain")
    assert [(s.layer, s.multiplier) for s in found.scores] == [(la, m) for la in range(3) for m in (-1.0, 0.0, 1.0)]
    for score in found.scores:
        assert score.n == 4 and 0 <= score.ci_low <= score.value <= score.ci_high <= 1
    unsteered = {score.value for score in found.scores if score.multiplier == 0}
    assert len(unsteered) == 1 and len({score.value for score in found.scores}) > 3
    assert found.parameters["verdict"] == "exact" and found.parameters["too_long"] == 0
    assert registry.evaluations.get(found.id) == found
    assert registry.evaluations.ls() == registry.evaluations.ls("team/v:v1") == [found]
    action, subject = events(registry)[-1]
    assert (action, subject["evaluation"], subject["vector"]) == ("evaluate", found.id, "team/v:v1")
    check_consistent(registry)


def test_a_second_run_is_a_second_observation(registry: Registry, version: VectorVersion, model: Model) -> None:
    one, two = (registry.evaluations.propensity(version, model=model, layers=[1]) for _ in range(2))
    assert one.id != two.id and one.scores == two.scores
    assert [found.id for found in registry.evaluations.ls()] == [one.id, two.id]


def test_even_and_odd_rows_are_the_two_halves(registry: Registry, version: VectorVersion, model: Model) -> None:
    ask = {"model": model, "layers": [1], "multipliers": [1.0]}
    values = {
        rows: registry.evaluations.propensity(version, rows=rows, **ask).scores[0]  # type: ignore[arg-type]
        for rows in ("all", "even", "odd")
    }
    assert [values[rows].n for rows in ("all", "even", "odd")] == [4, 2, 2]
    assert np.isclose((values["even"].value + values["odd"].value) / 2, values["all"].value)
    assert registry.evaluations.ls()[1].parameters["rows"] == "even"


def test_letters_beyond_b_are_left_out_or_counted_as_in_the_paper(
    registry: Registry, version: VectorVersion, model: Model, tmp_path: Path
) -> None:
    beyond = {"prompt": "Which?\n (A) x\n (B) y\n (C) z", "positive": "(C)", "negative": "(A)"}
    registry.datasets.import_(jsonl(tmp_path / "c.jsonl", [*letters(3), beyond]), name="team/c")
    ask: dict[str, Any] = {"dataset": "team/c", "split": "generate", "model": model, "layers": [1], "multipliers": [0]}
    ours = registry.evaluations.propensity(version, **ask)
    papers = registry.evaluations.propensity(version, paper=True, **ask)
    assert (ours.scores[0].n, ours.parameters["beyond_letters"]) == (3, 1)
    assert (papers.scores[0].n, papers.parameters["paper"]) == (4, True)
    assert np.isclose(papers.scores[0].value, ours.scores[0].value * 3 / 4)


def test_items_beyond_the_context_are_left_out_and_counted(
    registry: Registry, version: VectorVersion, model: Model, tmp_path: Path
) -> None:
    long = {"prompt": "why " * 200, "positive": "(A)", "negative": "(B)"}
    registry.datasets.import_(jsonl(tmp_path / "l.jsonl", [*letters(3), long]), name="team/l")
    found = registry.evaluations.propensity(version, dataset="team/l", split="generate", model=model, layers=[0])
    assert (found.parameters["too_long"], found.scores[0].n) == (1, 3)


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
        ({"positions": "nowhere", "multipliers": [0]}, "there are no positions 'nowhere'"),
        ({"rows": "third"}, "there is no half 'third'"),
        ({"template": "chat"}, "no chat template"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    registry: Registry, version: VectorVersion, model: Model, change: dict[str, Any], said: str
) -> None:
    before = dump(f"sqlite:///{registry.database.path}")
    with pytest.raises(UsageError, match=said):
        registry.evaluations.propensity("team/v", model=model, **change)
    assert dump(f"sqlite:///{registry.database.path}") == before


def test_a_layer_that_was_not_computed_is_said(registry: Registry, pairs: DatasetVersion, model: Model) -> None:
    registry.vectors.compute("team/part", dataset=pairs, model=model, layers=[0, 2])
    assert {s.layer for s in registry.evaluations.propensity("team/part", model=model).scores} == {0, 2}
    with pytest.raises(UsageError, match="has no layer 1"):
        registry.evaluations.propensity("team/part", model=model, layers=[1])


def test_scores_that_are_not_finite_are_never_stored(
    registry: Registry, version: VectorVersion, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    from caa_registry.evaluation.likelihoods import Answer

    read = Answer.read
    monkeypatch.setattr(Answer, "read", lambda answer, logits: read(answer, logits * np.nan))
    before = dump(f"sqlite:///{registry.database.path}")
    with pytest.raises(ModelError, match="not finite"):
        registry.evaluations.propensity(version, model=model)
    assert dump(f"sqlite:///{registry.database.path}") == before


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
    assert dump(f"sqlite:///{registry.database.path}") == before
    assert model.next_tokens("Is it good?") == plainly
    assert registry.evaluations.propensity(version, model=model).id == 1


def test_nothing_to_score_is_said(registry: Registry, version: VectorVersion, model: Model, tmp_path: Path) -> None:
    registry.datasets.import_(jsonl(tmp_path / "one.jsonl", letters(1)), name="team/one")
    with pytest.raises(InputError, match="none of 0 pairs can be scored"):
        registry.evaluations.propensity(version, dataset="team/one", split="generate", model=model, rows="odd")
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
    found = registry.evaluations.propensity(version, model=other, layers=[1], allow_mismatch=True)
    assert found.parameters["verdict"] == "same-architecture"
    assert found.model.fingerprint == other.info.fingerprint != version.model.fingerprint
    assert [action for action, _ in events(registry)][-2:] == ["apply-to-mismatched-model", "evaluate"]
