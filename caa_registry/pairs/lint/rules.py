"""The rules of lint, by name. docs/lint.md explains each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from caa_registry.extensions import Extensions

Severity = Literal["error", "warning", "info"]
Level = Literal["row", "set"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Rule:
    """A named check. ``level``: of one row, or of the whole set. ``meaning``: what a finding says; ``advice``: what
    to do about it.

    ``check``: the module and function that find it, ``rows.Check``. Rules that are found together share one, which
    runs once. ``None`` where a finding needs a model or vectors: those are handed to ``lint`` as ``more``.
    """

    name: str
    severity: Severity
    level: Level
    meaning: str
    advice: str
    check: str | None


_RULES = (
    Rule(
        "duplicate-pair",
        "warning",
        "row",
        "the same pair occurs earlier in its split",
        "caa dataset dedupe",
        "caa_registry.pairs.lint.duplicates:repeated",
    ),
    Rule(
        "near-duplicate",
        "warning",
        "row",
        "the pair is nearly the same as another one of its split",
        "caa dataset dedupe",
        "caa_registry.pairs.lint.duplicates:near",
    ),
    Rule(
        "repeated-question",
        "info",
        "row",
        "the same question occurs earlier in its split, with other options or answers",
        "Keep one, or make sure that the options differ on purpose.",
        "caa_registry.pairs.lint.duplicates:repeated",
    ),
    Rule(
        "pair-in-two-splits",
        "error",
        "row",
        "the same pair is in another split too",
        "caa dataset dedupe",
        "caa_registry.pairs.lint.duplicates:repeated",
    ),
    Rule(
        "question-in-two-splits",
        "warning",
        "row",
        "the same question is in another split too, with other options or answers",
        "Drop it from one split: scores on questions that the vector has seen are too good.",
        "caa_registry.pairs.lint.duplicates:repeated",
    ),
    Rule(
        "near-duplicate-in-two-splits",
        "warning",
        "row",
        "the pair is nearly the same as one of another split",
        "caa dataset dedupe",
        "caa_registry.pairs.lint.duplicates:near",
    ),
    Rule(
        "opposite-labels",
        "error",
        "row",
        "the same question has the opposite matching answer elsewhere in the set",
        "Decide which is right; drop or relabel the other.",
        "caa_registry.pairs.lint.duplicates:contradicting",
    ),
    Rule(
        "pair-in-other-dataset",
        "info",
        "row",
        "another dataset holds the same pair",
        "Do not compute from one and score on the other.",
        "caa_registry.pairs.lint.duplicates:elsewhere",
    ),
    Rule(
        "near-duplicate-in-other-dataset",
        "info",
        "row",
        "another dataset holds nearly the same pair",
        "Do not compute from one and score on the other.",
        "caa_registry.pairs.lint.duplicates:near",
    ),
    Rule(
        "question-in-other-dataset",
        "info",
        "row",
        "another dataset asks the same question, with other options or answers",
        "Do not compute from one and score on the other.",
        "caa_registry.pairs.lint.duplicates:elsewhere",
    ),
    Rule(
        "opposite-labels-in-other-dataset",
        "error",
        "row",
        "another dataset of the behavior has the opposite matching answer to the same question",
        "Decide which is right; relabel the other.",
        "caa_registry.pairs.lint.duplicates:elsewhere",
    ),
    Rule(
        "more-than-two-choices",
        "warning",
        "row",
        "the prompt lists more than two choices",
        "Scores over A and B miss the rest; caa dataset filter 'choices == 2' keeps the pairs with two.",
        "caa_registry.pairs.lint.answers:letters",
    ),
    Rule(
        "letter-beyond-ab",
        "info",
        "row",
        "the matching answer is a letter beyond B",
        "The paper's score counts such items as 0.",
        "caa_registry.pairs.lint.answers:letters",
    ),
    Rule(
        "letter-without-choice",
        "error",
        "row",
        "an answer is a letter that the prompt lists no choice for",
        "Correct the prompt or the answer.",
        "caa_registry.pairs.lint.replies:replies",
    ),
    Rule(
        "letter-of-other-choice",
        "error",
        "row",
        "an answer is a letter with the text of another choice",
        "Correct the letter or the text.",
        "caa_registry.pairs.lint.replies:replies",
    ),
    Rule(
        "choices-without-answer",
        "warning",
        "row",
        "the prompt lists choices, and the sides are neither their letters nor their texts",
        "Answer with the letters, or take the choices out of the prompt.",
        "caa_registry.pairs.lint.replies:replies",
    ),
    Rule(
        "letters-as-text",
        "warning",
        "row",
        "the sides begin like letters of choices, and the prompt lists no such choices",
        "They are read as free text. List the choices in the prompt, or take the letters out.",
        "caa_registry.pairs.lint.replies:replies",
    ),
    Rule(
        "labels-not-read",
        "warning",
        "row",
        "the sides are labels that the prompt has before texts, and that are not read as those of choices",
        "They are read as free text. Label the choices A, B, C or 1, 2, 3.",
        "caa_registry.pairs.lint.replies:replies",
    ),
    Rule(
        "choice-not-read",
        "warning",
        "row",
        "the prompt has a label that looks like that of a further choice, and is not read",
        "Scores miss that choice. Write all labels alike, one choice a line.",
        "caa_registry.pairs.lint.replies:replies",
    ),
    Rule(
        "choice-text-answer",
        "info",
        "row",
        "the sides are texts of the choices that the prompt lists, not their letters",
        "They are read and scored as free text; answer with the letters to score those.",
        "caa_registry.pairs.lint.replies:replies",
    ),
    Rule(
        "answer-form-differs",
        "info",
        "row",
        "the answer's letter is written otherwise than those of the choices",
        "Scores are those of the letters as answered; caa dataset to-free-form, then to-ab, writes both alike.",
        "caa_registry.pairs.lint.replies:replies",
    ),
    Rule(
        "equal-sides",
        "error",
        "row",
        "the sides differ only in letter case, spacing, punctuation, quotation marks or look-alike letters",
        "There is no contrast; drop the pair.",
        "caa_registry.pairs.lint.answers:alike",
    ),
    Rule(
        "nearly-equal-sides",
        "warning",
        "row",
        "the sides have twelve words or more and differ in at most two characters",
        "Check that this is the contrast, and not a typing error.",
        "caa_registry.pairs.lint.answers:alike",
    ),
    Rule(
        "prompt-gives-answer",
        "warning",
        "row",
        "the prompt contains a completion, or says which letter is the answer",
        "Take the answer out of the prompt.",
        "caa_registry.pairs.lint.answers:given_away",
    ),
    Rule(
        "template-marker",
        "error",
        "row",
        "a text contains a marker of a chat template, which tokenizers take for the real one",
        "Take the marker out of the text.",
        "caa_registry.pairs.lint.texts:texts",
    ),
    Rule(
        "invisible-character",
        "warning",
        "row",
        "a text contains control, zero-width, text-direction or replacement characters",
        "Clean the source.",
        "caa_registry.pairs.lint.texts:texts",
    ),
    Rule(
        "nothing-visible",
        "error",
        "row",
        "a text has nothing visible in it",
        "Fill it in, or drop the pair.",
        "caa_registry.pairs.lint.texts:texts",
    ),
    Rule(
        "answer-not-a-token",
        "error",
        "row",
        "the model's tokenizer gives the answer no token that can be read",
        "Choose another template or model, or write the answers differently.",
        None,
    ),
    Rule(
        "same-token-read",
        "warning",
        "row",
        "both sides have the same token where the activation is read",
        "Read the mean over the completion, or let the sides end differently.",
        None,
    ),
    Rule(
        "longer-than-context",
        "error",
        "row",
        "the pair is longer than the model's context",
        "Shorten or drop it.",
        None,
    ),
    Rule(
        "mixed-answers",
        "warning",
        "set",
        "letters are written in several ways, or pairs answer partly with letters and partly with texts",
        "caa dataset to-free-form, then to-ab, writes all letters alike; caa dataset filter keeps pairs of one form.",
        "caa_registry.pairs.lint.replies:replies",
    ),
    Rule(
        "letter-imbalance",
        "warning",
        "set",
        "one letter is the matching answer more often than chance explains",
        "caa dataset balance",
        "caa_registry.pairs.lint.balance:letter_imbalance",
    ),
    Rule(
        "length-confound",
        "warning",
        "set",
        "matching answers are longer or shorter than the others",
        "Make the lengths alike, or read the answer's letter.",
        "caa_registry.pairs.lint.balance:length_confound",
    ),
    Rule(
        "token-length-confound",
        "warning",
        "set",
        "matching answers have more or fewer tokens than the others",
        "Make the lengths alike.",
        None,
    ),
    Rule(
        "first-word-confound",
        "info",
        "set",
        "the first word tells the sides apart",
        "Vary how answers begin, or expect the vector to hold the first word.",
        "caa_registry.pairs.lint.vocabulary:confounds",
    ),
    Rule(
        "vocabulary-confound",
        "info",
        "set",
        "the words alone, in any order, tell the sides apart",
        "Expect that the vector may hold the words rather than the behavior.",
        "caa_registry.pairs.lint.vocabulary:confounds",
    ),
    Rule(
        "unknown-licence",
        "warning",
        "set",
        "no licence is recorded",
        "Say which: caa describe REF --licence L.",
        "caa_registry.pairs.lint.licence:unknown_licence",
    ),
    Rule(
        "opposite-direction",
        "error",
        "set",
        "what this set calls matching, another set of the behavior calls not matching",
        "Decide which is right; caa dataset relabel swaps the sides of a set.",
        "caa_registry.pairs.lint.vocabulary:opposite_direction",
    ),
    Rule(
        "opposite-vectors",
        "warning",
        "set",
        "vectors of this set and of another set of the behavior point in opposite directions",
        "Compare the labels of the two sets.",
        None,
    ),
)

RULES: Extensions[Rule] = Extensions("rule", {rule.name: rule for rule in _RULES})
"""Findings are listed in this order within their severity."""
