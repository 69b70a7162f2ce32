"""The one entry of lint: all rules over one set, compared with others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caa_registry.extensions import resolve
from caa_registry.pairs.lint.findings import Finding, Summary, summarized
from caa_registry.pairs.lint.rows import Check, Subject, rows_of
from caa_registry.pairs.lint.rules import RULES
from caa_registry.pairs.lint.vocabulary import FIRST_WORD_AUC, VOCABULARY_AUC
from caa_registry.pairs.record import PairItem
from caa_registry.pairs.repeats.near_duplicates import BANDS, ROWS, SEED, THRESHOLD
from caa_registry.progress import Progress

# Raised with every change after which the same set gives other findings.
RULES_VERSION = 2


@dataclass(frozen=True)
class Report:
    """What lint found, errors first. ``parameters``: the thresholds, and the sets compared with; ``figures``: what was
    measured of the whole set, whether or not a rule has a finding."""

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
    """Check a set by all ``RULES``. ``against``: other sets of the same behavior, by reference. ``more``: findings of
    rules that need a model's tokenizer or vectors, and the ``parameters`` they were found with.

    The result does not depend on the order of rows.
    """
    others = {reference: rows_of(theirs) for reference, theirs in sorted((against or {}).items())}
    figures: dict[str, dict[str, float]] = {"auc": {}, "accuracy_by_other": {}}
    subject = Subject(rows_of(items), others, licence, progress, figures)
    unsorted = list(more)
    for reference in dict.fromkeys(rule.check for rule in RULES.values() if rule.check is not None):
        check: Check = resolve(reference)
        unsorted += check(subject)
    findings = sorted(unsorted, key=lambda finding: finding.order)
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
        figures,
    )
