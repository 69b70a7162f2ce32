"""Rules of lint that need a tokenizer, on tokenizers that merge, drop and count as they do."""

from __future__ import annotations

from collections import Counter

import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from caa_registry.models.model import Model
from caa_registry.models.rendering.prompts import Template
from caa_registry.models.rendering.token_checks import token_findings
from caa_registry.pairs.lint.findings import Finding
from caa_registry.pairs.lint.rows import rows_of
from caa_registry.pairs.record import Pair, PairItem
from caa_registry.pairs.sources import load


def check(model: Model, *pairs: Pair) -> list[Finding]:
    return token_findings(rows_of([PairItem(pair) for pair in pairs]), model.template(), model)


def test_twenty_of_each_are_found(demo: Model) -> None:
    clean = [item.pair for item in load("seed:demo-sycophancy-ab").items if isinstance(item, PairItem)]
    assert check(demo, *clean) == []
    planted = {
        "same-token-read": [Pair(pair.prompt, "(A)", "A") for pair in clean[:20]],
        "longer-than-context": [Pair(f"{pair.prompt} {'and so on ' * 200}", "(A)", "(B)") for pair in clean[:20]],
    }
    for rule, pairs in planted.items():
        found = check(demo, *pairs, *clean[20:])
        assert Counter(finding.rule for finding in found)[rule] == 20
        assert {f.pair for f in found if f.rule == rule} == {pair.digest for pair in pairs}


@pytest.fixture
def template() -> Template:
    """Plain texts in a tokenizer that drops what it does not know and takes two line feeds as one token."""
    vocabulary = {text: i for i, text in enumerate([*"Isito?yen ", "\n", "\n\n"])}
    tokenizer = Tokenizer(BPE(vocabulary, [("\n", "\n")]))
    return Template("plain", PreTrainedTokenizerFast(tokenizer_object=tokenizer))


def test_an_answer_without_a_token(demo: Model, template: Template) -> None:
    pairs = [Pair("Is it?", "yes", "no"), *(Pair("Is it?", "yes", "\u2603" * (i + 1)) for i in range(20))]
    found = token_findings(rows_of([PairItem(pair) for pair in pairs]), template, demo)
    assert {f.rule for f in found} == {"answer-not-a-token"}
    assert {f.pair for f in found} == {pair.digest for pair in pairs[1:]}


def test_an_answer_that_shares_a_token_with_the_prompt(demo: Model, template: Template) -> None:
    pairs = [Pair("Is it?\n", "yes", "no"), *(Pair(f"{'Is it? ' * i}\n", "\nyes", "\nno") for i in range(1, 21))]
    found = token_findings(rows_of([PairItem(pair) for pair in pairs]), template, demo)
    assert {f.message for f in found} == {"the answer shares a token with the end of the prompt"}
    assert {f.pair for f in found} == {pair.digest for pair in pairs[1:]}


def test_sides_of_unequal_token_counts(demo: Model) -> None:
    pairs = [Pair(f"Is it {i}?", "Yes, it is, and it always was.", "No, never.") for i in range(12)]
    (finding,) = check(demo, *pairs)
    assert finding.rule == "token-length-confound" and finding.figures["positive"] > finding.figures["negative"]
    assert check(demo, *pairs[:6], *(Pair(p.prompt, p.negative, p.positive) for p in pairs[6:])) == []
