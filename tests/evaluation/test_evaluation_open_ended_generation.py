"""Answers in batches are the answers one at a time."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.counting import first_block_shapes
from support.tiny_models import CHAT, CONTEXT, FAMILIES, LAYERS, TinyModels

from caa_registry.engine.decoding import answers, prompts
from caa_registry.engine.decoding.batch import Batch
from caa_registry.engine.decoding.request import drawn
from caa_registry.errors import ModelError, UsageError
from caa_registry.evaluation.open_ended.generation import Response, responses
from caa_registry.models.model import Model
from caa_registry.steering.additions import Addition, steering
from caa_registry.steering.positions import STEERED_POSITIONS

# Two render to equal lengths; all fill a window of 8 tokens.
QUESTIONS = ["Is it?", "So is the sky blue, do you think?", "Is he?"]
MULTIPLIERS = [-1.0, 0.0, 2.0]


def vector(model: Model, seed: int = 0, length: float = 30.0) -> NDArray[np.float32]:
    draw = np.random.default_rng(seed).standard_normal(model.d_model)
    return np.asarray(draw * length / np.linalg.norm(draw), np.float32)


def additions(model: Model, layers: Sequence[int] = (1,)) -> Mapping[float, Sequence[Addition]]:
    return {m: [Addition(layer, vector(model, layer), m) for layer in layers] if m else [] for m in MULTIPLIERS}


def flat(groups: Any) -> dict[tuple[int, float], Response]:
    found: dict[tuple[int, float], Response] = {}
    for group in groups:
        for response in group:
            assert (response.question, response.multiplier) not in found
            found[response.question, response.multiplier] = response
    return found


def check(model: Model, steered: Mapping[float, Sequence[Addition]], max_tokens: int = 10, **options: Any) -> None:
    found = flat(responses(model, QUESTIONS, steered, max_tokens=max_tokens, **options))
    positions = options.pop("positions", "after_prompt")
    assert found.keys() == {(i, m) for i in range(len(QUESTIONS)) for m in steered}
    for (i, m), response in found.items():
        with steering(model, steered[m], positions):
            assert response.text == model.generate(QUESTIONS[i], max_tokens=max_tokens, **options)
        assert len(response.ids) <= max_tokens
        assert response.finish == ("length" if len(response.ids) == max_tokens else "stop")
    assert len({response.text for (i, _), response in found.items() if i == 0}) > 1


@pytest.mark.parametrize("positions", STEERED_POSITIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_answer_is_what_generating_alone_gives(
    family: str, positions: Any, tiny: TinyModels, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny(family, chat=CHAT)
    with caplog.at_level(logging.WARNING):
        check(model, additions(model), positions=positions)
    assert not caplog.records


@pytest.mark.parametrize("positions", STEERED_POSITIONS)
def test_the_demo_model_too(positions: Any, demo: Model) -> None:
    check(demo, additions(demo, (1, 2)), max_tokens=20, positions=positions)
    check(demo, additions(demo, (1, 2)), max_tokens=20, positions=positions, template="plain")


def test_prompts_run_once_and_rows_of_questions_and_multipliers_together(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    with first_block_shapes(model) as shapes:
        flat(responses(model, ["Is it?", "Is he?"], additions(model), max_tokens=5))
    length = len(model.template().prompt("Is it?").ids)
    # What is checked is one row more, which runs for itself.
    assert [shape for shape in shapes if shape[0] != 1] == [(2, length - 1), *[(2 * len(MULTIPLIERS), 1)] * 5]


def test_many_multipliers_and_long_prompts_go_in_small_groups(
    tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama", chat=CHAT)
    whole = flat(responses(model, QUESTIONS, additions(model), max_tokens=6))
    monkeypatch.setattr(answers, "_ROWS", 2)
    monkeypatch.setattr(prompts, "tokens_at_a_time", lambda: 5)
    groups = list(responses(model, QUESTIONS, additions(model), max_tokens=6))
    assert {len(group) for group in groups} == {1, 2}
    assert flat(groups) == whole


def test_groups_come_one_by_one_with_progress(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama", chat=CHAT)
    monkeypatch.setattr(answers, "_ROWS", 6)
    said: list[tuple[int, int]] = []
    groups = responses(
        model, QUESTIONS, additions(model), max_tokens=4, progress=lambda done, total: said.append((done, total))
    )
    assert said == []
    # The longest and the shortest question.
    assert {response.question for response in next(groups)} == {0, 1}
    total = said[0][1]
    # Every token counts, those of prompts too.
    assert said[0] == (0, total) and said == sorted(said) and len(said) > 5 and total / 2 < said[-1][0] < total
    # Between two groups the model is free: neither steered nor in the middle of a prompt.
    assert not model.stream.tapped_now and model.stream.prompt_end is None
    assert {response.question for response in next(groups)} == {2} and said[-1] == (total, total)
    assert list(groups) == []


def test_no_questions_and_no_multipliers_are_no_answers(tiny: TinyModels) -> None:
    model = tiny("llama")
    assert list(responses(model, [], additions(model))) == list(responses(model, QUESTIONS, {})) == []


def test_a_prompt_of_one_token(tiny: TinyModels) -> None:
    model = tiny("llama")
    assert len(model.template().prompt("I").ids) == 1
    for positions in STEERED_POSITIONS:
        found = flat(responses(model, ["I"], additions(model), positions=positions, max_tokens=5))
        for (_, m), response in found.items():
            with steering(model, additions(model)[m], positions):
                assert response.text == model.generate("I", max_tokens=5)


def test_an_end_token_stops_its_row_alone(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    plain = flat(responses(model, QUESTIONS, additions(model), max_tokens=8))
    end = plain[0, 2.0].ids[3]
    model.wrapped_tokenizer.add_eos_token(str(end))
    try:
        found = flat(responses(model, QUESTIONS, additions(model), max_tokens=8))
    finally:
        model.wrapped_tokenizer.eos_token_ids = {1}
    assert found[0, 2.0].finish == "stop" and end not in found[0, 2.0].ids
    for place, response in plain.items():
        ids = response.ids[: response.ids.index(end)] if end in response.ids else response.ids
        assert found[place].ids == ids
        assert found[place].finish == ("stop" if end in response.ids else "length")
    assert {response.finish for response in found.values()} == {"stop", "length"}


def test_the_context_ends_an_answer(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    found = flat(responses(model, QUESTIONS[:1], additions(model), max_tokens=1000))
    length = len(model.template().prompt(QUESTIONS[0]).ids)
    assert {len(r.ids) for r in found.values() if r.finish == "length"} == {CONTEXT - length}


def test_a_system_prompt_is_read(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    (group,) = responses(model, QUESTIONS[:1], {0: []}, system="I do not.", max_tokens=8)
    assert group[0].text == model.generate(QUESTIONS[0], system="I do not.", max_tokens=8)
    assert group[0].text != model.generate(QUESTIONS[0], max_tokens=8)


def test_draws_are_those_of_the_question_and_multiplier_alone(
    tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama", chat=CHAT)

    def run(questions: Sequence[str], multipliers: Sequence[float], **options: Any) -> dict[tuple[str, float], Any]:
        steered = {m: additions(model)[m] for m in multipliers}
        settings = {"temperature": 1.0, "seed": 3, "max_tokens": 8} | options
        found = flat(responses(model, questions, steered, **settings))
        return {(questions[i], m): response.ids for (i, m), response in found.items()}

    whole = run(QUESTIONS, MULTIPLIERS)
    assert run(QUESTIONS, MULTIPLIERS) == whole
    assert run(QUESTIONS[::-1], MULTIPLIERS[::-1]) == whole
    for place, ids in whole.items():
        assert run([place[0]], [place[1]]) == {place: ids}
    # Fewer tokens are the beginning of more; alone or together is the same; another seed is not.
    assert run(QUESTIONS, MULTIPLIERS, max_tokens=4) == {place: ids[:4] for place, ids in whole.items()}
    assert set(run(QUESTIONS, MULTIPLIERS, seed=4).values()).isdisjoint(whole.values())
    assert len(set(whole.values())) == len(whole)
    assert run(QUESTIONS, MULTIPLIERS, temperature=1e-6) == run(QUESTIONS, MULTIPLIERS, temperature=0.0)
    for way in ("one length", "alone"):
        monkeypatch.setattr(answers, "_ways", lambda *given, way=way: [way])
        assert run(QUESTIONS, MULTIPLIERS) == whole


def test_draws_follow_the_probabilities() -> None:
    log_p = np.log(np.array([0.1, 0.0, 0.6, 0.3], np.float32) + 1e-30)
    uniform = (np.arange(1000) + 0.5) / 1000
    for temperature in (0.5, 1.0, 2.0):
        wanted = np.array([0.1, 0.0, 0.6, 0.3]) ** (1 / temperature)
        drawn_tokens = [drawn(log_p, temperature, u) for u in uniform]
        np.testing.assert_allclose(np.bincount(drawn_tokens) / 1000, wanted / wanted.sum(), atol=2e-3)


@given(st.lists(st.floats(-80, 0, width=32), min_size=1, max_size=30), st.floats(1e-3, 10), st.data())
def test_what_is_drawn_is_a_token(log_p: list[float], temperature: float, data: st.DataObject) -> None:
    uniform = data.draw(st.floats(0, 1, exclude_max=True))
    assert 0 <= drawn(np.array(log_p, np.float32), temperature, uniform) < len(log_p)


@pytest.mark.parametrize("positions", ["after_prompt", "all"])
def test_where_a_batch_computes_something_else_answers_are_generated_alone(
    positions: Any, tiny: TinyModels, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny("llama", chat=CHAT)
    original = Batch._step

    def wrong(batch: Batch) -> None:
        if len(batch.rows) > 1:
            for entry in batch.cache:
                entry.keys = entry.keys * 1.01
        original(batch)

    monkeypatch.setattr(Batch, "_step", wrong)
    with caplog.at_level(logging.WARNING):
        check(model, additions(model), positions=positions)
    assert caplog.records[-1].getMessage() == (
        "llama computes differently in a batch, so answers are generated one at a time."
    )


def test_what_does_not_fit_is_refused_before_anything_runs(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    steered = additions(model)
    with pytest.raises(UsageError, match="question 2: the prompt is empty"):
        responses(model, ["Is it?", " "], steered)
    with pytest.raises(ModelError, match=f"question 1: the prompt has .* at most {CONTEXT}"):
        responses(model, ["漢字" * CONTEXT], steered)
    with pytest.raises(UsageError, match=f"layer {LAYERS} does not exist"):
        responses(model, QUESTIONS, {1.0: [Addition(LAYERS, vector(model))]})
    for options in ({"max_tokens": 0}, {"temperature": -1.0}, {"temperature": float("nan")}, {"positions": "some"}):
        with pytest.raises(UsageError):
            responses(model, QUESTIONS, steered, **options)  # type: ignore[arg-type]


def test_values_that_are_not_finite_are_an_error(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT, compute="float16")
    huge = {1.0: [Addition(1, np.full(model.d_model, 3e38, np.float32))]}
    with pytest.raises(ModelError, match="not finite in float16"):
        flat(responses(model, QUESTIONS, huge, max_tokens=3))
    assert not model.stream.tapped_now
