"""Rules about choices and letters, and about sides that hardly differ."""

from __future__ import annotations

import re
from collections.abc import Iterator

from caa_registry.pairs.lint.findings import Finding
from caa_registry.pairs.lint.rows import Row, Subject
from caa_registry.pairs.questions import plain

_LONG = 12
_TYPO = 2
_QUOTED_WORDS = 4
_NOT = re.compile(r"\b(?:not?|never|cannot|\w+n['’]?t)\b", re.IGNORECASE)
# A letter that a line after the choices states as the answer: "Answer: (A)", "The answer is B".
_GIVEN = re.compile(r"\b(?:answer|choice|choose|option)\b[^\n]{0,20}?[:\s](?:is\s+)?\(?(?-i:([A-Z]))\b", re.IGNORECASE)
_CHOICE_LINE = re.compile(r"^[ \t]*\([A-Z]\).*$", re.MULTILINE)
_LABELLED = re.compile(r"(?:^|[\s(])([A-Z])[).:]", re.MULTILINE)
# Letters of other alphabets that look like Latin ones, small and large.
_LOOK_ALIKES = str.maketrans("аеорсухіјѕԁһⅼоАЕОРСХНКМТВ", "aeopcyxijsdhloAEOPCXHKMTB")
# A run of stops is read once, and not from each of them.
_STOPS = re.compile(r"(?<![.,;:!?…])[.,;:!?…]++(?=\s|$)|(?<!\w)[\"'“”‘’«»]|[\"'“”‘’«»](?!\w)")
# "Aa" and "AA" may be two things; "Yes" and "YES" are not.
_PROSE = re.compile(r"[a-z]{2}")


def letters(subject: Subject) -> Iterator[Finding]:
    """More than two choices, letters beyond A and B, letters without a choice."""
    for row in subject.rows:
        if len(row.choices) > 2:
            yield row.finding("more-than-two-choices", f"lists {len(row.choices)} choices")
        if row.letters is None:
            continue
        positive = row.letters[0]
        if positive not in "AB":
            yield row.finding("letter-beyond-ab", f"the matching answer is {positive}")
        listed = {choice.letter for choice in row.choices} or set(_LABELLED.findall(row.pair.prompt))
        missing = [letter for letter in row.letters if letter not in listed]
        if missing:
            shown = ", ".join(sorted(listed)) or "none"
            yield row.finding("letter-without-choice", f"answers {' and '.join(missing)}; the choices are {shown}")


def alike(subject: Subject) -> Iterator[Finding]:
    """Sides without a contrast, or with hardly any."""
    for row in subject.rows:
        if row.letters is not None and not row.choices:
            continue  # letters alone say nothing about what they stand for
        positive, negative = _skeletons(row.positive, row.negative)
        if positive == negative:
            yield row.finding("equal-sides", f"both say {row.positive.strip()[:60]!r}")
        elif _differs_by_a_typo(row.positive, row.negative):
            yield row.finding("nearly-equal-sides", "the sides differ in no more than two characters")


def given_away(subject: Subject) -> Iterator[Finding]:
    """Prompts that hold one of the completions, or say which letter is the answer."""
    for row in subject.rows:
        if row.letters is not None:
            stated = _stated(row)
            if stated:
                yield row.finding("prompt-gives-answer", f"says {stated} behind the choices")
            continue
        prompt = f" {_words(row.pair.prompt)} "
        for side, text in (("positive", row.positive), ("negative", row.negative)):
            words = _words(text)
            if words.count(" ") + 1 >= _QUOTED_WORDS and f" {words} " in prompt:
                yield row.finding("prompt-gives-answer", f"holds the {side} completion")
                break


def _stated(row: Row) -> str | None:
    """The letter that a line after the choices states. A line that names several asks for one of them."""
    for line in _CHOICE_LINE.split(row.pair.prompt)[-1].splitlines() if row.choices else ():
        named = set(re.findall(r"\b[A-Z]\b", line)) & set(row.letters or ())
        given = _GIVEN.search(line)
        if given and named == {given[1]}:
            return given[1]
    return None


def _skeletons(*texts: str) -> list[str]:
    """``texts`` without what carries no meaning: spacing, quotation marks, stops at the end of words, letters that only
    look like Latin ones, and where one of them is prose the letter case. Signs as in ``~p``, ``-1``, ``1.5`` stay."""
    bare = [_STOPS.sub("", text).translate(_LOOK_ALIKES) for text in texts]
    if any(_PROSE.search(text) for text in bare):
        bare = [text.casefold() for text in bare]
    # Where nothing but stops is written, the stops are what it says.
    return ["".join(kept.split()) or "".join(text.split()) for kept, text in zip(bare, texts, strict=True)]


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _differs_by_a_typo(positive: str, negative: str) -> bool:
    first, second = plain(positive), plain(negative)
    if min(first.count(" "), second.count(" ")) + 1 < _LONG or abs(len(first) - len(second)) > _TYPO:
        return False
    start = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
    rest = min(len(first), len(second)) - start
    end = next((i for i in range(rest) if first[-1 - i] != second[-1 - i]), rest)
    if max(len(first), len(second)) - start - end > _TYPO:
        return False
    edited = first[start : len(first) - end] + second[start : len(second) - end]
    # Another number is a contrast, not a slip.
    return not any(char.isdigit() for char in edited) and len(_NOT.findall(first)) == len(_NOT.findall(second))
