"""What a person should know about an import, as sentences that name the rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

MORE_CHOICES = ("lists more than two choices", "list more than two choices")
OTHER_LETTER = ("matches a letter beyond A and B", "match a letter beyond A and B")
NO_CATEGORY = ("has no category", "have no category")
OTHER_TEXT = (
    "answers with a letter whose choice is not the full text given for it",
    "answer with a letter whose choice is not the full text given for it",
)
SEVERAL_ANSWERS = ("gives several answers; the first was taken", "give several answers; the first was taken")

JOINED = (
    "has messages of the user that follow each other; they were joined",
    "have messages of the user that follow each other; they were joined",
)
TRANSCRIPT_KEPT = (
    "holds the marks of a transcript (Human:, Assistant:) inside a text, which was kept as one text",
    "hold the marks of a transcript (Human:, Assistant:) inside a text, which was kept as one text",
)

NORMALIZED = (
    "was normalized: white space around texts, Question: before and Answer: behind them are left out",
    "were normalized: white space around texts, Question: before and Answer: behind them are left out",
)
# Of these how many rows there are says enough.
_COUNTED = {NORMALIZED}

Sentence = tuple[str, str]


class Notes:
    """Collects rows under sentences, each in singular and plural form."""

    def __init__(self) -> None:
        self._rows: dict[Sentence, list[int]] = defaultdict(list)

    def add(self, sentence: Sentence, row: int) -> None:
        """Note that ``sentence`` holds for the item of ``row``."""
        rows = self._rows[sentence]
        if not rows or rows[-1] != row:
            rows.append(row)

    def sentences(self) -> list[str]:
        """One note for each sentence that holds anywhere: ``2 items list more than two choices: rows 3, 8``."""
        return [_note(sentence, rows) for sentence, rows in self._rows.items()]


def left_out(column: str) -> Sentence:
    """The sentence for a column value that JSON cannot hold."""
    return (f"has no JSON value in {column!r}, left out", f"have no JSON value in {column!r}, left out")


def messages_kept(column: str) -> Sentence:
    """The sentence for a column of messages that is none of those that are read."""
    said = f"a list in {column!r} that may be earlier turns; it was kept as metadata, and turns are read from 'turns'"
    return (f"has {said}", f"have {said}")


def no_number(column: str) -> Sentence:
    """The sentence for a column whose value is NaN, by which tables mark what is missing."""
    return (f"has NaN in {column!r}, kept as null", f"have NaN in {column!r}, kept as null")


def _note(sentence: Sentence, rows: Sequence[int]) -> str:
    if sentence in _COUNTED:
        return f"{len(rows)} {'item' if len(rows) == 1 else 'items'} {sentence[len(rows) != 1]}"
    if len(rows) == 1:
        return f"1 item {sentence[0]}: row {rows[0]}"
    return f"{len(rows)} items {sentence[1]}: rows {', '.join(map(str, rows))}"


def shortened(note: str, limit: int = 5) -> str:
    """``note`` with no more than ``limit`` row numbers, for a terminal. Other notes come back unchanged."""
    head, separator, tail = note.rpartition(": rows ")
    rows = tail.split(", ")
    if not separator or len(rows) <= limit:
        return note
    return f"{head}{separator}{', '.join(rows[:limit])} and {len(rows) - limit} more"
