"""Letters in every way that they are written: the token that is read, and scores over all letters of the prompt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.plain_forward import logits
from support.tiny_models import CHAT, TinyModels

from caa_registry.evaluation.propensity import prepare, score
from caa_registry.extraction.reading import default_read, encode_pairs
from caa_registry.models.model import Model
from caa_registry.models.rendering.prompts import Template
from caa_registry.pairs.record import Pair

CAPITALS = "Which?\n\nA) red\nB) blue\nC) green"
SMALL = "Which?\n\na) red\nb) blue\nc) green"
NUMBERS = "Which?\n\n1. red\n2. blue\n3. green"
# The prompt, what stands before and behind the letter of an answer, and the letters that the prompt offers.
WRITTEN = [
    ("Which?\n\nChoices:\n (A) red\n (B) blue\n (C) green", "(", ")", "ABC"),
    (CAPITALS, "", "", "ABC"),
    (CAPITALS, " ", "", "ABC"),
    (CAPITALS, "(", ")", "ABC"),
    (CAPITALS, "**", "**", "ABC"),
    (CAPITALS, "**", ")** as I said", "ABC"),
    (CAPITALS, "", ". as I would", "ABC"),
    (CAPITALS, "Answer: ", "", "ABC"),
    (SMALL, "", ")", "abc"),
    (SMALL, "(", ") I agree", "abc"),
    (NUMBERS, "", "", "123"),
    (NUMBERS, "(", ")", "123"),
    ("Which is it? (A) red (B) blue (C) green", "(", ")", "ABC"),
]


def softmax(row: Any) -> Any:
    powers = np.exp(row - row.max())
    return powers / powers.sum()


def by_hand(model: Model, template: Template, prompt: str, before: str, behind: str, letters: str) -> float:
    """One plain forward pass over the text up to the letter; the share of the last letter among all."""
    head, gap = template.render(prompt, "")
    gap = (" " if before[:1] != " " else "") if template.name == "plain" else gap
    before = before if template.name == "plain" else before.lstrip()
    texts = [head + gap + before + letter + behind for letter in letters]
    ids = [template.encode(text, special=template.name != "chat")[0] for text in texts]
    at = next(i for i, tokens in enumerate(zip(*ids, strict=False)) if len(set(tokens)) > 1)
    p = softmax(logits(model.network, ids[0][:at])[-1])
    return float(p[ids[2][at]] / sum(p[row[at]] for row in ids))


@pytest.mark.parametrize("name", ["chat", "plain"])
@pytest.mark.parametrize(("prompt", "before", "behind", "letters"), WRITTEN)
def test_letters_are_scored_over_all_that_the_prompt_lists(
    prompt: str, before: str, behind: str, letters: str, name: Any, demo: Model, tiny: TinyModels
) -> None:
    for model in (demo, tiny("llama", chat=CHAT)):
        template = model.template(name)
        pair = Pair(prompt, f"{before}{letters[2]}{behind}", f"{before}{letters[0]}{behind}")
        items = prepare([pair], template, model)
        assert (items.metric, items.more_choices, items.items[0].letter) == ("propensity", 1, letters[2].upper())
        found = score(model, items)[0]
        assert found == pytest.approx(by_hand(model, template, prompt, before, behind, letters), abs=1e-5)


@pytest.mark.parametrize("name", ["chat", "plain"])
@pytest.mark.parametrize(("prompt", "before", "behind", "letters"), WRITTEN)
def test_the_token_that_is_read_is_the_letter_s(
    prompt: str, before: str, behind: str, letters: str, name: Any, demo: Model, tiny: TinyModels
) -> None:
    for model in (demo, tiny("llama", chat=CHAT)):
        pair = Pair(prompt, f"{before}{letters[1]}{behind}", f"{before}{letters[2]}{behind}")
        assert default_read([pair]) == "answer"
        (tokens,), _ = encode_pairs([pair], model.template(name), model)
        read = [model.tokenizer.decode([side.ids[side.answer]]).strip() for side in (tokens.positive, tokens.negative)]
        assert read == [letters[1], letters[2]]


def test_a_text_behind_a_letter_is_read_at_its_end_where_it_is_no_choice_s(demo: Model) -> None:
    pair = Pair("Who?", "A. Lincoln", "B. Franklin")
    assert default_read([pair]) == "last"
    (tokens,), _ = encode_pairs([pair], demo.template(), demo)
    assert tokens.positive.answer == len(tokens.positive.ids) - 1


def test_letters_of_unlike_tokens_are_said(demo: Model, caplog: pytest.LogCaptureFixture) -> None:
    # The demo model has a token for " A" and none for " B".
    prepare([Pair(CAPITALS, "A", "B"), Pair(CAPITALS, "(A)", "(B)")], demo.template("plain"), demo)
    assert "In 1 of 2 questions this model's tokenizer has one token for some letters and two for others" in caplog.text
    caplog.clear()
    prepare([Pair(CAPITALS, "A", "B"), Pair(CAPITALS, "**A**", "**B**")], demo.template("chat"), demo)
    assert caplog.text == ""


def test_the_paper_scores_numbers_over_the_first_two(demo: Model) -> None:
    pairs = [Pair(NUMBERS, "(1)", "(3)"), Pair(NUMBERS, "(3)", "(1)")]
    items = prepare(pairs, demo.template(), demo, paper=True)
    assert (items.beyond, items.more_choices) == (1, 0)
    first, beyond = score(demo, items)
    two = prepare([Pair("Which?\n\n1. red\n2. blue\n3. green", "(1)", "(2)")], demo.template(), demo, paper=True)
    assert (first, beyond) == (pytest.approx(score(demo, two)[0]), 0.0)


def test_sides_with_the_same_letter_are_scored_as_texts_and_never_as_0(demo: Model) -> None:
    items = prepare([Pair("Which?\n (A) red\n (B) blue", "(A)", "A")], demo.template(), demo)
    assert (items.metric, items.beyond) == ("propensity_completion", 0)
