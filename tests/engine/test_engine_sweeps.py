"""Running only what steering changes gives what whole texts give."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray
from support.counting import first_block_shapes, tokens_in
from support.sweeps import sweep
from support.tiny_models import CHAT, FAMILIES, LAYERS, TinyModels

from caa_registry.engine import runs as steered_runs
from caa_registry.engine import sweeps
from caa_registry.engine.checks import DifferentError
from caa_registry.engine.logits import Answer, Readout
from caa_registry.engine.sweeps import Arm, Part, Parts, Sweep, run_steered, run_whole
from caa_registry.errors import ModelError
from caa_registry.evaluation.propensity import answers_of, prepare
from caa_registry.models.model import Model
from caa_registry.pairs.record import Pair
from caa_registry.steering.positions import STEERED_POSITIONS

PROMPTS = ["Is it?", "And now, is it so?", "I?", "Do you think that this is what they said it was?", "Is it?", "So?"]
LETTERS = [Pair(prompt, *(("(A)", "(B)") if i % 2 else ("(B)", "(A)"))) for i, prompt in enumerate(PROMPTS)]
TEXTS = [Pair(prompt, "Yes, it is" + " so" * i, "No") for i, prompt in enumerate(PROMPTS)]
HAND_ON_MORE = {"gemma4_text"}
MULTIPLIERS = [-1.0, 0.5, 3.0]


def vectors_for(model: Model, layers: tuple[int, ...] = tuple(range(LAYERS))) -> dict[int, NDArray[np.float32]]:
    draw = np.random.default_rng(0).standard_normal
    return {layer: draw((2, model.d_model)).astype(np.float32) for layer in layers}


def sweep_of(model: Model, pairs: list[Pair], positions: Any = "after_prompt", **others: Any) -> Sweep:
    items = prepare(pairs, model.template(), model)
    ends = 1 if items.metric == "propensity" else 2
    given = {"vectors": vectors_for(model), "multipliers": MULTIPLIERS} | others
    return Sweep(model, answers_of(items), ends, [Arm(given["vectors"], given["multipliers"])], positions)


def steered(run: Sweep, kept: Sequence[Part] = ()) -> list[Part]:
    """The parts of a sweep of one arm."""
    found: list[Parts] = []
    run_steered(run, found.append, places_of(kept))
    return [part for (part,) in found]


def whole_texts(run: Sweep, kept: Sequence[Part] = ()) -> list[Part]:
    return [part for (part,) in run_whole(run, places_of(kept))]


def places_of(kept: Sequence[Part]) -> set[tuple[int | None, int]]:
    return set().union(*(part.places for part in kept))


def table(parts: list[Part], questions: int) -> dict[int | None, NDArray[np.float64]]:
    """Every part in its place; each place is filled once."""
    found: dict[int | None, NDArray[np.float64]] = {}
    for part in parts:
        whole = found.setdefault(part.layer, np.full((questions, *part.log_p.shape[1:]), np.nan))
        assert np.isnan(whole[list(part.questions)]).all()
        whole[list(part.questions)] = part.log_p
    assert all(np.isfinite(whole).all() for whole in found.values())
    return found


def check(run: Sweep) -> None:
    questions = len(run.answers) // run.ends
    found, wanted = table(steered(run), questions), table(whole_texts(run), questions)
    assert found.keys() == wanted.keys()
    for layer, values in wanted.items():
        np.testing.assert_allclose(found[layer], values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("positions", STEERED_POSITIONS)
@pytest.mark.parametrize("pairs", [LETTERS, TEXTS], ids=["letters", "texts"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_multiplier_and_position_is_as_whole_texts_give(
    family: str, pairs: list[Pair], positions: Any, tiny: TinyModels
) -> None:
    model = tiny(family, chat=CHAT)
    if family in HAND_ON_MORE:
        with pytest.raises(DifferentError, match="hand on more than the residual stream"):
            check(sweep_of(model, pairs, positions))
    else:
        check(sweep_of(model, pairs, positions))


@pytest.mark.parametrize("pairs", [LETTERS, TEXTS], ids=["letters", "texts"])
def test_small_batches_give_the_same(pairs: list[Pair], tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Multipliers of one layer in several batches, a question a group."""
    monkeypatch.setattr(steered_runs, "tokens_at_a_time", lambda: 5)
    check(sweep_of(tiny("llama", chat=CHAT), pairs))


def test_few_questions_of_several_lengths_are_spread_over_what_is_computed_at_a_time(
    tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "workers", lambda: 2)
    pairs = [Pair("Is it" + " so" * words + "?", "(A)", "(B)") for words in (12, 13, 14, 15)]
    parts = steered(sweep_of(tiny("llama", chat=CHAT), pairs))
    assert {part.questions for part in parts} == {(0, 1), (2, 3)}


def test_without_multipliers_only_the_unsteered_model_is_run(tiny: TinyModels) -> None:
    parts = steered(sweep_of(tiny("llama"), LETTERS, multipliers=[]))
    assert {part.layer for part in parts} == {None}
    table(parts, len(LETTERS))


def test_blocks_up_to_the_steered_layer_are_run_once(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    with first_block_shapes(model) as shapes:
        run_steered(sweep_of(model, LETTERS, vectors=vectors_for(model, (LAYERS - 1,))), lambda parts: None)
    # Nothing but the prompts and the text that is run whole to check: not the rows of the multipliers.
    texts = [len(answer.ids) for answer in sweep_of(model, LETTERS).answers]
    assert 0 < tokens_in(shapes) <= sum(texts) + 2 * max(texts)


@pytest.mark.parametrize("end", [0, 1], ids=["the longest", "the shortest"])
def test_of_a_question_the_longest_answer_and_the_shortest_are_checked(
    end: int, tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = sweep_of(tiny("llama", chat=CHAT), TEXTS)
    lengths = [len(answer.ids) for answer in run.answers]
    assert all(longest > shortest for longest, shortest in zip(lengths[::2], lengths[1::2], strict=True))
    wrong = {answer.ids for answer in run.answers[end::2]}
    original = sweeps.read_answers

    def bent(answers: Sequence[Answer], *others: Any) -> Readout:
        reading = original(answers, *others)
        shift = np.array([[1.0 if answer.ids in wrong else 0.0] for answer in answers])
        return replace(reading, log_p=reading.log_p + shift)

    monkeypatch.setattr(sweeps, "read_answers", bent)
    with pytest.raises(DifferentError, match="computes differently when a prompt is run once"):
        steered(run)


@pytest.mark.parametrize("wrong", ["prompt", "entry"])
def test_where_it_computes_something_else_whole_texts_are_run(
    wrong: str, tiny: TinyModels, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny("llama", chat=CHAT)
    if wrong == "prompt":
        original = steered_runs.branched

        def bent(cache: Any, copies: int) -> Any:
            branches = original(cache, copies)
            branches[0].keys = branches[0].keys * 0.5
            return branches

        monkeypatch.setattr(steered_runs, "branched", bent)
    else:
        entered = model.stream.entered
        monkeypatch.setattr(model.stream, "entered", lambda layer, hidden: entered(layer, hidden * 1.1))
    parts: list[Parts] = []
    with pytest.raises(DifferentError, match="llama computes differently"):
        run_steered(sweep_of(model, LETTERS), parts.append)
    assert parts == []
    items = prepare(LETTERS, model.template(), model)
    vectors = {layer: values for layer, values in vectors_for(model).items() if layer < 2}
    with caplog.at_level(logging.WARNING):
        found = sweep(model, vectors, items, [0, 1])
    assert "every text is run whole" in caplog.text
    monkeypatch.undo()
    np.testing.assert_allclose(found, sweep(model, vectors, items, [0, 1]), atol=1e-5)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("pairs", [LETTERS, TEXTS], ids=["letters", "texts"])
def test_what_was_kept_is_not_run_again(
    whole: bool, pairs: list[Pair], tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much of it there is: the rest completes it, and nothing comes twice."""
    monkeypatch.setattr(steered_runs, "tokens_at_a_time", lambda: 40)
    run = sweep_of(tiny("llama", chat=CHAT), pairs)

    parts_of = whole_texts if whole else steered
    every = parts_of(run, [])
    questions = len(run.answers) // run.ends
    wanted = table(every, questions)
    assert len(every) > 3
    for n in range(1, len(every) + 1):
        found = table(every[:n] + parts_of(run, every[:n]), questions)
        assert found.keys() == wanted.keys()
        for layer, values in wanted.items():
            np.testing.assert_allclose(found[layer], values, rtol=1e-5, atol=1e-5)


def test_nothing_is_run_where_all_was_kept(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama", chat=CHAT)
    run = sweep_of(model, LETTERS)
    parts = steered(run)

    def never(*arguments: Any, **named: Any) -> Any:
        raise AssertionError("the network was run")

    monkeypatch.setattr(type(model.network), "__call__", never)
    assert steered(run, parts) == []
    every = tuple(run.questions)
    assert whole_texts(run, [Part(layer, every, np.empty(0), True) for layer in (None, *run.additions)]) == []


def test_an_interruption_ends_it_soon_and_leaves_the_network_as_it_was(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    run = sweep_of(model, LETTERS)
    before = type(model.network), model.network(mx.array([[3, 4]]))

    def interrupted(parts: Parts) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_steered(run, interrupted)
    assert type(model.network) is before[0] and not model.stream.tapped_now
    np.testing.assert_array_equal(np.array(model.network(mx.array([[3, 4]]))), np.array(before[1]))
    check(run)


def test_blocks_that_hand_on_more_than_the_stream_cannot_be_entered(
    tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama")
    monkeypatch.setattr(model.stream, "_lone", False)
    with pytest.raises(ModelError, match="hand on more"), model.stream.entered(0, mx.zeros((1, 1, model.d_model))):
        pass
    with pytest.raises(DifferentError, match="hand on more"):
        run_steered(sweep_of(model, LETTERS), lambda part: None)


def arms_for(model: Model) -> list[Arm]:
    """One with doses; two vectors at other multipliers; one more."""
    draw = np.random.default_rng(1).standard_normal
    more = {layer: draw((3, model.d_model)).astype(np.float32) for layer in range(LAYERS)}
    return [
        Arm({layer: values[:1] for layer, values in vectors_for(model).items()}, MULTIPLIERS, doses=True),
        Arm(vectors_for(model), [-2.0, 2.0]),
        Arm(more, [1.0]),
    ]


@pytest.mark.parametrize("tokens", [5, 40, 640])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("pairs", [LETTERS, TEXTS], ids=["letters", "texts"])
def test_arms_give_together_what_each_gives_alone(
    pairs: list[Pair], whole: bool, tokens: int, tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steered_runs, "tokens_at_a_time", lambda: tokens)
    model = tiny("llama", chat=CHAT)
    run, arms = sweep_of(model, pairs), arms_for(model)
    questions = len(run.answers) // run.ends
    together: list[Parts] = []
    if whole:
        together.extend(run_whole(replace(run, arms=arms)))
    else:
        run_steered(replace(run, arms=arms), together.append)
    for arm, of_arm in zip(arms, zip(*together, strict=True), strict=True):
        alone = steered(replace(run, arms=[arm]))
        found, wanted = table(list(of_arm), questions), table(alone, questions)
        for layer, values in wanted.items():
            np.testing.assert_allclose(found[layer], values, rtol=1e-5, atol=1e-5)
        assert {part.kl is not None for part in of_arm} == {arm.doses}
        if arm.doses:
            np.testing.assert_allclose(doses(of_arm, questions), doses(alone, questions), rtol=1e-4, atol=1e-6)


def doses(parts: Sequence[Part], questions: int) -> NDArray[np.float64]:
    """KL, ``(layers, questions, multipliers)``."""
    kl = np.full((LAYERS, questions, len(MULTIPLIERS)), np.nan)
    for part in parts:
        assert part.kl is not None and (part.answers_first is None or part.answers_first.shape == part.kl.shape)
        if part.layer is not None:
            kl[part.layer, list(part.questions)] = part.kl
    assert np.isfinite(kl).all()
    return kl


def test_prompts_are_run_once_for_all_arms(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    run, counts = sweep_of(model, LETTERS, vectors=vectors_for(model, (LAYERS - 1,))), []
    for arms in ([*run.arms], [*run.arms, *run.arms]):
        with first_block_shapes(model) as shapes:
            run_steered(replace(run, arms=arms), lambda parts: None)
        counts.append(tokens_in(shapes))
    # Groups, and so their paddings, may be others.
    assert counts[1] < 1.1 * counts[0]
