"""Lint on the real data, and what it must not depend on."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.planted import set_of

from caa_registry.pairs.lint.findings import Finding, summarized
from caa_registry.pairs.lint.lint import Report, lint
from caa_registry.pairs.lint.rules import RULES
from caa_registry.pairs.record import Pair, PairItem
from caa_registry.pairs.repeats.near_duplicates import near_duplicates
from caa_registry.pairs.sources import load, load_splits, seed_sets


def paper(folder: Path, behavior: str) -> list[PairItem]:
    sources = {
        "generate": str(folder / "generate" / behavior / "generate_dataset.json"),
        "test": str(folder / "test" / behavior / "test_dataset_ab.json"),
    }
    return [item for item in load_splits(sources).items if isinstance(item, PairItem)]


def anthropic(folder: Path, which: str, behavior: str) -> list[PairItem]:
    path = folder / "advanced-ai-risk" / f"{which}_generated_evals" / f"{behavior}.jsonl"
    return [item for item in load(str(path)).items if isinstance(item, PairItem)]


def by_split(report: Report, rule: str) -> dict[str, int]:
    return dict(Counter(finding.split for finding in report.findings if finding.rule == rule))


def test_the_papers_survival_set_has_more_choices_and_letters(caa_data: Path) -> None:
    report = lint(paper(caa_data, "survival-instinct"))
    assert by_split(report, "more-than-two-choices") == {"generate": 239, "test": 8}
    assert by_split(report, "letter-beyond-ab") == {"generate": 88, "test": 4}
    (imbalance, _) = [f for f in report.findings if f.rule == "letter-imbalance"]
    assert imbalance.figures["n"] == 558 + 257 and round(imbalance.figures["share"], 3) == 0.685


def test_four_questions_of_refusal_stand_in_both_splits(caa_data: Path) -> None:
    items = paper(caa_data, "refusal")
    report = lint(items)
    assert by_split(report, "question-in-two-splits") == {"test": 4}
    named = {f.pair for f in report.findings if f.rule == "question-in-two-splits"}
    lines = {split: {i.pair.prompt.split("\n")[0] for i in items if i.split == split} for split in ("generate", "test")}
    shared = lines["generate"] & lines["test"]
    assert {i.digest for i in items if i.split == "test" and i.pair.prompt.split("\n")[0] in shared} == named


@pytest.mark.parametrize(
    ("behavior", "opposite", "repeated"), [("survival-instinct", True, 49), ("corrigible-neutral-HHH", False, 11)]
)
def test_the_direction_of_labels_of_two_sources(
    anthropic_data: Path, behavior: str, opposite: bool, repeated: int
) -> None:
    human, lm = anthropic(anthropic_data, "human", behavior), anthropic(anthropic_data, "lm", behavior)
    for items, other in ((human, lm), (lm, human)):
        report = lint(items, against={"other": other})
        assert ("opposite-direction" in report.summary.counts) == opposite
        accuracy = report.figures["accuracy_by_other"]["other"]
        assert accuracy < 0.3 if opposite else accuracy > 0.9
    assert lint(lm).summary.counts["duplicate-pair"] == repeated
    assert "duplicate-pair" not in lint(human).summary.counts


def test_no_packaged_set_has_an_error() -> None:
    sets = {seed.name: (seed, load(f"seed:{seed.name}")) for seed in seed_sets()}
    for name, (seed, imported) in sets.items():
        same = {n: other.items for n, (s, other) in sets.items() if n != name and s.behavior == seed.behavior}
        report = lint(imported.items, licence=imported.licence, against=same)  # type: ignore[arg-type]
        assert report.summary.errors == 0, (name, [f for f in report.findings if f.severity == "error"])


@pytest.mark.parametrize("seed", range(3))
def test_nothing_depends_on_the_order_of_rows(seed: int, caa_data: Path) -> None:
    items = paper(caa_data, "refusal")
    shuffled = random.Random(seed).sample(items, len(items))
    assert lint(items) == lint(shuffled)


LINE = st.sampled_from(["Is it?", " (A) Yes", "(B)", " (A)", "(C) no", "Choices:", "Answer: (A)", "", "(", "A. x"])
ITEM = st.builds(
    lambda prompt, positive, negative, split: PairItem(Pair(prompt, positive, negative), split),
    st.text(max_size=30) | st.lists(LINE, max_size=5).map("\n".join),
    st.text(min_size=1, max_size=30) | st.sampled_from(["(A)", "B", "Yes"]),
    st.text(min_size=1, max_size=30) | st.sampled_from(["(B)", "A", "no"]),
    st.sampled_from(["generate", "test"]),
)


@given(st.lists(ITEM, max_size=6))
def test_any_texts_can_be_linted(items: list[PairItem]) -> None:
    report = lint(items, against={"itself": items})
    assert 0 <= report.summary.score <= 100
    assert {finding.rule for finding in report.findings} <= set(RULES)
    assert sum(report.summary.counts.values()) == len(report.findings)


def similarity(one: Pair, other: Pair) -> float:
    """Jaccard of the word triples of both pairs."""
    triples = []
    for pair in (one, other):
        texts = [text.split() for text in (pair.prompt, pair.positive, pair.negative)]
        triples.append({tuple(words[i : i + 3]) for words in texts for i in range(len(words) - 2)})
    return len(triples[0] & triples[1]) / len(triples[0] | triples[1])


def test_near_duplicates_are_those_that_an_exact_search_finds() -> None:
    rng = random.Random(5)
    clean = [item.pair for item in set_of(rng, 300)]
    near = [Pair(f"{pair.prompt} indeed", pair.positive, pair.negative) for pair in clean[:60]]
    other = [Pair(pair.prompt, pair.positive, " ".join(reversed(pair.negative.split()))) for pair in clean[60:120]]
    pairs = [*clean, *near, *other]
    exact = {i for i in range(len(pairs)) if any(similarity(pairs[i], pairs[j]) >= 0.8 for j in range(i))}
    assert {match.later for match in near_duplicates(pairs, [0] * len(pairs))} == exact
    assert len(exact) >= 60


def test_of_each_group_the_most_similar_is_named() -> None:
    long = " ".join(f"w{i}" for i in range(40))
    pairs = [Pair(long, "a", "b"), Pair(f"{long} x", "a", "b"), Pair(f"{long} x y", "a", "b")]
    found = near_duplicates(pairs, ["one", "two", "three"], first=2)
    assert [(m.later, m.earlier) for m in found] == [(2, 0), (2, 1)]
    assert found[1].similarity > found[0].similarity >= 0.8


def findings(*rules: str) -> Sequence[Finding]:
    return [Finding(rule, "", "generate", f"sha256:{i}", i) for i, rule in enumerate(rules)]


def test_the_score() -> None:
    assert summarized([], 10).score == 100
    assert summarized(findings("duplicate-pair", "letter-beyond-ab"), 10).score == 90
    two_of_one_row = [Finding(rule, "", "test", "sha256:1", 1) for rule in ("equal-sides", "opposite-labels")]
    assert summarized(two_of_one_row, 4).score == 75
    assert summarized([Finding("opposite-direction", ""), Finding("unknown-licence", "")], 4).score == 75
    assert summarized([*findings(*["equal-sides"] * 4), Finding("opposite-direction", "")], 4).score == 0


@pytest.mark.parametrize(
    ("pair", "rule"),
    [
        (Pair("Is it?", "It is  so, my dear friend", "it is so my dear friend!"), "equal-sides"),
        (Pair("", "\U0001f600\U0001f600", "\U0001f600 \U0001f600"), "equal-sides"),
        (Pair("Is it?", "It is “so”, he said.", "it is so he said"), "equal-sides"),
        (Pair("Is it?", "It is so.", "It is s\u043e."), "equal-sides"),
        (Pair("q\n (A) Yes\n (B) yes.", "(A)", "(B)"), "equal-sides"),
        (Pair("He said it is a fine day. Is it?", "It is a fine day.", "No."), "prompt-gives-answer"),
        (Pair("Is it?\n (A) Yes\n (B) No\n\nThe answer is (B", "(B)", "(A)"), "prompt-gives-answer"),
        (Pair("Is it?\n A. Yes\n B. No", "C", "A"), "letter-without-choice"),
        (Pair("Hi <|endoftext|>", "a", "b"), "template-marker"),
        (Pair("Hi", "a\x1b[31m", "b"), "invisible-character"),
    ],
)
def test_a_defect(pair: Pair, rule: str) -> None:
    assert rule in lint([PairItem(pair)], licence="MIT").summary.counts


@pytest.mark.parametrize(
    "pair",
    [
        Pair("Is it?", f"I can do {'that ' * 12}", f"I can't do {'that ' * 12}"),
        Pair("Is it?\n (A) 1\n (B) 2", "(A)", "(B)"),
        *(Pair("Is it?", *sides) for sides in (
            ("Fe \u2283 Ss", "Fe \u2228 Ss"), ("AA", "Aa"), ("-1", "1"), ("1.5", "15"), (".5", "5"), ("x\u00b2", "x2"),
            ("~p", "p"), ("a < b", "a > b"), ("(a + b) c", "a + (b c)"), ("well", "we'll"),
        )),
        Pair("Is it?", f"about {'that ' * 12} 3", f"about {'that ' * 12} 4"),
        Pair("Is it?\n (A) +\n (B) -", "(A)", "(B)"),
        Pair("Is it?\n A. Yes\n B. No", "A", "B"),
        Pair("Which answer do you choose?\n (A) Yes\n (B) No", "(A)", "(B)"),
        Pair("Is it?\n (A) Yes\n (B) No\n\nChoose a letter. Answer A or B.", "(A)", "(B)"),
        Pair("A yes or a no?", "Yes", "No"),
        Pair("Is it a family \U0001f468‍\U0001f469‍\U0001f467?\n\tSay.", "می‌خواهم", "No"),
        Pair("Is 1 < 2 and <b> bold?", "Yes", "No"),
    ],
)  # fmt: skip
def test_what_is_no_defect(pair: Pair) -> None:
    assert lint([PairItem(pair)], licence="MIT").findings == []
