"""Numbers of things as a person would write them."""

from __future__ import annotations

import pytest

from caa_registry.wording import count, named_layers, ranges, subject, with_article


def test_one_thing_is_not_called_several() -> None:
    assert [count(n, "pair") for n in (0, 1, 2)] == ["0 pairs", "1 pair", "2 pairs"]
    assert [count(n, "reply", "replies") for n in (1, 2)] == ["1 reply", "2 replies"]
    assert [subject(n, "pair") for n in (0, 1, 2)] == ["0 pairs are", "1 pair is", "2 pairs are"]
    assert [subject(n, "row", "was", "were") for n in (1, 2)] == ["1 row was", "2 rows were"]


def test_a_thing_has_its_article() -> None:
    assert [with_article(noun) for noun in ("pair", "evaluation", "OrderedDict", "uint8")] == [
        "a pair",
        "an evaluation",
        "an OrderedDict",
        "a uint8",
    ]


@pytest.mark.parametrize(
    ("numbers", "written"),
    [([4], "layer 4"), ([0, 1, 2], "layers 0-2"), ([0, 2, 3, 7], "layers 0, 2-3, 7"), ([1, 2], "layers 1-2")],
)
def test_layers_are_named_as_a_person_would(numbers: list[int], written: str) -> None:
    assert named_layers(numbers) == written
    assert ranges(numbers) == written.split(" ", 1)[1]
