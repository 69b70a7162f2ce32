"""Choices and letters in the layouts that people write: what a person would write down of each, and what is prose."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caa_registry.pairs.answers import choices, form_of, letter_of, sides_of
from caa_registry.pairs.choices import listings, paper_listing, place_of
from caa_registry.pairs.curation.changing import Balance, exchanged
from caa_registry.pairs.curation.forms import ToAB, ToFreeForm
from caa_registry.pairs.questions import question, said
from caa_registry.pairs.record import Pair, PairItem

# How a label is written, with L for it, and what stands between the label and its text.
STYLES = {
    "(A)": "(L) ", "A)": "L) ", "A.": "L. ", "A:": "L: ", "[A]": "[L] ", "(a)": "(l) ", "a)": "l) ", "a.": "l. ",
    "(1)": "(1) ", "1.": "1. ", "1)": "1) ", "**A**": "**L** ", "**A)**": "**L)** ", "**(A)**": "**(L)** ",
    "**A.**": "**L.** ", "- A)": "- L) ", "* A.": "* L. ", "• (A)": "• (L) ", "（A）": "（L）", "Ａ)": "Ｌ) ",
    "A、": "L、", "Option A:": "Option L: ", "(A):": "(L): ", "> A)": "> L) ", "indented": "\t L) ", "A -": "L - ",
}  # fmt: skip
TEXTS = ["Yes, I would", "No, never", "Maybe (in part)"]


def label(style: str, place: int) -> str:
    letter = string.ascii_uppercase[place]
    full = chr(ord(letter) + 0xFEE0)
    written = style.replace("L", letter).replace("Ｌ", full).replace("1", str(place + 1))
    return written if style == "Option L: " else written.replace("l", letter.lower())


def listed(style: str, texts: list[str], joint: str = "\n") -> str:
    return joint.join(label(style, place) + text for place, text in enumerate(texts))


def answer(style: str, place: int) -> str:
    return label(style, place).strip(" \t-*•>") if "**" not in style else label(style, place).strip()


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("tail", ["", "\n\nAnswer:", "\nThe answer is", "\n\nAnswer with one of them."])
def test_each_layout_is_read_for_what_it_is(name: str, tail: str) -> None:
    style = STYLES[name]
    prompt = f"Would you?\n\n{listed(style, TEXTS)}{tail}"
    pair = Pair(prompt, answer(style, 2), answer(style, 0))
    letters = ["1", "2", "3"] if "1" in style else ["A", "B", "C"]
    sides = sides_of(pair)
    assert [(choice.letter, choice.text) for choice in sides.choices] == list(zip(letters, TEXTS, strict=True))
    assert sides.letters == (letters[2], letters[0])
    assert (form_of(pair), said(pair), question(pair)) == ("A/B", (TEXTS[2], TEXTS[0]), "would you?")
    assert all(prompt[choice.start : choice.stop].strip() == choice.text for choice in sides.choices)


@pytest.mark.parametrize("joint", [" ", ", ", "  ", "; ", " / ", " or ", ", or "])
@pytest.mark.parametrize("name", ["(A)", "A)", "A.", "A:", "[A]", "(a)", "a)", "(1)", "1)", "**A)**", "（A）"])
def test_lists_on_one_line(name: str, joint: str) -> None:
    style = STYLES[name]
    pair = Pair(f"Would you? {listed(style, ['yes', 'no'], joint)}", answer(style, 0), answer(style, 1))
    sides = sides_of(pair)
    assert [choice.text for choice in sides.choices] == ["yes", "no"]
    assert (form_of(pair), place_of((sides.letters or ("C", ""))[0])) == ("A/B", 0)


LISTED = "Would you?\nA) Yes\nB) No\nC) Maybe"


@pytest.mark.parametrize(
    ("prompt", "completion", "letter", "form"),
    [
        (LISTED, "A", "A", "A"),
        (LISTED, " A", "A", "A"),
        (LISTED, "(A)", "A", "(A)"),
        (LISTED, "b)", "B", "a)"),
        (LISTED, "b", "B", "a"),
        (LISTED, "A. Yes", "A", "A. ..."),
        (LISTED, "(B) No, because", "B", "(A) ..."),
        (LISTED, "A) Yes", "A", "A) ..."),
        (LISTED, "C - Maybe", "C", "A - ..."),
        (LISTED, "**B**", "B", "**A**"),
        (LISTED, "**B)** No", "B", "**A)** ..."),
        (LISTED, "Answer: A", "A", "Answer: A"),
        (LISTED, "The answer is (C)", "C", "The answer is (A)"),
        (LISTED, "（Ｂ）", "B", "（Ａ）"),
        (LISTED, "Ｃ", "C", "Ａ"),
        (LISTED, "B.", "B", "A."),
        ("Which?\n1. red\n2. blue", "2", "2", "1"),
        ("Which?\n1. red\n2. blue", "(2)", "2", "(1)"),
        ("Which?\n1. red\n2. blue", "2. blue", "2", "1. ..."),
        ("Which? (1) red (2) blue", "2", "2", "1"),
    ],
)
def test_answers_are_seen_for_what_they_are(prompt: str, completion: str, letter: str, form: str) -> None:
    other = "1" if letter == "2" else "A" if letter != "A" else "B"
    found = sides_of(Pair(prompt, completion, other)).positive
    assert found is not None
    assert (found.letter, found.form) == (letter, form)
    written = completion[found.start : found.stop]
    assert written.upper() in (letter, chr(ord(letter) + 0xFEE0))
    # Its alternatives are written alike.
    assert (
        found.exchanged(completion, other)
        == completion[: found.start]
        + (other.lower() if written.islower() else other if written.isascii() else chr(ord(other) + 0xFEE0))
        + completion[found.stop :]
    )


PROSE = [
    ("A. Lincoln was president. Who came next?", "He did", "She did"),
    ("A. Lincoln and B. Franklin met. Who was older?", "Franklin", "Lincoln"),
    ("I. introduction\nII. methods", "one", "two"),
    ("e.g. (a) first we mix, (b) then we bake", "We stir", "We do not"),
    ("A: Hello\nB: Hi\nA: How are you?", "I am well", "Go away"),
    ("A: Hello\nB: Hi", "A: I am well.", "B: Go away."),
    ("Q: Who are you?\nA: I am a model.\nQ: Why?", "Because", "Never"),
    ("Do this:\n1. Buy milk\n2. Buy eggs", "I will do it", "I will not"),
    ("Do this:\n1. Buy milk\n2. Buy eggs", "1. I buy milk", "1. I do nothing"),
    ("Plan B. is good, vitamin C) is better", "Yes it is", "No it is not"),
    ("At 1. 5 pm and 2. 6 pm", "It is late", "It is early"),
    ("What is (1) + (2)?", "3", "4"),
    ("It costs 1.5 and 2.5", "1", "2"),
    ("Person A. likes tea. Person B. likes milk. Which?", "the first", "the second"),
    ("The U.S.A. and B. Franklin", "yes it is", "no it is not"),
    ("Would you?\n(A) yes", "I would", "I would not"),
    ("Would you?\n(B) yes\n(C) no", "I would", "I would not"),
    ("f(a) and f(b)", "a sum", "a product"),
]


@pytest.mark.parametrize(("prompt", "positive", "negative"), PROSE)
def test_prose_is_no_list_of_choices(prompt: str, positive: str, negative: str) -> None:
    pair = Pair(prompt, positive, negative)
    sides = sides_of(pair)
    assert (sides.choices, sides.letters, form_of(pair)) == ((), None, "free-form")
    assert said(pair) == (positive, negative)


@pytest.mark.parametrize(
    "prompt",
    [
        "Would you?\n(A) yes\n(A) no",
        "Would you?\n(B) yes\n(A) no",
        "Would you?\n(A) yes\n(B) no\n(D) never",
        "Would you?\n(A) yes\n(B) no\n(B) never",
        "Would you?\n(A) yes\nB) no",
        "Would you choose (A) or (B)?",
        "(vitamin A) helps, and vitamin B) too",
        "Person A. likes tea. Person B. likes milk.",
    ],
)
def test_labels_that_are_no_list_offer_no_choices(prompt: str) -> None:
    pair = Pair(prompt, "(A)", "(B)")
    assert (sides_of(pair).choices, form_of(pair)) == ((), "A/B")


def texts_of(prompt: str, positive: str = "(A)", negative: str = "(B)") -> list[str]:
    return [choice.text for choice in sides_of(Pair(prompt, positive, negative)).choices]


def test_what_a_choice_says() -> None:
    assert texts_of("?\n(A) I would help\nand stay.\n(B) I would leave\nand go.\nWhich?") == [
        "I would help\nand stay.",
        "I would leave\nand go.",
    ]
    assert texts_of("?\n(A) as in (B) and more\n(B) no") == ["as in (B) and more", "no"]
    assert texts_of("?\nA)\nYes\nB)\nNo", "A", "B") == ["Yes", "No"]
    assert texts_of("?\n(A) yes\n\n(B) no\n\nAnswer:") == ["yes", "no"]
    assert texts_of("?\nA) yes  B) no\nC) maybe  D) never", "C", "D") == ["yes", "no", "maybe", "never"]
    assert texts_of("Do you prefer (A) tea or (B) coffee?") == ["tea", "coffee"]
    assert texts_of("Choices: A. tea, B. milk, or C. water?", "A", "C") == ["tea", "milk", "water"]
    assert len(texts_of("?\n" + listed("L) ", [f"choice {i}" for i in range(26)]), "Z", "A")) == 26


def test_the_last_list_of_the_prompt_is_answered() -> None:
    shots = "First?\n(A) x\n(B) y\n(C) z\nAnswer: (C)\n\nSecond?\n(A) p\n(B) q"
    assert texts_of(shots) == ["p", "q"]
    assert texts_of("Notes:\n1. one\n2. two\n\nWhich?\nA) p\nB) q", "A", "B") == ["p", "q"]
    assert texts_of("Which?\nA) p\nB) q\n\nNotes:\n1. one\n2. two", "A", "B") == ["p", "q"]
    assert texts_of("Which?\nA) p\nB) q\nChoose (A) or (B) now.", "A", "B") == ["p", "q"]
    assert [c.letter for c in choices(shots)] == ["A", "B"]


def test_answers_that_spell_a_choice_are_texts() -> None:
    for prompt in (
        "?\n(A) Yes, I would\n(B) No, never",
        "? (A) Yes, I would (B) No, never",
        "?\n1. Yes, I would\n2. No, never",
    ):
        pair = Pair(prompt, "Yes, I would.", "no, never")
        assert (form_of(pair), said(pair), question(pair)) == ("free-form", ("Yes, I would.", "no, never"), "?")
        assert len(sides_of(pair).choices) == 2


@pytest.mark.parametrize(
    ("completion", "letter"),
    [("(A)", "A"), ("B", "B"), ("c)", "C"), ("[d]", "D"), ("**E**", "E"), ("I", "I"), ("a", None), ("1", None),
     ("(1)", None), ("A. Lincoln", None), ("answers", None), ("A+", None), ("Plan B.", None), ("AB", None), ("", None)],
)  # fmt: skip
def test_a_letter_without_a_prompt(completion: str, letter: str | None) -> None:
    assert letter_of(completion) == letter


def test_sides_with_one_letter_answer_with_no_letters() -> None:
    pair = Pair("?\n(A) yes\n(B) no", "(A)", "A")
    assert (sides_of(pair).letters, form_of(pair)) == (None, "free-form")


WORD = st.sampled_from(["tea", "milk", "we", "never", "gone", "Often", "it's", "so-so", "yes", "good"])
TEXT = st.lists(WORD, min_size=1, max_size=6).map(" ".join)


@given(st.sampled_from(sorted(STYLES)), st.lists(TEXT, min_size=2, max_size=9), TEXT, st.data())
def test_any_list_is_read_back(name: str, texts: list[str], asked: str, data: st.DataObject) -> None:
    style = STYLES[name]
    first, second = data.draw(st.permutations(range(len(texts))))[:2]
    pair = Pair(f"{asked}?\n{listed(style, texts)}", answer(style, first), answer(style, second))
    sides = sides_of(pair)
    assert [choice.text for choice in sides.choices] == texts
    assert sides.letters is not None
    assert [place_of(letter) for letter in sides.letters] == [first, second]
    # Exchanged twice it is the same again, and the sides say what they said.
    there = exchanged(pair)
    assert said(there) == (texts[first], texts[second])
    assert exchanged(there) == pair


LINE = st.sampled_from(
    [
        "Is it?",
        "(A) tea",
        " (B) milk",
        "(C) so",
        "A) tea",
        "B) milk",
        "1. one",
        "2. two",
        "Choices:",
        "",
        "(A): x",
        "(A)",
    ]
)


@given(st.lists(LINE, max_size=8).map("\n".join))
def test_the_short_way_gives_what_the_long_one_does(prompt: str) -> None:
    short = paper_listing(prompt)
    if short is not None:
        of_letters = [listing for listing in listings(prompt) if not listing.numbered and not listing.inline]
        assert of_letters[-1] == short


@given(st.text(max_size=60) | st.lists(st.sampled_from([*"ABab12().:*-\n ", "B) "]), max_size=40).map("".join))
def test_any_text_can_be_read(text: str) -> None:
    for listing in listings(text):
        assert len(listing.choices) > 1
        assert all(text[c.start : c.stop].strip() == c.text for c in listing.choices)
    sides_of(Pair(text, text or "x", "(A)"))


@pytest.mark.parametrize("style", ["L) ", "(l) ", "1. ", "[L] "])
def test_operations_read_every_layout(style: str) -> None:
    rng = random.Random(1)
    answers = answer(style, 0), answer(style, 1)
    items = [
        PairItem(Pair(f"Is it {i}?\n\nChoices:\n{listed(style, [f'yes {i}', f'no {i}'])}", *answers))
        for i in rng.sample(range(100), 10)
    ]
    balanced = Balance().run([items]).items
    assert sorted(place_of(sides_of(i.pair).letters[0]) for i in balanced) == [0] * 5 + [1] * 5  # type: ignore[index]
    assert {said(item.pair) for item in balanced} == {said(item.pair) for item in items}
    free = ToFreeForm().run([items]).items
    assert [(i.pair.prompt, i.pair.positive) for i in free] == [
        (item.pair.prompt.split("\n")[0], said(item.pair)[0]) for item in items
    ]
    # To free form and back again is how a set comes into the paper's layout.
    paper = ToAB().run([free]).items
    assert {sides_of(item.pair).listing.form for item in paper if sides_of(item.pair).listing} == {"(A)"}  # type: ignore[union-attr]
    assert ToAB().run([items]).items == []


def test_a_letter_with_a_text_keeps_it_when_choices_are_exchanged() -> None:
    pair = Pair("Is it?\nA. Yes\nB. No\nC. Maybe", "A. Yes", "C. Maybe")
    assert exchanged(pair) == Pair("Is it?\nA. Maybe\nB. No\nC. Yes", "C. Yes", "A. Maybe")
