"""What the sides of a pair answer: letters of the choices that the prompt lists, Yes or No, or free text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from caa_registry.pairs.choices import (
    CLOSE,
    LABEL,
    MARKS,
    OPEN,
    Choice,
    Listing,
    first_like,
    letter_from,
    listings,
    paper_listing,
)
from caa_registry.pairs.record import Pair

Form = Literal["A/B", "yes-no", "free-form"]

_LEAD = r"(?i:(?:the\s+)?(?:(?:correct|best|right|my)\s+)?(?:answer|choice|option)(?:\s+is)?(?:\s*[:：]\s*|\s+))?"
# A letter alone: ``(A)``, ``A``, ``**B**``, ``Answer: A``.
_ALONE = re.compile(
    rf"""{_LEAD}(?P<open>["'“‘]?{MARKS}[{OPEN}]?{MARKS})(?P<label>{LABEL})
    (?P<close>{MARKS}[{CLOSE}]?{MARKS})[.:,．：。、]?{MARKS}["'”’]?\.?""",
    re.VERBOSE,
)
# A letter with a text behind it: ``A. Yes``, ``(B) No, because``.
_WITH_TEXT = re.compile(
    rf"""{_LEAD}(?P<open>{MARKS}[{OPEN}]?{MARKS})(?P<label>{LABEL})
    (?P<close>{MARKS}(?:[{CLOSE}]{MARKS}[.:：]?|[．：、]{MARKS}|[.:,]{MARKS}(?=\s|[^\x00-\x7f])
        |[ \t]+[-–—](?=\s)|(?=\s*\n))|[*_`]{{1,3}}(?=\s))
    {MARKS}\s*(?P<text>\S.*)""",
    re.VERBOSE | re.DOTALL,
)
# Behind a letter, one more: ``(A) and (B)``, ``A, C``.
_ANOTHER = re.compile(
    rf"""(?P<joint>(?:(?:and|or)\b|[&/+,;])\s*)?
    (?:[{OPEN}]{MARKS}(?P<inside>{LABEL}){MARKS}[{CLOSE}]
        |(?P<bare>[A-Z]|[1-9][0-9]?)(?=[.!]?$|\s*[,;/&+]|\s+(?:and|or)\b))""",
    re.VERBOSE,
)
_YES_NO = re.compile(r"(yes|no)[.!]?", re.IGNORECASE)
_FULL_WIDTH = ord("Ａ") - ord("A")


@dataclass(frozen=True)
class Letter:
    """The letter that a completion answers with: ``letter`` as A to Z or a number, of the ``kind`` A, a or 1, written
    at ``start`` to ``stop`` of the completion. ``text``: what is said behind it. ``form``: how it is written, with the
    first of its kind for any: ``(A)``, ``a)``, ``A. ...``."""

    letter: str
    kind: str
    start: int
    stop: int
    text: str
    form: str

    def exchanged(self, completion: str, letter: str) -> str:
        """``completion`` with ``letter`` in the place of its own, written alike."""
        own = completion[self.start : self.stop]
        other = letter.lower() if own.islower() else letter
        if not own.isascii():
            other = "".join(chr(ord(char) + _FULL_WIDTH) for char in other)
        return completion[: self.start] + other + completion[self.stop :]


@dataclass(frozen=True)
class Sides:
    """What a pair answers. ``listing``: the choices that its prompt lists; ``positive`` and ``negative``: the letters
    that its sides answer with."""

    listing: Listing | None
    positive: Letter | None
    negative: Letter | None

    @property
    def choices(self) -> Sequence[Choice]:
        return self.listing.choices if self.listing else ()

    @property
    def letters(self) -> tuple[str, str] | None:
        """The letters of both sides, positive first, where both answer with one and not with the same."""
        if self.positive is None or self.negative is None or self.positive.letter == self.negative.letter:
            return None
        return self.positive.letter, self.negative.letter


# One pair is asked for its form, its letters and its choices in turn.
@lru_cache(maxsize=64)
def sides_of(pair: Pair) -> Sides:
    """What the sides of ``pair`` answer, and the choices they answer to."""
    completions = (pair.positive, pair.negative)
    listing = listing_of(pair.prompt, completions)
    return Sides(listing, *(_letter(completion, listing) for completion in completions))


def letter_of(completion: str) -> str | None:
    """The letter that ``completion`` consists of (``(A)``, ``A``, ``b)``, ``**B**``), whatever its prompt, else
    ``None``. Numbers and small letters without brackets are letters only where a prompt lists them: ``sides_of``."""
    letter = _letter(completion, None)
    return letter.letter if letter else None


def yes_or_no(completion: str) -> str | None:
    """``"yes"`` or ``"no"`` where ``completion`` is just that, else ``None``."""
    match = _YES_NO.fullmatch(completion.strip())
    return match[1].lower() if match else None


def choices(prompt: str, completions: Sequence[str] = ()) -> list[Choice]:
    """The choices that ``prompt`` lists, in order. With the ``completions`` of a pair also those that only answers
    tell from prose."""
    listing = listing_of(prompt, completions)
    return list(listing.choices) if listing else []


def listing_of(prompt: str, completions: Sequence[str] = ()) -> Listing | None:
    """The last list of choices in ``prompt`` that ``completions`` answer to, else the last that offers choices whatever
    the answers are."""
    answers = [read_letter(completion) for completion in completions]
    numbered = {answer.letter.isdecimal() for answer in answers if answer}
    of_letters = bool(answers) and all(answers) and len(numbered) == 1
    paper = paper_listing(prompt) if of_letters and numbered == {False} else None
    if paper is not None:
        return paper
    found = listings(prompt)
    if not found:
        return None
    if of_letters:
        of_kind = [listing for listing in reversed(found) if listing.numbered in numbered]
        for listing in sorted(of_kind, key=lambda listing: listing.inline):
            plain = listing.evidence == "sure" or (listing.evidence == "likely" and not listing.inline)
            if plain or _offers(listing, answers):
                return listing
    for listing in reversed(found):
        if spelled(listing, completions) or listing.evidence == "sure":
            return listing
    return None


def spelled(listing: Listing, completions: Sequence[str]) -> bool:
    """Whether ``completions`` are texts of choices of ``listing``, written out."""
    texts = {_bare(choice.text) for choice in listing.choices}
    return bool(completions) and all(_bare(completion) in texts for completion in completions)


def _offers(listing: Listing, answers: Sequence[Letter | None]) -> bool:
    """Whether a list that may be prose offers the ``answers``: it has their letters, written alike where it stands
    within a line, and they say nothing but the texts of their choices."""
    for answer in answers:
        if answer is None or answer.letter not in listing.texts:
            return False
        if (listing.inline and answer.kind != listing.kind) or not _agree(answer.text, listing.texts[answer.letter]):
            return False
    return True


def _agree(text: str, choice: str) -> bool:
    """Whether one of two texts begins as the other is."""
    one, other = _bare(text), _bare(choice)
    return one.startswith(other) or other.startswith(one)


def _bare(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .!;")


def _letter(completion: str, listing: Listing | None) -> Letter | None:
    """The letter that ``completion`` answers with, given the choices of its prompt."""
    letter = read_letter(completion)
    if letter is None:
        return None
    if not letter.text and letter.kind != "1" and (letter.kind == "A" or letter.form != "a"):
        return letter
    if listing is None or letter.letter not in listing.texts:
        return None
    plain = listing.evidence != "possible" or _agree(letter.text, listing.texts[letter.letter])
    return letter if plain else None


# Sets of letters answer with the same few completions again and again.
@lru_cache(maxsize=256)
def read_letter(completion: str) -> Letter | None:
    """The letter or number that ``completion`` is or begins with, whether or not it answers with it; none where it
    begins with several."""
    start = len(completion) - len(completion.lstrip())
    bare = completion.strip()
    match = _ALONE.fullmatch(bare) or _WITH_TEXT.fullmatch(bare)
    if match is None:
        return None
    label, text = match["label"], match.groupdict().get("text") or ""
    if _names_another(match, text):
        return None
    kind = first_like(label)
    shown = kind if label.isascii() else chr(ord(kind) + _FULL_WIDTH)
    end = f"{match['close'].rstrip()} ..." if text else bare[match.end("label") :]
    form = bare[: match.start("label")] + shown + end
    return Letter(letter_from(label), kind, start + match.start("label"), start + match.end("label"), text, form)


def names_several(completion: str) -> bool:
    """Whether ``completion`` begins with several letters or numbers, such as ``A, C`` or ``(1) and (2)``."""
    match = _WITH_TEXT.fullmatch(completion.strip())
    return match is not None and _names_another(match, match["text"])


def _names_another(match: re.Match[str], text: str) -> bool:
    """Whether the ``text`` behind a letter begins with one more of its kind. Behind a stop a letter alone is a text."""
    another = _ANOTHER.match(text)
    if another is None or (another["inside"] or another["bare"]).isdecimal() != match["label"].isdecimal():
        return False
    return bool(another["inside"] or another["joint"] or match["close"].rstrip().endswith(","))


def ab(pair: Pair, *, positive_first: bool) -> Pair:
    """A free-form ``pair`` as an A/B item, in the layout of the CAA paper."""
    options = (pair.positive, pair.negative) if positive_first else (pair.negative, pair.positive)
    letters = ("(A)", "(B)") if positive_first else ("(B)", "(A)")
    prompt = f"{pair.prompt}\n\nChoices:\n (A) {options[0]}\n (B) {options[1]}"
    return replace(pair, prompt=prompt, positive=letters[0], negative=letters[1])


def form_of(pair: Pair) -> Form:
    """How a pair answers: by letters (numbers of choices too), by Yes and No, or by free text."""
    if sides_of(pair).letters is not None:
        return "A/B"
    if {yes_or_no(pair.positive), yes_or_no(pair.negative)} == {"yes", "no"}:
        return "yes-no"
    return "free-form"


def common_form(pairs: Iterable[Pair]) -> Form | Literal["mixed"]:
    """The one form of all pairs, or ``"mixed"``."""
    forms = {form_of(pair) for pair in pairs}
    return forms.pop() if len(forms) == 1 else "mixed"
