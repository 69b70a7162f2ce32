"""Texts become words that both databases index alike."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caa_registry.catalog.search.words import indexed, phrases, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Sycophancy, again!", ["sycophancy", "again"]),
        ("team/my_set-v2.1", ["team", "my", "set", "v2", "n1"]),
        ("Crème Brûlée", ["creme", "brulee"]),
        ("STRASSE straße", ["strasse", "strasse"]),
        ("2 apples", ["n2", "apples"]),
        ("a\x00b", ["a", "b"]),
        ("\ud800", []),
        ("(*) -- !", []),
        ("日本", ["u65e5", "u672c"]),
        ("мир", ["u43cu438u440"]),
        ("I❤\ufe0f🙂", ["i", "u2764", "u1f642"]),
        ("ﬁne ①", ["fine", "n1"]),
        ("№ 𝒩 ℡ Ａ İ ẞ Ǆ", ["no", "n", "tel", "a", "i", "ss", "dz"]),
    ],
)
def test_words_of_a_text(text: str, found: list[str]) -> None:
    assert words(text) == found


@given(st.text(alphabet=st.characters(codec=None), max_size=60))
def test_words_hold_nothing_that_is_an_operator(text: str) -> None:
    for word in words(text):
        assert re.fullmatch("[a-z][a-z0-9]*", word)
    assert indexed(text).split() == words(text)
    assert [word for phrase in phrases(text) for word in phrase] == words(text)


def test_a_query_asks_for_phrases() -> None:
    assert phrases('status=reviewed "日本 x') == [["status", "reviewed"], ["u65e5", "u672c"], ["x"]]
    assert phrases(" \t!? ") == []


def test_texts_and_words_have_a_bound() -> None:
    assert len(words("a " * 100_000)) == 10_000
    assert [len(word) for word in words("a" * 5000)] == [200]
