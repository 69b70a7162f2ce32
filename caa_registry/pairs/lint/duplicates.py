"""Rules about repetition: the same pair, nearly the same, or the same question, in a split, in another split, in
another dataset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from caa_registry.pairs.lint.findings import Finding
from caa_registry.pairs.lint.rows import Row, Subject, place
from caa_registry.pairs.questions import plain
from caa_registry.pairs.repeats.near_duplicates import near_duplicates


def repeated(subject: Subject) -> Iterator[Finding]:
    """The same pair or question again: after the first in its split, and in every split after the first."""
    first_pair: dict[str, dict[str, Row]] = defaultdict(dict)
    first_question: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in subject.rows:
        pairs, questions = first_pair[row.digest], first_question[row.question]
        before = next(iter(pairs.values()), None)
        asked = next(iter(questions.values()), None)
        if row.split in pairs:
            yield row.finding("duplicate-pair", f"the same pair as {place(pairs[row.split])}")
        elif before is not None:
            yield row.finding("pair-in-two-splits", f"the same pair as {place(before)}")
        elif row.split in questions:
            yield row.finding("repeated-question", f"asks the same as {place(questions[row.split])}")
        if before is None and asked is not None and asked.split != row.split:
            yield row.finding("question-in-two-splits", f"asks the same as {place(asked)}")
        pairs.setdefault(row.split, row)
        questions.setdefault(row.split, row)


def contradicting(subject: Subject) -> Iterator[Finding]:
    """The same question and the same two answers, the other way round."""
    first: dict[tuple[str, str, str], Row] = {}
    for row in subject.rows:
        positive, negative = plain(row.positive), plain(row.negative)
        opposite = first.get((row.question, negative, positive))
        # Without a prompt the question is made of the sides, so that swapped sides are found there too.
        if opposite is not None:
            yield row.finding("opposite-labels", f"the opposite of {place(opposite)}")
        first.setdefault((row.question, positive, negative), row)


def elsewhere(subject: Subject) -> Iterator[Finding]:
    """What other datasets hold or ask too, and where they give the opposite answer."""
    for reference, theirs in subject.others.items():
        digests = {row.digest for row in theirs}
        questions = {row.question for row in theirs}
        labels = {(row.question, plain(row.positive), plain(row.negative)) for row in theirs}
        for row in subject.rows:
            if (row.question, plain(row.negative), plain(row.positive)) in labels:
                yield row.finding("opposite-labels-in-other-dataset", f"{reference} answers it the other way round")
            if row.digest in digests:
                yield row.finding("pair-in-other-dataset", f"{reference} holds the same pair")
            elif row.question in questions:
                yield row.finding("question-in-other-dataset", f"{reference} asks the same question")


def near(subject: Subject) -> Iterator[Finding]:
    """Pairs that are nearly the same as one before them, in their split, in another split, or in another dataset.

    Equal pairs are not near duplicates, nor are pairs that only swap sides.
    """
    own = {(row.digest, row.split): row for row in subject.rows}
    theirs = {row.digest: (row, reference) for reference, group in subject.others.items() for row in group}
    first = len(theirs)
    listed = [*(row for row, _ in theirs.values()), *own.values()]
    groups = [
        *(("dataset", reference) for _, reference in theirs.values()),
        *(("split", row.split) for row in own.values()),
    ]
    for match in near_duplicates([row.pair for row in listed], groups, first=first, progress=subject.progress):
        row, other = listed[match.later], listed[match.earlier]
        one, two = row.pair, other.pair
        swapped = (one.turns, one.prompt, one.positive) == (two.turns, two.prompt, two.negative)
        if row.digest == other.digest or swapped:
            continue
        kind, name = groups[match.earlier]
        if kind == "dataset":
            rule, where = "near-duplicate-in-other-dataset", f"one of {name}"
        else:
            rule = "near-duplicate" if other.split == row.split else "near-duplicate-in-two-splits"
            where = place(other)
        yield row.finding(rule, f"nearly the same as {where} ({match.similarity:.2f} of their word triples)")
