"""Expressions that may be a stranger's: bounded in size, depth, memory and time."""

from __future__ import annotations

import pytest
from support.hostile_expressions import HOSTILE
from support.limited import MOST_ABOVE, peaks

from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.curation import expression_bounds
from caa_registry.pairs.curation.expression import compiled
from caa_registry.pairs.record import Pair, PairItem

ROW = PairItem(
    Pair("Is it? Is it so?\n (A) Yes\n (B) No", "(A)", "(B)"),
    metadata={"row": 1, "category": "x", "tags": ["new", "short"], "score": 0.25, "n": 12},
)
# These do no harm on the rows they are tried on.
HARMLESS = {"chain", "huge-number-as-text"}


@pytest.mark.long
def test_no_expression_takes_more_than_its_share_of_memory_and_time() -> None:
    report = peaks("support.hostile_expressions:report")
    assert len(report["outcomes"]) == len(HOSTILE) + 8
    for name, said in report["outcomes"].items():
        assert said.startswith("refused") or name in HARMLESS, (name, said)
    assert report["above"] < MOST_ABOVE


@pytest.mark.parametrize(
    "expression",
    [
        "choices == 2 and words(question) < 60",
        "letter and words(question) < 60",
        "form in ('A/B', 'yes-no') and not matches('^was', lower(prompt))",
        "(choices == 2) & (letter == 'A')",
        "len([c for c in prompt if c == '?']) == 2",
        "prompt[:5] == 'Is it' and prompt[::-1][0] == 'o'",
        "meta('category') in {'x', 'y'} and meta('none') is None and meta('none', 1) == 1",
        "'new' in meta('tags') and meta('tags')[0] == 'new' and matches('short', meta('tags'))",
        "meta('score') * 100 >= 25 and 2 ** 10 == 1024 and meta('n') % 4 == 0 and -meta('n') // 5 == -3",
        "f'{split}-{letter}' == 'generate-A' and f'{meta(\"score\"):.1f}' == '0.2' and '%s/%d' % (letter, 3) == 'A/3'",
        "'ab' * 3 + 'c' == 'abababc' and [1] * 2 + [2] == [1, 1, 2] and (1 if letter else 0)",
        "matches(pattern='y{1,3}es', text=lower(matching)) and len(set(list('aab'))) == 2",
        " or ".join(f"'word{i}' in lower(prompt)" for i in range(60)) + " or True",
        "1 < choices <= 2 != 3",
        "{'A': 1}[letter] == 1 and dict([('a', 2)])['a'] == 2",
    ],
)
def test_what_is_sensible_still_works(expression: str) -> None:
    assert compiled(expression)(ROW)


@pytest.mark.parametrize("expression", ["True; False", "letter = 'A'", "letter == 'A' # ok\nFalse"])
def test_only_one_expression_is_one(expression: str) -> None:
    with pytest.raises(UsageError, match="is not an expression"):
        compiled(expression)


def test_a_long_pass_over_small_rows_is_not_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is counted beyond what such rows take; without that, the same rows run out."""
    monkeypatch.setattr(expression_bounds, "PASS_SECONDS", 0.01)
    sensible = "choices == 2 and words(question) < 60 and " + " and ".join(["len(prompt) > 1"] * 20)
    holds = compiled(sensible)
    assert all(holds(ROW) for _ in range(2000))
    for name in ("_ROW_SECONDS", "_PART_SECONDS", "_CHARACTER_SECONDS"):
        monkeypatch.setattr(expression_bounds, name, 0.0)
    holds = compiled(sensible)
    with pytest.raises(InputError, match="longer than it should"):
        for _ in range(2000):
            holds(ROW)


def test_words_are_those_that_split_gives() -> None:
    texts = ["", " ", "a", " a  b\n\nc\t", "a\x1cb\x85c\u2028d\u3000e", "é-é ü"]
    for text in texts:
        row = PairItem(Pair("?", text or "x", "y"))
        assert compiled(f"words(positive) == {len((text or 'x').split())}")(row)
