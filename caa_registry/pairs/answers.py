"""What a completion answers: a letter, Yes or No, or free text. Also the choices that a prompt lists."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from caa_registry.pairs.record import Pair

Form = Literal["A/B", "yes-no", "free-form"]

_LETTER = re.compile(r"\(?([A-Z])[).:]?")
_YES_NO = re.compile(r"(yes|no)[.!]?", re.IGNORECASE)
_CHOICE = re.compile(r"^[ \t]*\(([A-Z])\)[ \t]*(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Choice:
    """One line ``(A) text`` of a prompt."""

    letter: str
    text: str


def letter_of(completion: str) -> str | None:
    """The letter that ``completion`` consists of (``(A)``, ``A``, ``B.``), else ``None``."""
    match = _LETTER.fullmatch(completion.strip())
    return match[1] if match else None


def yes_or_no(completion: str) -> str | None:
    """``"yes"`` or ``"no"`` where ``completion`` is just that, else ``None``."""
    match = _YES_NO.fullmatch(completion.strip())
    return match[1].lower() if match else None


def choices(prompt: str) -> list[Choice]:
    """The choices that ``prompt`` lists, in order."""
    return [Choice(match[1], match[2].strip()) for match in _CHOICE.finditer(prompt)]


def ab(pair: Pair, *, positive_first: bool) -> Pair:
    """A free-form ``pair`` as an A/B item, in the layout of the CAA paper."""
    options = (pair.positive, pair.negative) if positive_first else (pair.negative, pair.positive)
    letters = ("(A)", "(B)") if positive_first else ("(B)", "(A)")
    prompt = f"{pair.prompt}\n\nChoices:\n (A) {options[0]}\n (B) {options[1]}"
    return replace(pair, prompt=prompt, positive=letters[0], negative=letters[1])


def form_of(pair: Pair) -> Form:
    """How a pair answers: by letters, by Yes and No, or by free text."""
    if letter_of(pair.positive) and letter_of(pair.negative):
        return "A/B"
    if {yes_or_no(pair.positive), yes_or_no(pair.negative)} == {"yes", "no"}:
        return "yes-no"
    return "free-form"


def common_form(pairs: Iterable[Pair]) -> Form | Literal["mixed"]:
    """The one form of all pairs, or ``"mixed"``."""
    forms = {form_of(pair) for pair in pairs}
    return forms.pop() if len(forms) == 1 else "mixed"
