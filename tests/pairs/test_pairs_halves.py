"""Halves of the rows of a split."""

from __future__ import annotations

import pytest

from caa_registry.errors import UsageError
from caa_registry.pairs.halves import check_half, half_of


def test_two_halves_share_the_rows() -> None:
    assert half_of("abcde", "even") == ["a", "c", "e"] and half_of("abcde", "odd") == ["b", "d"]
    assert half_of("abcde", "all") == list("abcde") and half_of([], "even") == []


def test_a_half_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match="no half 'third'"):
        check_half("third")
    check_half("odd")
