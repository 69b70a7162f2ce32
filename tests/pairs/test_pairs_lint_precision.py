"""How much of what is planted each rule of lint finds, and how often it speaks without a cause."""

from __future__ import annotations

import re
import statistics

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from support.planted import CLEAN_SETS, PLANTED, ROW_RULES, SET_RULES, Items, Measured, found_in_sets, measured

from caa_registry.pairs.lint.findings import Finding
from caa_registry.pairs.lint.rules import RULES

pytestmark = pytest.mark.long

# Of rows beside other sets, of a model's tokenizer and of vectors there is nothing to plant into a set alone: they have
# tests of their own.
ELSEWHERE = {
    "pair-in-other-dataset",
    "near-duplicate-in-other-dataset",
    "question-in-other-dataset",
    "opposite-labels-in-other-dataset",
    "answer-not-a-token",
    "same-token-read",
    "longer-than-context",
    "token-length-confound",
    "opposite-vectors",
}


def options(items: Items) -> list[tuple[str, str]]:
    """What the sides say, found without the package."""
    said = []
    for item in items:
        texts = []
        for side in (item.pair.positive, item.pair.negative):
            letter = re.fullmatch(r"\(([A-Z])\)", side)
            line = letter and re.search(rf"^ ?\({letter[1]}\) (.*)$", item.pair.prompt, re.MULTILINE)
            texts.append(line[1] if line else side)
        said.append((texts[0], texts[1]))
    return said


def has_a_cause(name: str, items: Items, finding: Finding) -> bool:
    """Whether what lint says of a packaged set is so, by other means than lint's."""
    texts = options(items)
    if finding.rule == "length-confound":
        lengths = [[len(text) for text in side] for side in zip(*texts, strict=True)]
        spread = statistics.mean([statistics.variance(side) for side in lengths]) ** 0.5
        return abs(statistics.mean(lengths[0]) - statistics.mean(lengths[1])) / spread >= 0.5
    if finding.rule == "vocabulary-confound":
        counts = CountVectorizer().fit_transform([text for pair in texts for text in pair])
        labels, groups = np.tile([1, 0], len(texts)), np.repeat(np.arange(len(texts)), 2)
        model = LogisticRegression(max_iter=500)
        auc = cross_val_score(model, counts, labels, groups=groups, cv=GroupKFold(5), scoring="roc_auc")
        return float(auc.mean()) > 0.85
    if finding.rule == "repeated-question":
        (asked,) = {item.pair.prompt.split("\n")[0] for item in items if item.digest == finding.pair}
        return sum(item.pair.prompt.split("\n")[0] == asked and item.split == finding.split for item in items) > 1
    return finding.rule == "question-in-other-dataset"  # the demo's sets ask one another's questions


@pytest.fixture(scope="module")
def table() -> dict[str, Measured]:
    return measured(has_a_cause)


def shown(table: dict[str, Measured]) -> str:
    head = f"{'rule':32} found  false of clean  true"
    rows = [f"{r:32} {m.found:2}/{m.planted}  {m.false:3} / {m.clean:<6} {m.said}" for r, m in table.items()]
    return "\n".join(["", head, *rows])


def test_every_rule_is_measured_or_tested_elsewhere() -> None:
    assert {*ROW_RULES, *SET_RULES, *ELSEWHERE} == set(RULES)
    assert all(RULES[rule].level == "row" for rule in ROW_RULES)
    assert all(RULES[rule].level == "set" for rule in SET_RULES)


def test_what_is_planted_is_found(table: dict[str, Measured]) -> None:
    print(shown(table))  # pytest -rP shows it where the test passes
    missed = [rule for rule, m in table.items() if m.planted < 20 or m.found < 0.95 * m.planted]
    assert missed == [], shown(table)


def test_nothing_is_said_without_a_cause(table: dict[str, Measured]) -> None:
    wrong = [rule for rule, m in table.items() if m.false > 0.02 * m.clean]
    assert wrong == [], shown(table)


@pytest.mark.parametrize("rule", CLEAN_SETS)
def test_sets_of_the_same_kind_without_the_defect_are_left_alone(rule: str) -> None:
    assert found_in_sets(rule, CLEAN_SETS[rule]) <= 0.02 * PLANTED
