"""Choices and letters that are not read: each is said at import, with its row, and found by lint."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pairs.conftest import Write

from caa_registry.pairs.answers import form_of, sides_of
from caa_registry.pairs.lint.replies import misfits
from caa_registry.pairs.record import Pair
from caa_registry.pairs.sources import load


def rules(prompt: str, positive: str, negative: str) -> list[str]:
    return [rule for rule, _ in misfits(Pair(prompt, positive, negative))]


def noted(write: Write, *rows: tuple[str, str, str]) -> list[str]:
    parts = ("prompt", "positive", "negative")
    text = "".join(json.dumps(dict(zip(parts, row, strict=True))) + "\n" for row in rows)
    return list(load(write("pairs.jsonl", text)).notes)


@pytest.mark.parametrize(
    ("prompt", "letters"),
    [
        ("?\n(A) red\n(B) blue\nC) green", "AB"),
        ("?\n(A) red\n(B) blue\n(c) green", "AB"),
        ("?\n(A) red\n(B) blue\n[C] green", "AB"),
        ("?\n(A) red\n(B) blue\n(С) green", "AB"),
        ("?\n(A) red\n(B) blue\nC. green", "AB"),
        ("?\n(A) red\n(B) blue\n\nC) green", "AB"),
        ("? (A) red (B) blue C) green", "AB"),
        ("?\nA. red\nB. blue\nC) green", "AB"),
        ("?\n(A) red\n(B) blue\n(C) green (D) white", "ABC"),
        ("?\nA. red\nB. blue\nC. green D. white", "ABC"),
        ("?\n1. red\n2. blue\n3) green", "12"),
    ],
)
def test_a_further_choice_that_is_not_read_is_said(write: Write, prompt: str, letters: str) -> None:
    answers = letters[0], letters[1]
    assert "".join(choice.letter for choice in sides_of(Pair(prompt, *answers)).choices) == letters
    assert "choice-not-read" in rules(prompt, *answers)
    note = "1 item has a label that looks like that of a further choice and is not read: row 1"
    assert note in noted(write, (prompt, *answers))


@pytest.mark.parametrize(
    "prompt",
    [
        "?\n(A) red\n(B) blue",
        "?\n(A) red\n(B) both (A) and (C)",
        "?\n(A) red\n(B) blue\n(C) not (D)",
        "?\n(A) red\n(B) blue\n\nAnswer: (",
        "?\n(A) red\n(B) blue\n\nThen:\n(A) one\n(B) two\n(C) three",
        "?\nA. Boston\nB. I like C++\n",
        "?\nA. red\nB. blue\n1. Give a reason\n2. Be brief\n3. Answer",
    ],
)
def test_other_labels_are_no_further_choices(prompt: str) -> None:
    assert "choice-not-read" not in rules(prompt, "A", "B")


LABELS = ["АБ", "αβ", "①②", "ⒶⒷ", "⒜⒝", "АВ"]


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("style", ["{} ", "{}) ", "({}) ", "{}. "])
def test_labels_that_are_not_read_are_said(labels: str, style: str) -> None:
    prompt = "Which?\n" + "\n".join(
        style.format(label) + text for label, text in zip(labels, ("red", "blue"), strict=True)
    )
    for written in (labels, [style.format(label).strip() for label in labels]):
        assert rules(prompt, *written) == ["labels-not-read"]


@pytest.mark.parametrize(
    ("prompt", "positive", "negative"),
    [
        ("Which?\n(i) red\n(ii) blue", "(ii)", "(i)"),
        ("Which? (i) red (ii) blue", "ii", "i"),
        ("Which?\n<A> red\n<B> blue", "<A>", "<B>"),
        ("Which?\n{A} red\n{B} blue", "{B}", "{A}"),
        *(
            (prompt, *answers)
            for prompt in ("Which? (0) red (1) blue (2) green", "Which?\n0. red\n1. blue", "Which? 0. red 1. blue")
            for answers in (("0", "1"), ("(1)", "(0)"), ("0. red", "1. blue"))
        ),
        ("Choices:\n0. red\n1. blue\n2. green", "1", "2"),
    ],
)
def test_lists_with_other_labels_are_no_lists_and_that_is_said(
    write: Write, prompt: str, positive: str, negative: str
) -> None:
    pair = Pair(prompt, positive, negative)
    assert (sides_of(pair).choices, form_of(pair)) == ((), "free-form")
    assert noted(write, (prompt, positive, negative)) == [
        "1 item answers with labels of its prompt that are not read as those of choices: it is read as free text: row 1"
    ]


@pytest.mark.parametrize(
    ("prompt", "positive", "negative"),
    [
        ("He said no.\nShe said yes.", "He", "She"),
        ("I like my cat. I like my dog.", "cat", "dog"),
        ("What is 7 + 5?", "12", "13"),
        ("A: Hello\nB: Hi", "I am well", "Go away"),
    ],
)
def test_words_of_the_prompt_are_no_labels(prompt: str, positive: str, negative: str) -> None:
    assert rules(prompt, positive, negative) == []


def test_a_number_within_a_line_does_not_end_the_list_below_it() -> None:
    sides = sides_of(Pair("It has a score of 0.\n1. red\n2. blue", "1", "2"))
    assert [choice.text for choice in sides.choices] == ["red", "blue"]


@pytest.mark.parametrize(
    "several", ["A, C", "(A) and (B)", "(A) or (B), I cannot say", "A, B and C", "(A)/(C)", "A. (B)"]
)
@pytest.mark.parametrize("prompt", ["?\nA. red\nB. blue\nC. green", "?\n(A) red\n(B) blue\n(C) green"])
def test_an_answer_of_several_letters_is_free_text(write: Write, prompt: str, several: str) -> None:
    pair = Pair(prompt, several, "B")
    assert (sides_of(pair).positive, form_of(pair)) == (None, "free-form")
    assert noted(write, (prompt, several, "B"))[-1] == (
        "1 item lists choices and answers with neither their letters nor their texts: it is read as free text: row 1"
    )


def test_an_answer_of_several_numbers_is_free_text() -> None:
    assert rules("?\n1. red\n2. blue\n3. green", "1, 3", "2") == ["choices-without-answer"]


@pytest.mark.parametrize("answer", ["A. 5", "A. B", "A) I agree", "(A) and a half", "A, I think", "A, 5"])
def test_a_letter_with_its_text_is_one_letter(answer: str) -> None:
    assert sides_of(Pair("?\nA) 5\nB) 6", answer, "B")).letters == ("A", "B")


def test_white_space_around_letters_is_a_way_to_write_them(write: Write) -> None:
    prompt = "?\n(A) red\n(B) blue"
    assert noted(write, (prompt, "(A)", " (B)")) == [
        "the letters are written in several ways: ' (A)' in 1 pair, (A) in 1"
    ]
    assert noted(write, (prompt, "A", "B"), (prompt, " B", " A")) == [
        "the letters are written in several ways: ' A' in 1 pair, A in 1"
    ]
    assert noted(write, (prompt, " (A)", " (B)"), (prompt, " (B)", " (A)")) == []


def test_a_word_that_looks_like_a_letter_matches_none(write: Write) -> None:
    assert noted(write, ("Who?", "I", "We")) == []


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("?\n(A) red\n\nas roses\n\n(B) blue\n\nWhich?", ["red\n\nas roses", "blue"]),
        ("?\nA) ```\nx\n\ny\n```\nB) ```\nu\n\nv\n```\n\nWhich?", ["```\nx\n\ny\n```", "```\nu\n\nv\n```"]),
        ("A) tea or B) coffee? Answer with A or B.", ["tea", "coffee"]),
        ("A) tea or B) coffee? Please choose one letter", ["tea", "coffee"]),
        ("?\n**A** - red\n**B** - blue", ["red", "blue"]),
        ("?\n(A) - red\n(B) – blue", ["red", "blue"]),
        ("?\n(A) - 5\n(B) -3", ["- 5", "-3"]),
        ("?\nA) red, B) blue,\nC) green", ["red", "blue", "green"]),
        ("?\n(A) red<br>\n(B) blue<br/>", ["red", "blue"]),
        ("?<br>A) red<br>B) blue<br />", ["red", "blue"]),
    ],
)
def test_a_choice_says_its_text_and_nothing_else(prompt: str, texts: list[str]) -> None:
    choices: Any = sides_of(Pair(prompt, "A", "B")).choices
    assert [choice.text for choice in choices] == texts
    assert [prompt[choice.start : choice.stop].strip() for choice in choices] == texts
