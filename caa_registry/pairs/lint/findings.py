"""What lint finds, and the score that it gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from caa_registry.display.records import Record
from caa_registry.pairs.lint.rules import RULES, SEVERITIES, Severity

# What a finding about the whole set takes from the score.
_SET_POINTS = {"error": 20.0, "warning": 5.0, "info": 0.0}


@dataclass(frozen=True)
class Finding(Record):
    """A rule that a row, or the set, breaks.

    Of a row: its ``split``, the ``pair``'s digest and the ``row`` of the source, where known. Of the set: ``split``
    where it is about one, and the ``figures`` behind it.
    """

    rule: str
    message: str
    split: str = ""
    pair: str = ""
    row: int | None = None
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def severity(self) -> Severity:
        return RULES.named(self.rule).severity

    @property
    def order(self) -> tuple[Any, ...]:
        """Errors first, then by rule, split and row; independent of the order of rows in memory."""
        place = (SEVERITIES.index(self.severity), list(RULES).index(self.rule))
        return (*place, self.split, self.row is None, self.row or 0, self.pair, self.message)


@dataclass(frozen=True)
class Summary:
    """``score``: of 100, the share of rows without an error or a warning; each error of the whole set takes 20 from it
    and each warning 5. ``counts``: findings by rule."""

    rows: int
    score: float
    errors: int
    warnings: int
    infos: int
    counts: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def summarized(findings: Sequence[Finding], rows: int) -> Summary:
    """The score and the counts of ``findings`` about a set of ``rows`` rows."""
    severities = Counter(finding.severity for finding in findings)
    counts = Counter(finding.rule for finding in findings)
    grave = [finding for finding in findings if finding.severity != "info"]
    # Equal pairs are rows of their own; the source's row number tells them apart.
    bad = {(finding.split, finding.pair, finding.row) for finding in grave if RULES[finding.rule].level == "row"}
    score = 100.0 * (1 - len(bad) / rows) if rows else 100.0
    score -= sum(_SET_POINTS[finding.severity] for finding in grave if RULES[finding.rule].level == "set")
    return Summary(
        rows=rows,
        score=round(max(0.0, score), 1),
        errors=severities["error"],
        warnings=severities["warning"],
        infos=severities["info"],
        counts={name: counts[name] for name in RULES if counts[name]},
    )
