"""What a person should know about the answers of an import: which are not read as letters of choices, and why."""

from __future__ import annotations

from collections.abc import Mapping

from caa_registry.pairs.lint.replies import count_answers, misfits, shares
from caa_registry.pairs.record import Mixture, PairItem
from caa_registry.pairs.sources.notes import Notes, Sentence

_SENTENCES: Mapping[str, Sentence] = {
    "letter-without-choice": (
        "answers with a letter that its prompt lists no choice for",
        "answer with a letter that their prompt lists no choice for",
    ),
    "letter-of-other-choice": (
        "answers with a letter and the text of another choice",
        "answer with a letter and the text of another choice",
    ),
    "choices-without-answer": (
        "lists choices and answers with neither their letters nor their texts: it is read as free text",
        "list choices and answer with neither their letters nor their texts: they are read as free text",
    ),
    "letters-as-text": (
        "answers with what looks like letters, and its prompt lists no such choices: it is read as free text",
        "answer with what looks like letters, and their prompts list no such choices: they are read as free text",
    ),
    "labels-not-read": (
        "answers with labels of its prompt that are not read as those of choices: it is read as free text",
        "answer with labels of their prompts that are not read as those of choices: they are read as free text",
    ),
    "choice-not-read": (
        "has a label that looks like that of a further choice and is not read",
        "have a label that looks like that of a further choice and is not read",
    ),
    "choice-text-answer": (
        "answers with the texts of its choices, not with their letters: it is read as free text",
        "answer with the texts of their choices, not with their letters: they are read as free text",
    ),
    "equal-sides": ("answers with the same letter on both sides", "answer with the same letter on both sides"),
}


class Replies:
    """What the pairs of one source answer, counted while each is at hand: to read its choices takes the most time."""

    def __init__(self) -> None:
        self.notes = Notes()
        self.mixture = Mixture()

    def add(self, item: PairItem, row: int) -> None:
        """Count the pair of ``row``."""
        for rule, message in misfits(item.pair):
            # "lists choices as A) and answers as (A)"
            plural = message.replace("lists ", "list ").replace(" answers ", " answer ")
            self.notes.add(_SENTENCES.get(rule, (message, plural)), row)
        count_answers(self.mixture, item.pair, item.split)


def mixture_notes(mixture: Mixture) -> list[str]:
    """What a set says of letters written in several ways, and of splits that answer in several."""
    notes = []
    if len(mixture.written) > 1:
        notes.append(f"the letters are written in several ways: {shares(mixture.written)}")
    for split, kinds in mixture.kinds.items():
        if len(kinds) > 1:
            notes.append(f"the answers of {split} are of several kinds: {shares(kinds)}")
    return notes
