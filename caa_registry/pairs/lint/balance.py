"""Rules about a whole set: letters and lengths that tell the sides apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from caa_registry.pairs.lint.findings import Finding
from caa_registry.pairs.lint.rows import Subject

_MARGIN = 0.05
_EFFECT = 0.5
_FEW = 10
_LARGEST = 99.0
_NORMAL_95 = 1.959963984540054


def letter_imbalance(subject: Subject) -> Iterator[Finding]:
    """How often A matches among items with the choices A and B, and 1 among those with 1 and 2, split by split.

    A finding where the exact binomial 95 % interval (Clopper and Pearson 1934) excludes one half, and the share is
    5 points or more from it.
    """
    from scipy.stats import binomtest

    for split in sorted({row.split for row in subject.rows}):
        of_split = [row.letters for row in subject.rows if row.split == split and row.letters]
        for first, second in (("A", "B"), ("1", "2")):
            letters = [positive for positive, negative in of_split if {positive, negative} == {first, second}]
            if not letters:
                continue
            a = letters.count(first)
            interval = binomtest(a, len(letters)).proportion_ci(0.95, "exact")
            share = a / len(letters)
            if (interval.low > 0.5 or interval.high < 0.5) and abs(share - 0.5) >= _MARGIN:
                yield Finding(
                    "letter-imbalance",
                    f"{first} matches in {a} of {len(letters)} items with {first} and {second}, {share:.0%} "
                    f"({interval.low:.0%} to {interval.high:.0%})",
                    split,
                    figures={
                        "share": share, "low": float(interval.low), "high": float(interval.high), "n": len(letters)
                    },
                )  # fmt: skip


def length_confound(subject: Subject) -> Iterator[Finding]:
    """Lengths of what the sides say, in characters and in words. See ``confound``."""
    sides = [(row.positive, row.negative) for row in subject.rows if row.speaks]
    characters = [(len(positive), len(negative)) for positive, negative in sides]
    words = [(len(positive.split()), len(negative.split())) for positive, negative in sides]
    findings = [
        *confound("length-confound", "characters", characters),
        *confound("length-confound", "words", words),
    ]
    # The larger effect of the two is enough.
    yield from sorted(findings, key=lambda finding: -abs(finding.figures["d"]))[:1]


def confound(rule: str, unit: str, lengths: Sequence[tuple[int, int]]) -> list[Finding]:
    """The effect size of positive against negative lengths: Cohen's d with the pooled standard deviation.

    A finding where it is one half or more either way and the 95 % interval of the mean paired difference excludes 0.
    """
    if len(lengths) < _FEW:
        return []
    positive, negative = np.array(lengths, np.float64).T
    difference = positive - negative
    pooled = float(np.sqrt((positive.var(ddof=1) + negative.var(ddof=1)) / 2))
    error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    mean = float(difference.mean())
    if not mean:
        return []
    # Where each side has one length, there is no spread to divide by: a number larger than any effect.
    d = float(np.clip(mean / pooled if pooled else np.copysign(_LARGEST, mean), -_LARGEST, _LARGEST))
    if abs(d) < _EFFECT or abs(mean) <= _NORMAL_95 * error:
        return []
    how = "more" if mean > 0 else "fewer"
    return [
        Finding(
            rule,
            f"matching answers have {how} {unit}: {positive.mean():.1f} against {negative.mean():.1f} (d = {d:+.2f})",
            figures={"d": d, "positive": float(positive.mean()), "negative": float(negative.mean()), "n": len(lengths)},
        )
    ]
