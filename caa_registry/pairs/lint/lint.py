"""The one entry of lint: all rules over one set, beside others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caa_registry.pairs.lint.answers import alike, given_away, letters
from caa_registry.pairs.lint.balance import length_confound, letter_imbalance
from caa_registry.pairs.lint.duplicates import contradicting, elsewhere, near, repeated
from caa_registry.pairs.lint.findings import Finding, Summary, summarized
from caa_registry.pairs.lint.rows import rows_of
from caa_registry.pairs.lint.texts import texts
from caa_registry.pairs.lint.vocabulary import FIRST_WORD_AUC, VOCABULARY_AUC, confounds, opposite_direction
from caa_registry.pairs.near_duplicates import BANDS, ROWS, SEED, THRESHOLD
from caa_registry.pairs.record import PairItem
from caa_registry.progress import Progress

# Raised with every change after which the same set gives other findings.
RULES_VERSION = 1


@dataclass(frozen=True)
class Report:
    """What lint found, errors first. ``parameters``: with which thresholds and beside which sets; ``figures``: what was
    measured of the whole set, also where no rule says anything."""

    findings: Sequence[Finding]
    summary: Summary
    parameters: Mapping[str, Any]
    figures: Mapping[str, Any]


def lint(
    items: Sequence[PairItem],
    *,
    licence: str = "",
    against: Mapping[str, Sequence[PairItem]] | None = None,
    more: Sequence[Finding] = (),
    parameters: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check a set. ``against``: other sets of the same behavior, by reference. ``more``: findings of rules that need
    what this room has not (a model's tokenizer, vectors), and the ``parameters`` they were found with.

    The result does not depend on the order of rows.
    """
    rows = rows_of(items)
    others = {reference: rows_of(theirs) for reference, theirs in sorted((against or {}).items())}

    def found() -> Iterator[Finding]:
        yield from more
        for rule in (repeated, contradicting, letters, alike, given_away, texts, letter_imbalance, length_confound):
            yield from rule(rows)
        yield from elsewhere(rows, others)
        yield from near(rows, others, progress)
        if not licence:
            yield Finding("unknown-licence", "no licence is recorded")

    known, aucs = confounds(rows)
    opposite, accuracies = opposite_direction(rows, others)
    findings = sorted([*found(), *known, *opposite], key=lambda finding: finding.order)
    return Report(
        findings,
        summarized(findings, len(items)),
        {
            "version": RULES_VERSION,
            "near_duplicates": {
                "threshold": THRESHOLD,
                "seed": SEED,
                "permutations": BANDS * ROWS,
                "bands": BANDS,
                "words": 3,
            },
            "auc": {"first-word-confound": FIRST_WORD_AUC, "vocabulary-confound": VOCABULARY_AUC},
            "against": sorted(others),
            **(parameters or {}),
        },
        {"auc": aucs, "accuracy_by_other": accuracies},
    )
