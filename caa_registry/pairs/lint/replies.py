"""Whether answers and choices fit together: row by row, and over a set. Imports say the same as notes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from caa_registry.pairs.answers import (
    Form,
    Letter,
    Sides,
    form_of,
    names_several,
    read_letter,
    sides_of,
    spelled,
    yes_or_no,
)
from caa_registry.pairs.choices import CLOSE, OPEN, listings, place_of
from caa_registry.pairs.lint.findings import Finding
from caa_registry.pairs.lint.rows import Subject
from caa_registry.pairs.lint.unread_labels import further_label, repeated_labels
from caa_registry.pairs.questions import plain
from caa_registry.pairs.record import Mixture, Pair

# Initials stand before names: only the first letters look like those of choices.
_FIRST_LETTERS = 8
_MARKS = re.compile(r"[*_`]")
_LETTER = re.compile(rf"[{OPEN}]?[Aa1Ａａ１](?![A-Za-z])(?:[{CLOSE}]|[.:．：、]|\s[-–—])?")
_NAMES: Mapping[Form, str] = {"A/B": "letters", "yes-no": "Yes and No", "free-form": "free text"}


def count_answers(mixture: Mixture, pair: Pair, split: str) -> None:
    """Count one pair of ``split``."""
    sides = sides_of(pair)
    if sides.letters is not None:
        sided = ((pair.positive, sides.positive), (pair.negative, sides.negative))
        mixture.written.update({_written(completion, letter) for completion, letter in sided if letter})
    mixture.kinds[split][_NAMES[form_of(pair)]] += 1


def _written(completion: str, letter: Letter) -> str:
    """How a letter is written; white space around it counts, since tokenizers tell ``A`` from `` A``."""
    before, after = (completion[: -len(completion.lstrip())], completion[len(completion.rstrip()) :])
    return repr(f"{before}{letter.form}{after}") if before or after else letter.form


def replies(subject: Subject) -> Iterator[Finding]:
    """Letters without a choice, choices without an answer, and answers written otherwise than their choices; of the
    set, letters that are written in several ways, and splits that answer in several."""
    mixture = Mixture()
    for row in subject.rows:
        for rule, message in misfits(row.pair):
            yield row.finding(rule, message)
        count_answers(mixture, row.pair, row.split)
    if len(mixture.written) > 1:
        written = mixture.written
        yield Finding("mixed-answers", f"letters are written as {shares(written)}", figures=dict(written))
    for split, kinds in sorted(mixture.kinds.items()):
        if len(kinds) > 1:
            yield Finding("mixed-answers", f"the pairs answer with {shares(kinds)}", split, figures=dict(kinds))


def misfits(pair: Pair) -> list[tuple[str, str]]:
    """Where the answers of ``pair`` do not fit its choices: rules of lint, each with what was found."""
    sides = sides_of(pair)
    unread = _unread(pair, sides)
    if sides.letters is not None:
        return [*_unlisted(sides), *_other_texts(sides), *_other_form(pair, sides), *unread]
    if sides.positive and sides.negative:
        return [("equal-sides", f"both sides answer {sides.positive.letter}")]
    if yes_or_no(pair.positive) and yes_or_no(pair.negative):
        return []
    completions = (pair.positive, pair.negative)
    likely = (listing for listing in reversed(listings(pair.prompt)) if listing.evidence != "possible")
    listing = sides.listing or next(likely, None)
    if listing is None and any(map(names_several, completions)):
        listing = next(reversed(listings(pair.prompt)), None)
    if listing is None:
        one, other = (read_letter(completion) for completion in completions)
        if one and other and one.letter != other.letter and _like_a_choice(one) and _like_a_choice(other):
            return [("letters-as-text", f"the sides begin like letters, {one.form} and {other.form}")]
        labels = repeated_labels(pair.prompt, completions)
        if labels:
            return [("labels-not-read", f"the sides are the labels {' and '.join(labels)}")]
        return []
    if spelled(listing, completions):
        return [("choice-text-answer", f"the sides are texts of the choices {', '.join(listing.texts)}"), *unread]
    return [("choices-without-answer", f"lists {', '.join(listing.texts)} and answers {pair.positive.strip()[:40]!r}")]


def shares(counts: Mapping[str, int]) -> str:
    """``(A) in 40 pairs, a) in 2``, most first."""
    first, *others = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    noun = "pair" if first[1] == 1 else "pairs"
    return ", ".join([f"{first[0]} in {first[1]} {noun}", *(f"{name} in {n}" for name, n in others)])


def _unlisted(sides: Sides) -> Iterator[tuple[str, str]]:
    listed = sides.listing.texts if sides.listing else {}
    missing = [letter for letter in sides.letters or () if letter not in listed]
    if missing:
        shown = ", ".join(listed) or "none"
        yield "letter-without-choice", f"answers {' and '.join(missing)}; the choices are {shown}"


def _unread(pair: Pair, sides: Sides) -> list[tuple[str, str]]:
    """A label that looks like that of a further choice."""
    letter = further_label(pair.prompt, sides.listing) if sides.listing else None
    listed = ", ".join(sides.listing.texts) if sides.listing else ""
    return [("choice-not-read", f"lists {listed}, and a label {letter} that is not read")] if letter else []


def _other_texts(sides: Sides) -> Iterator[tuple[str, str]]:
    """Letters with the text of another choice behind them."""
    for letter in (sides.positive, sides.negative):
        if letter is None or not letter.text or sides.listing is None:
            continue
        said = plain(letter.text).strip(" .!")
        owners = [choice.letter for choice in sides.choices if plain(choice.text).strip(" .!") == said]
        if owners and letter.letter not in owners:
            yield "letter-of-other-choice", f"answers {letter.letter} with the text of {owners[0]}"
            return


def _other_form(pair: Pair, sides: Sides) -> Iterator[tuple[str, str]]:
    """Letters written in other brackets, or as other letters, than those of the choices."""
    if sides.listing is None or sides.positive is None:
        return
    listed, written = bare_form(sides.listing.form), bare_form(sides.positive.form)
    if pair.prompt.rstrip().endswith(("(", "（")):
        written = f"{pair.prompt.rstrip()[-1]}{written}"
    alone = len(written) == 1 and sides.positive.kind == sides.listing.kind
    if not alone and written != listed:
        yield "answer-form-differs", f"lists choices as {sides.listing.form} and answers as {sides.positive.form}"


def bare_form(form: str) -> str:
    """How a letter is written, without what emphasizes it, stands before it or follows its brackets."""
    match = _LETTER.search(_MARKS.sub("", form))
    return match[0] if match else form


def _like_a_choice(letter: Letter) -> bool:
    """Whether what a completion begins with looks like the letter of a choice rather than a number or an initial."""
    if letter.text:
        return place_of(letter.letter) < _FIRST_LETTERS
    return letter.kind != "1" or len(bare_form(letter.form)) > 1
