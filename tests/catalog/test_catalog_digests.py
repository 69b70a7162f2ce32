"""The JSON that digests cover has one form, whatever the values are made of."""

from __future__ import annotations

import json
import unicodedata
from collections import OrderedDict
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caa_registry.catalog.integrity.row_digests import digest_of_row, digest_of_rows
from caa_registry.digests import canonical_json, digest_bytes


class Text(str):
    __slots__ = ()


class Number(IntEnum):
    SEVEN = 7


TEXTS = st.text(max_size=5) | st.sampled_from(["e\u0301", "\u00e9", '"', "\\"])
CELLS = st.none() | st.booleans() | st.integers() | st.just(Number.SEVEN) | TEXTS
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.lists(inner, max_size=4).map(tuple)
            | st.dictionaries(TEXTS, inner, max_size=4)
            | st.dictionaries(TEXTS, inner, max_size=4).map(OrderedDict)
        ),
        max_leaves=12,
    )


def written(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def composed(value: Any) -> Any:
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, Mapping):
        return {composed(key): composed(item) for key, item in value.items()}
    return [composed(item) for item in value] if isinstance(value, list | tuple) else value


def measured(value: Any) -> Any:
    """Every number as a float that has the same value, if there is one."""
    if isinstance(value, Mapping):
        return {str(key): measured(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [measured(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    try:
        number = float(value)
    except OverflowError:
        return value
    return (abs(number) if number == 0 else number) if number == value else value


@given(nested(CELLS | st.just(Text("e\u0301"))))
def test_canonical_json(value: Any) -> None:
    assert canonical_json(value) == written(composed(value))


@pytest.mark.parametrize("value", [1.5, [1.0], {"a": (2, -0.0)}, {"a": b""}, {1, 2}])
def test_canonical_json_holds_no_floats(value: Any) -> None:
    with pytest.raises(TypeError, match="has no canonical JSON form"):
        canonical_json(value)


@given(st.lists(st.lists(nested(CELLS | FLOATS), max_size=4), max_size=3))
def test_rows(rows: list[list[Any]]) -> None:
    said = written(["caa-registry/rows/score/v1", measured(rows)])
    assert digest_of_rows("score", rows) == digest_bytes(said.encode("utf-8", "surrogatepass"))
    cells = {f"column{place}": cell for place, row in enumerate(rows) for cell in row}
    there = {name: cell for name, cell in measured(cells).items() if cell is not None}
    said = written(["caa-registry/row/score/v1", there])
    assert digest_of_row("score", {**cells, "id": 5}) == digest_bytes(said.encode("utf-8", "surrogatepass"))
