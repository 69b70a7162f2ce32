"""Rules about choices and letters, and about sides that hardly differ."""

from __future__ import annotations

import re
from collections.abc import Iterator

from caa_registry.pairs.answers import spelled
from caa_registry.pairs.choices import letter_from, place_of
from caa_registry.pairs.lint.findings import Finding
from caa_registry.pairs.lint.rows import Row, Subject
from caa_registry.pairs.lint.unread_labels import LOOK_ALIKES
from caa_registry.pairs.questions import plain

_LONG = 12
_TYPO = 2
_QUOTED_WORDS = 4
_NOT = re.compile(r"\b(?:not?|never|cannot|\w+n['’]?t)\b", re.IGNORECASE)
# A letter that a line after the choices states as the answer: "Answer: (A)", "The answer is B".
_GIVEN = {
    kind: re.compile(
        rf"\b(?:answer|choice|choose|option)\b[^\n]{{0,20}}?[:\s](?:is\s+)?[(\[（]?(?-i:({label}))", re.IGNORECASE
    )
    for kind, label in (("A", r"[A-Z]\b"), ("a", r"[a-z](?=[)\]）])"), ("1", r"[0-9]{1,2}\b"))
}
_NAMED = {"A": re.compile(r"\b[A-Z]\b"), "a": re.compile(r"\b[a-z](?=[)\]）])"), "1": re.compile(r"\b[0-9]{1,2}\b")}
# A run of stops is read once, and not from each of them.
_STOPS = re.compile(r"(?<![.,;:!?…])[.,;:!?…]++(?=\s|$)|(?<!\w)[\"'“”‘’«»]|[\"'“”‘’«»](?!\w)")
# "Aa" and "AA" may be two things; "Yes" and "YES" are not.
_PROSE = re.compile(r"[a-z]{2}")


def letters(subject: Subject) -> Iterator[Finding]:
    """More than two choices, letters beyond A and B."""
    for row in subject.rows:
        if len(row.choices) > 2:
            yield row.finding("more-than-two-choices", f"lists {len(row.choices)} choices")
        if row.letters is not None and place_of(row.letters[0]) > 1:
            yield row.finding("letter-beyond-ab", f"the matching answer is {row.letters[0]}")


def alike(subject: Subject) -> Iterator[Finding]:
    """Sides without a contrast, or with hardly any."""
    for row in subject.rows:
        if row.letters is not None and not row.choices:
            continue  # letters alone say nothing about what they stand for
        if row.letters is None and row.sides.positive and row.sides.negative:
            continue  # one letter on both sides: lint/replies.py says so
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
        if row.sides.listing and spelled(row.sides.listing, (row.pair.positive, row.pair.negative)):
            continue  # the prompt offers both
        prompt = "".join(f" {_words(text)} " for text in (*(turn.text for turn in row.pair.turns), row.pair.prompt))
        for side, text in (("positive", row.positive), ("negative", row.negative)):
            words = _words(text)
            if words.count(" ") + 1 >= _QUOTED_WORDS and f" {words} " in prompt:
                yield row.finding("prompt-gives-answer", f"holds the {side} completion")
                break


def _stated(row: Row) -> str | None:
    """The letter that a line after the choices states. A line that names several asks for one of them."""
    listing = row.sides.listing
    if listing is None:
        return None
    for line in row.pair.prompt[listing.end :].splitlines():
        named = {letter_from(label) for label in _NAMED[listing.kind].findall(line)} & set(row.letters or ())
        given = _GIVEN[listing.kind].search(line)
        if given and named == {letter_from(given[1])}:
            return letter_from(given[1])
    return None


def _skeletons(*texts: str) -> list[str]:
    """``texts`` without what carries no meaning: spacing, quotation marks, stops at the end of words, letters that only
    look like Latin ones, and where one of them is prose the letter case. Signs as in ``~p``, ``-1``, ``1.5`` stay."""
    bare = [_STOPS.sub("", text).translate(LOOK_ALIKES) for text in texts]
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
