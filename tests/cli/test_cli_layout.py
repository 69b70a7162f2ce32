"""Tables fit the width they are given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caa_registry.cli import layout


def test_width_counts_columns_of_a_terminal() -> None:
    assert layout.width("abc") == 3
    assert layout.width("你好") == 4
    assert layout.width("e\u0301") == 1  # a letter and its accent


@pytest.mark.parametrize(
    ("text", "room", "lines"),
    [
        ("one two three", 7, ["one two", "three"]),
        ("abcdefgh ij", 3, ["abc", "def", "gh", "ij"]),
        ("first\nsecond line", 20, ["first", "second line"]),
        ("你好吗", 4, ["你好", "吗"]),
        ("", 4, [""]),
        ("a  b", 10, ["a  b"]),
    ],
)
def test_text_is_folded_at_spaces_where_there_are_some(text: str, room: int, lines: list[str]) -> None:
    assert layout.folded(text, room) == lines


@given(st.text(alphabet="ab 你\n", max_size=40), st.integers(2, 12))
def test_folding_keeps_every_letter_and_the_width(text: str, room: int) -> None:
    lines = layout.folded(text, room)
    assert all(layout.width(line) <= room for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_the_widest_columns_give_way_first_and_whole_ones_last() -> None:
    assert layout.fitted([10, 30, 20], [False] * 3, 100) == [10, 30, 20]
    assert layout.fitted([10, 30, 20], [False] * 3, 54) == [10, 20, 20]
    assert layout.fitted([30, 30], [True, False], 45) == [30, 13]
    assert layout.fitted([30, 30], [True, False], 30) == [20, 8]
    assert layout.fitted([30, 30], [True, False], 5) == [8, 8]  # there is a least width


def test_a_table_is_set_in_columns() -> None:
    cells = [["name", "n", "text"], ["a", "7", "one two three"], ["bcd", "12", "x"]]
    printed = layout.rows(cells, whole=[True, True, False], right=[False, True, False], room=18)
    assert printed == [["name   n  text"], ["a      7  one two", "          three"], ["bcd   12  x"]]
