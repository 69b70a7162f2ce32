"""The cross-behavior matrix: means with intervals, and how far a vector keeps to its own behavior."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caa_registry.errors import UsageError
from caa_registry.evaluation.cross_behavior import cross_behavior
from caa_registry.evaluation.inference.intervals import Interval

OWN = {"v/refusal": "refusal", "v/myopia": "myopia"}
EFFECTS = {
    ("v/refusal", "refusal"): Interval(0.6, 0.5, 0.7, 12),
    ("v/refusal", "myopia"): Interval(-0.2, -0.5, 0.1, 12),
    ("v/myopia", "refusal"): Interval(0.4, 0.4, 0.4, 3),
    ("v/myopia", "myopia"): Interval(0.2, None, None, 2),
}


def known(value: float) -> Interval:
    return Interval(value, None, None, 1)


def test_cells_stand_in_the_order_given() -> None:
    found = cross_behavior(EFFECTS, OWN)
    assert (found.vectors, found.behaviors) == (("v/refusal", "v/myopia"), ("refusal", "myopia"))
    assert found.effects == EFFECTS and list(found.effects) == list(EFFECTS)


def test_dominance_is_of_its_own_behavior_over_the_strongest_other() -> None:
    refusal, myopia = cross_behavior(EFFECTS, OWN).dominance.values()
    assert (refusal.behavior, refusal.strongest) == ("refusal", "myopia")
    assert (refusal.own, refusal.other) == pytest.approx((0.6, -0.2))
    assert refusal.share == pytest.approx(0.75) and refusal.own > abs(refusal.other)
    assert (myopia.own, myopia.other) == pytest.approx((0.2, 0.4))
    assert myopia.share == pytest.approx(1 / 3) and myopia.own <= abs(myopia.other)


def test_a_vector_that_moves_its_own_behavior_the_wrong_way_does_not_dominate() -> None:
    for own in (-0.9, 0.0):
        effects = {("v", "a"): known(own), ("v", "b"): known(0.0)}
        (found,) = cross_behavior(effects, {"v": "a"}).dominance.values()
        assert found.share == 0 and found.own <= abs(found.other)


def test_without_another_behavior_or_an_own_one_there_is_no_dominance() -> None:
    alone = {("v", "a"): known(0.5)}
    assert cross_behavior(alone, {"v": "a"}).dominance == {}
    assert cross_behavior(EFFECTS, {"v/refusal": "truth"}).dominance == {}


@given(st.permutations(["a", "b", "c"]), st.floats(0.01, 1))
def test_where_all_moves_alike_every_behavior_has_the_same_share(order: list[str], size: float) -> None:
    effects = {("v", behavior): known(size) for behavior in order}
    (found,) = cross_behavior(effects, {"v": "a"}).dominance.values()
    assert found.share == pytest.approx(1 / 3) and found.own <= abs(found.other)


def test_a_matrix_with_a_hole_is_refused() -> None:
    hole = {place: values for place, values in EFFECTS.items() if place != ("v/myopia", "refusal")}
    with pytest.raises(UsageError, match="the effect of v/myopia on refusal is missing"):
        cross_behavior(hole, OWN)
    with pytest.raises(UsageError, match="no effects"):
        cross_behavior({}, OWN)
