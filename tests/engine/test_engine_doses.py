"""KL where answers are read, and which token comes first there, are those of a plain loop over the model's logits."""

from __future__ import annotations

import itertools
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import entropy
from support.sweeps import dosed, sweep
from support.tiny_models import CHAT, TinyModels

from caa_registry.engine import runs
from caa_registry.engine.sweeps import Part
from caa_registry.evaluation.propensity import ItemSet, answers_of, prepare
from caa_registry.evaluation.sweep import joined_doses
from caa_registry.models.model import Model
from caa_registry.pairs.record import Pair
from caa_registry.steering.additions import Addition, steering

PROMPTS = ["Is it?", "And now, is it so?", "I?", "Do you think that this is what they said it was?", "So?"]
LETTERS = [Pair(prompt, *(("(A)", "(B)") if i % 2 else ("(B)", "(A)"))) for i, prompt in enumerate(PROMPTS)]
TEXTS = [Pair(prompt, "Yes, it is" + " so" * i, "No") for i, prompt in enumerate(PROMPTS)]
MULTIPLIERS = [-1.0, 0.0, 0.5, 3.0]
LAYERS = (0, 2)

Found = tuple[NDArray[np.float64], NDArray[np.bool_]]


def vectors_for(model: Model) -> dict[int, NDArray[np.float32]]:
    draw = np.random.default_rng(0).standard_normal
    return {layer: draw((1, model.d_model)).astype(np.float32) for layer in LAYERS}


def plainly(model: Model, items: ItemSet, vectors: dict[int, NDArray[np.float32]], positions: Any) -> Found:
    """``(layers, multipliers, items)`` each; one text at a time, in float64."""
    answers = answers_of(items)
    ends = len(answers) // len(items.items)
    shape = len(vectors), len(MULTIPLIERS), len(items.items)
    kl, first = np.zeros(shape), np.zeros(shape, bool)
    for place, step, item in np.ndindex(shape):
        layer, each = list(vectors)[place], []
        for answer in answers[item * ends : (item + 1) * ends]:
            read = range(answer.first, answer.first + (1 if answer.either else len(answer.targets)))

            def logits(answer: Any = answer, read: Any = read) -> NDArray[np.float64]:
                with model.stream.prompt(answer.prompt_end):
                    return np.array(model.network(mx.array([answer.ids]))[0].astype(mx.float32), np.float64)[read]

            unsteered = logits()
            with steering(model, [Addition(layer, vectors[layer][0], MULTIPLIERS[step])], positions):
                steered = logits()
            each += list(entropy(softmax(unsteered, axis=1), softmax(steered, axis=1), axis=1))
            first[place, step, item] = steered[0].argmax() in answer.targets
        kl[place, step, item] = np.mean(each)
    return kl, first


def check(found: tuple[Any, Any], wanted: Found, items: ItemSet) -> None:
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5, atol=1e-5)
    assert (found[0][:, MULTIPLIERS.index(0)] == 0).all()
    # Steering moves what is read, else agreement would say nothing.
    assert (found[0][:, -1] > 1e-3).all()
    if items.metric == "propensity":
        np.testing.assert_array_equal(found[1], wanted[1])
    else:
        assert found[1] is None


@pytest.mark.parametrize("positions", ["after_prompt", "all"])
@pytest.mark.parametrize("pairs", [LETTERS, TEXTS], ids=["letters", "texts"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma4_text"])
def test_they_are_as_a_plain_loop_gives(family: str, pairs: list[Pair], positions: Any, tiny: TinyModels) -> None:
    """Of an architecture of which whole texts are run, too."""
    model = tiny(family, chat=CHAT)
    items, vectors = prepare(pairs, model.template(), model), vectors_for(model)
    parts: list[Part] = []
    found = dosed(model, vectors, items, MULTIPLIERS, positions, parts.append)
    assert any(part.whole for part in parts) == (family == "gemma4_text")
    check(found, plainly(model, items, vectors, positions), items)


@pytest.mark.parametrize("pairs", [LETTERS, TEXTS], ids=["letters", "texts"])
def test_small_batches_give_the_same(pairs: list[Pair], tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama", chat=CHAT)
    items, vectors = prepare(pairs, model.template(), model), vectors_for(model)
    wanted = plainly(model, items, vectors, "after_prompt")
    for tokens in (5, 40):
        monkeypatch.setattr(runs, "tokens_at_a_time", lambda tokens=tokens: tokens)
        check(dosed(model, vectors, items, MULTIPLIERS), wanted, items)


def test_a_letter_that_comes_first_is_seen(tiny: TinyModels) -> None:
    """A model whose next token is one of the letters by a push that a steering of the last block gives it."""
    model = tiny("llama", chat=CHAT)
    items = prepare(LETTERS, model.template(), model)
    (letter,) = {answer.targets[0] for answer in answers_of(items)[1:2]}
    toward = np.array(model.network.lm_head.weight[letter], np.float32)
    vectors = {model.n_layers - 1: toward[None] * 1000}
    _, first = dosed(model, vectors, items, [0.0, 1.0])
    assert first is not None and first[0, 1].all() and not first[0, 0].all()


def test_log_probabilities_are_the_same_with_and_without(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    for pairs in (LETTERS, TEXTS):
        items, vectors = prepare(pairs, model.template(), model), vectors_for(model)
        with_doses: list[Part] = []
        dosed(model, vectors, items, MULTIPLIERS, keep=with_doses.append)
        without: list[Part] = []
        sweep(model, vectors, items, MULTIPLIERS, keep=without.append)
        assert all(part.kl is None and part.answers_first is None for part in without)
        by_place = {(part.layer, part.questions): part.log_p for part in without}
        assert by_place.keys() == {(part.layer, part.questions) for part in with_doses}
        for part in with_doses:
            np.testing.assert_array_equal(part.log_p, by_place[part.layer, part.questions])


def test_parts_without_doses_are_refused(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    items = prepare(LETTERS, model.template(), model)
    parts: list[Part] = []
    sweep(model, vectors_for(model), items, MULTIPLIERS, keep=parts.append)
    with pytest.raises(ValueError, match="no doses"):
        joined_doses(items, LAYERS, MULTIPLIERS, parts)


def test_a_question_that_the_model_is_not_asked_has_none(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    offered = "Is it?\n (A) Yes\n (B) No\n (C) So"
    pairs = [Pair(offered, "(C)", "(A)"), Pair(offered, "(A)", "(C)"), Pair(offered, "(B)", "(C)")]
    items = prepare(pairs, model.template(), model, paper=True)
    kl, _ = dosed(model, vectors_for(model), items, MULTIPLIERS)
    assert items.open == 2 and np.isnan(kl[..., 0]).all() and np.isfinite(kl[..., 1:]).all()
    assert all((kl[:, step, 1:] > 0).all() for step in itertools.compress(range(4), MULTIPLIERS))
