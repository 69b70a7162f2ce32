"""Propensity: the paper's own numbers, and every score against a softmax over one plain forward pass."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.plain_forward import logits
from support.tiny_models import CHAT, CONTEXT, FAMILIES, TinyModels

import caa_registry.engine.likelihoods as module
from caa_registry.errors import InputError, ModelError
from caa_registry.evaluation.propensity import (
    BEYOND_LETTERS,
    Item,
    ItemSet,
    other_letter,
    prepare,
    propensity_of,
    score,
)
from caa_registry.models.model import Model
from caa_registry.models.rendering.prompts import Example, Template
from caa_registry.pairs.answers import letter_of
from caa_registry.pairs.record import Pair
from caa_registry.steering.additions import Addition, steering

QUESTION = "Would you like a donut now?\n\nChoices:\n (A) Yes\n (B) No"
LETTERS = [
    Pair(QUESTION, "(A)", "(B)"),
    Pair("Is it?\n (A) No\n (B) Yes", "(B)", "(A)"),
    Pair(QUESTION * 2, "(B)", "(A)", system="Be kind."),
    Pair("And now?", "(A)", "(B)"),
]
YES_NO = [Pair("Is it?", "Yes", "No"), Pair("Would you like a donut now?", "No", "Yes"), Pair("I?", "yes.", "no.")]
# Short and alike, so that no likelihood drowns the other.
FREE = [
    Pair("What do you think?", "It was good", "It was bad"),
    Pair("", "It was a good day.", "It was a bad day."),
    Pair("And now, or in a bad night?", "I", "yes"),
    Pair("And now?", "I do", "I agree", system="Be kind."),
]


# The paper's published probabilities (7B chat, layer 13) and the means it prints.
PAPER = {
    "sycophancy": {"-1.0": 0.54, "0.0": 0.69, "1.0": 0.62},
    "corrigible-neutral-HHH": {"-1.0": 0.20, "0.0": 0.64, "1.0": 0.91},
    "survival-instinct": {"-1.0": 0.27, "0.0": 0.34, "1.0": 0.62},
}


@pytest.mark.parametrize("behavior", PAPER)
def test_the_paper_s_own_probabilities_give_its_means(behavior: str, shared: Path) -> None:
    for multiplier, mean in PAPER[behavior].items():
        file = shared / "data" / "caa" / "results" / behavior / f"ab_layer13_multiplier{multiplier}_7b.json"
        rows = json.loads(file.read_text(encoding="utf-8"))
        letters = [str(letter_of(row["answer_matching_behavior"])) for row in rows]
        log_p = [{"A": math.log(row["a_prob"]), "B": math.log(row["b_prob"])} for row in rows]
        inside = [i for i, letter in enumerate(letters) if other_letter(letter)]
        found = propensity_of(
            [log_p[i][letters[i]] for i in inside], [log_p[i][str(other_letter(letters[i]))] for i in inside]
        )
        beyond = len(rows) - len(inside)
        assert beyond == (4 if behavior == "survival-instinct" else 0)
        paper = np.concatenate([found, np.full(beyond, propensity_of(*BEYOND_LETTERS))])
        assert len(paper) == 50
        assert round(float(paper.mean()), 2) == mean


LOG_PROBABILITY = st.floats(-700, 0)


@given(st.lists(st.tuples(LOG_PROBABILITY, LOG_PROBABILITY), min_size=1))
def test_propensity_is_the_share_of_two_probabilities(sides: list[tuple[float, float]]) -> None:
    a, b = (np.array(side) for side in zip(*sides, strict=True))
    np.testing.assert_allclose(propensity_of(a, b), np.exp(a) / (np.exp(a) + np.exp(b)), atol=1e-12)
    np.testing.assert_allclose(propensity_of(a, b) + propensity_of(b, a), 1.0)


def test_propensity_of_edges() -> None:
    assert propensity_of(math.log(0.25), math.log(0.75)) == pytest.approx(0.25)
    assert propensity_of([[0.0, -math.inf]], [[-math.inf, 0.0]]).tolist() == [[1.0, 0.0]]
    # What is not a number is not 0.5.
    assert math.isnan(float(propensity_of(float("nan"), 0.5)))
    assert [other_letter(letter) for letter in "ABC"] == ["B", "A", None]


def softmax(row: np.ndarray) -> np.ndarray:
    powers = np.exp(row - row.max())
    return np.asarray(powers / powers.sum())


def by_letter(model: Model, template: Template, pair: Pair) -> float:
    """The paper's way: text up to the bracket, one full softmax, the probabilities of A and B."""
    text = template.prompt(pair.prompt, pair.system).text + "("
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    probabilities = softmax(logits(model.network, ids)[-1])
    p_a, p_b = (probabilities[model.tokenizer.convert_tokens_to_ids(letter)] for letter in "AB")
    return float(p_a / (p_a + p_b) if letter_of(pair.positive) == "A" else p_b / (p_a + p_b))


@pytest.mark.parametrize("family", FAMILIES)
def test_letters_are_scored_as_the_paper_does(family: str, tiny: TinyModels) -> None:
    model = tiny(family, chat=CHAT)
    template = model.template()
    items = prepare(LETTERS, template, model)
    assert (items.metric, items.beyond, items.too_long) == ("propensity", 0, 0)
    wanted = [by_letter(model, template, pair) for pair in LETTERS]
    np.testing.assert_allclose(score(model, items), wanted, atol=1e-5)
    assert np.ptp(wanted) > 0.01


def likelihood(model: Model, ids: tuple[int, ...], start: int) -> float:
    rows = logits(model.network, ids)
    return float(sum(np.log(softmax(rows[i - 1])[ids[i]]) for i in range(max(start, 1), len(ids))))


@pytest.mark.parametrize("name", ["chat", "plain", "llama-2"])
@pytest.mark.parametrize("family", ["llama", "mamba", "gemma3_text"])
def test_yes_and_no_are_scored_by_their_first_differing_token(family: str, name: Any, tiny: TinyModels) -> None:
    model = tiny(family, chat=CHAT)
    template = model.template(name)
    items = prepare(YES_NO, template, model)
    assert items.metric == "propensity"
    wanted = []
    for pair in YES_NO:
        sides = [template.complete(pair.prompt, text).ids for text in (pair.positive, pair.negative)]
        at = next(i for i, (a, b) in enumerate(zip(*sides, strict=False)) if a != b)
        probabilities = softmax(logits(model.network, sides[0][:at])[-1])
        p, q = (probabilities[ids[at]] for ids in sides)
        wanted.append(p / (p + q))
    np.testing.assert_allclose(score(model, items), wanted, atol=1e-5)


@pytest.mark.parametrize("adds_bos", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_free_text_is_scored_by_its_likelihood(family: str, adds_bos: bool, tiny: TinyModels) -> None:
    model = tiny(family, chat=CHAT, adds_bos=adds_bos)
    template = model.template()
    items = prepare(FREE, template, model)
    assert items.metric == "propensity_completion"
    wanted = []
    for pair in FREE:
        sides = [template.complete(pair.prompt, text, pair.system) for text in (pair.positive, pair.negative)]
        p, q = (likelihood(model, side.ids, side.start) for side in sides)
        wanted.append(1 / (1 + math.exp(q - p)))
    np.testing.assert_allclose(score(model, items), wanted, rtol=1e-4, atol=1e-5)
    assert any(0.01 < p < 0.99 for p in wanted)


@pytest.mark.parametrize("family", ["llama", "mamba", "gemma3_text"])
def test_free_text_is_steered_from_where_its_prompt_ends(family: str, tiny: TinyModels) -> None:
    model = tiny(family, chat=CHAT)
    template = model.template()
    wanted = []
    with steering(model, [Addition(1, np.linspace(-1, 1, model.d_model, dtype=np.float32))]):
        found = score(model, prepare(FREE, template, model))
        for pair in FREE:
            sides = [template.complete(pair.prompt, text, pair.system) for text in (pair.positive, pair.negative)]
            sums = []
            for side in sides:
                with model.stream.prompt(side.prompt_end):
                    sums.append(likelihood(model, side.ids, side.start))
            wanted.append(1 / (1 + math.exp(sums[1] - sums[0])))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert np.abs(found - score(model, prepare(FREE, template, model))).max() > 0.01


@pytest.mark.parametrize("pairs", [LETTERS, YES_NO, FREE])
@pytest.mark.parametrize("family", ["llama", "mamba", "gemma3_text", "qwen3_moe"])
@pytest.mark.parametrize("steered", [False, True])
def test_the_size_of_batches_does_not_show(
    pairs: list[Pair], family: str, steered: bool, tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny(family, chat=CHAT)
    items = prepare(pairs, model.template(), model)
    addition = [Addition(1, np.linspace(-1, 1, model.d_model, dtype=np.float32))] if steered else []
    with steering(model, addition):
        together = score(model, items)
        monkeypatch.setattr(module, "_LOGITS_PER_BATCH", 1)
        alone = score(model, items)
        monkeypatch.undo()
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "mamba"])
def test_a_steered_score_is_what_steered_generation_would_choose_from(family: str, tiny: TinyModels) -> None:
    model = tiny(family, chat=CHAT)
    template = model.template()
    pair = Pair("Is it?", "Yes", "No")
    vector = np.linspace(-2, 2, model.d_model, dtype=np.float32)
    sides = [template.complete(pair.prompt, text) for text in ("Yes", "No")]
    with steering(model, [Addition(1, vector)]):
        found = score(model, prepare([pair], template, model))[0]
        first, other = (side.ids[side.start] for side in sides)
        probabilities = {t.id: t.probability for t in model.next_tokens(pair.prompt, top=400)}
    assert found == pytest.approx(probabilities[first] / (probabilities[first] + probabilities[other]), abs=1e-5)
    assert found != pytest.approx(score(model, prepare([pair], template, model))[0], abs=1e-4)


@pytest.mark.parametrize("pairs", [LETTERS, YES_NO, FREE])
def test_swapping_the_sides_gives_the_rest(pairs: list[Pair], tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    template = model.template()
    swapped = [Pair(p.prompt, p.negative, p.positive, p.system) for p in pairs]
    found = score(model, prepare(pairs, template, model))
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(found + score(model, prepare(swapped, template, model)), 1.0, atol=1e-5)


MORE = "Which is it?\n (A) Red\n (B) Green\n (C) Blue\n (D) None"


def letter_probabilities(model: Model, template: Template, prompt: str) -> dict[str, float]:
    ids = template.complete(prompt, "(A)").ids
    at = next(i for i, (a, b) in enumerate(zip(ids, template.complete(prompt, "(B)").ids, strict=True)) if a != b)
    probabilities = softmax(logits(model.network, ids[:at])[-1])
    return {x: float(probabilities[template.complete(prompt, f"({x})").ids[at]]) for x in "ABCDEF"}


def test_more_than_two_choices_are_scored_over_all_letters(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    template = model.template()
    pairs = [Pair(MORE, "(A)", "(C)"), Pair(MORE, "(D)", "(A)"), LETTERS[0]]
    items = prepare(pairs, template, model)
    assert (items.more_choices, items.beyond, [item.letter for item in items.items]) == (2, 0, ["A", "D", "A"])
    p = letter_probabilities(model, template, MORE)
    total = sum(p[letter] for letter in "ABCD")
    wanted = [p["A"] / total, p["D"] / total, by_letter(model, template, LETTERS[0])]
    np.testing.assert_allclose(score(model, items), wanted, atol=1e-5)
    # The letter that does not match counts even where the prompt does not list it, and where none is listed.
    unlisted = prepare([Pair(QUESTION, "(B)", "(C)"), Pair("Is it?", "(E)", "(F)")], template, model)
    p, q = letter_probabilities(model, template, QUESTION), letter_probabilities(model, template, "Is it?")
    wanted = [p["B"] / (p["A"] + p["B"] + p["C"]), q["E"] / (q["E"] + q["F"])]
    np.testing.assert_allclose(score(model, unlisted), wanted, atol=1e-5)


def test_the_paper_scores_over_a_and_b_and_counts_other_letters_as_0(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    template = model.template()
    beyond = [Pair("Is it?", "(C)", "(A)"), Pair("Is it?", "(E)", "(F)")]
    items = prepare([Pair(MORE, "(A)", "(C)"), beyond[0], LETTERS[1], beyond[1]], template, model, paper=True)
    assert (len(items.items), items.beyond, items.more_choices) == (4, 2, 0)
    p = letter_probabilities(model, template, MORE)
    wanted = [p["A"] / (p["A"] + p["B"]), 0.0, by_letter(model, template, LETTERS[1]), 0.0]
    np.testing.assert_allclose(score(model, items), wanted, atol=1e-5)
    # Nothing but zeros needs no forward pass.
    assert score(model, prepare(beyond, template, model, paper=True)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", ["chat", "plain", "llama-2"])
def test_system_prompts_and_examples_stand_before_the_question(name: Any, tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    template = model.template(name)
    pairs = [Pair("Is it?", "Yes", "No", system="Be kind."), Pair("", "It was good.", "It was bad.")]
    example = Example("Would it?", " Yes ")
    items = prepare(pairs, template, model, system="Be brief.", examples=[example])
    asked, whole = (template.tokenizer.decode(item.matching.ids) for item in items.items)
    places = [asked.index(text) for text in ("Be brief.", "Be kind.", "Would it?", "Yes", "Is it?")]
    assert places == sorted(places)
    assert whole.index("Be brief.") < whole.index("Would it?") < whole.index("It was good.")
    item = items.items[0].matching
    # Steering starts where the question's own template ends.
    assert (
        template.tokenizer.decode(item.ids[: item.prompt_end + 1])
        .rstrip()
        .endswith(template.prompt("Is it?").text[-6:].strip())
    )
    if name == "chat":
        turns = [("user", "Would it?"), ("assistant", "Yes"), ("user", "Is it?")]
        messages = [{"role": role, "content": text} for role, text in turns]
        system = {"role": "system", "content": "Be brief.\n\nBe kind."}
        wanted = template.tokenizer.apply_chat_template([system, *messages], tokenize=False, add_generation_prompt=True)
        assert template.tokenizer.decode(item.ids[: item.start]).startswith(wanted.rstrip())


def test_mixed_forms(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    template = model.template()
    tokens = prepare([*LETTERS, *YES_NO], template, model)
    assert tokens.metric == "propensity"
    np.testing.assert_allclose(
        score(model, tokens),
        np.concatenate([score(model, prepare(pairs, template, model)) for pairs in (LETTERS, YES_NO)]),
        atol=1e-5,
    )
    completions = prepare([*LETTERS, *FREE], template, model)
    assert (completions.metric, len(completions.items)) == ("propensity_completion", 8)
    np.testing.assert_allclose(
        score(model, completions)[len(LETTERS) :], score(model, prepare(FREE, template, model)), atol=1e-5
    )


def test_items_that_are_too_long_are_left_out_and_counted(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    long = Pair("漢字" * CONTEXT, "(A)", "(B)")
    items = prepare([long, LETTERS[0], long], model.template(), model)
    assert (len(items.items), items.too_long) == (1, 2)
    with pytest.raises(InputError, match="1 longer than the 96 tokens"):
        prepare([long], model.template(), model)


@pytest.mark.parametrize("merges", [("(A", "(B"), ("A)", "B)"), ("(A)", "(B)")])
def test_letters_that_a_tokenizer_merges_are_still_told_apart(merges: tuple[str, ...], tiny: TinyModels) -> None:
    from support.tiny_models import tiny_tokenizer

    model = tiny("llama", chat=CHAT)
    template = Template("chat", tiny_tokenizer(chat=CHAT, merges=merges))
    items = prepare(LETTERS[:1], template, model)
    assert 0 <= score(model, items)[0] <= 1
    item = items.items[0]
    assert "A" in template.tokenizer.decode([item.matching.ids[item.shared]])
    assert "B" in template.tokenizer.decode([item.others[0].ids[item.shared]])


def test_answers_that_no_token_tells_apart_are_refused(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    # As where a tokenizer knows neither letter and writes both as the unknown token.
    answer = model.template().complete("Is it?", "(A)")
    with pytest.raises(InputError, match="told apart"):
        score(model, ItemSet("propensity", (Item(0, answer, (answer,), len(answer.ids)),)))


def test_a_first_token_that_nothing_predicts_is_left_out_and_counted(tiny: TinyModels) -> None:
    model = tiny("llama")
    template = model.template("plain")
    differs_at_once = Pair("", "I", "agree with me")
    differs_later = Pair("", "It was good", "It was bad")
    items = prepare([differs_at_once, differs_later], template, model)
    assert (len(items.items), items.unscorable) == (1, 1)
    with pytest.raises(InputError, match="first token"):
        prepare([differs_at_once], template, model)


@pytest.mark.parametrize("pairs", [LETTERS, FREE])
def test_logits_that_are_not_numbers_are_an_error_not_a_score(pairs: list[Pair], tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT, dtype="float16", compute="float16")
    items = prepare(pairs, model.template(), model)
    score(model, items)
    huge = [Addition(0, np.full(model.d_model, 6e4, np.float32)), Addition(1, np.full(model.d_model, 6e4, np.float32))]
    with steering(model, huge), pytest.raises(ModelError, match="not finite in float16"):
        score(model, items)


@pytest.mark.parametrize("bits", [4, 8])
def test_quantized_models_are_scored(bits: int, tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT, bits=bits)
    template = model.template()
    wanted = [by_letter(model, template, pair) for pair in LETTERS]
    np.testing.assert_allclose(score(model, prepare(LETTERS, template, model)), wanted, atol=1e-4)


def test_the_demo_model_is_scored(demo: Model) -> None:
    template = demo.template()
    pair = Pair("Would you like a list of rivers?", "Yes", "No")
    ids = template.prompt(pair.prompt).ids
    probabilities = softmax(logits(demo.network, ids)[-1])
    yes, no = (probabilities[template.complete(pair.prompt, word).ids[len(ids)]] for word in ("Yes", "No"))
    assert score(demo, prepare([pair], template, demo))[0] == pytest.approx(yes / (yes + no), abs=1e-5)
