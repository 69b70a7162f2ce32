"""Two measurements on the same items."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from caa_registry.errors import UsageError
from caa_registry.evaluation.comparison import compare
from caa_registry.evaluation.measurements import Measurements, Observed
from caa_registry.evaluation.propensity import BEYOND_LETTERS

N = 30


def measured(
    slopes: NDArray[np.float64],
    multipliers: tuple[float, ...] = (-1.0, 0.0, 1.0),
    layers: tuple[int, ...] = (4,),
    letters: str = "",
    each: int = 1,
) -> Measurements:
    """Items whose log-odds are lines over the multipliers, the same at every layer; ``each`` that follow one another
    are a cluster."""
    odds = np.multiply.outer(np.array(multipliers), slopes)
    log_p = np.stack([-np.log1p(np.exp(-odds)), -np.log1p(np.exp(odds))], axis=-1)
    n = len(slopes)
    observed = Observed(
        tuple(range(n)), tuple(letters or "A" * n), np.stack([log_p] * len(layers)), tuple(i // each for i in range(n))
    )
    return Measurements("propensity", layers, multipliers, {"vector": observed})


SAME = [(i, i) for i in range(N)]


def test_a_difference_is_of_the_same_items() -> None:
    base = np.random.default_rng(0).normal(1, 2, N)
    found = {c.metric: c for c in compare(measured(base + 0.3), measured(base), SAME)}
    slope = found["steerability"]
    assert (slope.layer, slope.other_layer, slope.difference.n) == (4, 4, N)
    assert slope.one - slope.other == pytest.approx(0.3) == slope.difference.value
    # Items differ by 2, pairs by nothing: only pairing sees it.
    assert slope.difference.low == pytest.approx(0.3) == slope.difference.high
    assert slope.p_value < 0.001 and slope.p_value <= slope.p_holm
    assert found["effect"].difference.value == pytest.approx(found["effect"].one - found["effect"].other)


def test_items_are_matched_by_what_they_are() -> None:
    base = np.random.default_rng(1).normal(1, 2, N)
    shuffled = np.random.default_rng(2).permutation(N)
    found = compare(measured(base), measured(base[shuffled]), [(int(item), i) for i, item in enumerate(shuffled)])
    assert all(c.difference.value == pytest.approx(0) and c.p_value == 1 for c in found)
    some = compare(measured(base), measured(base + 1), SAME[:7])
    assert {c.difference.n for c in some} == {7}


def test_only_common_multipliers_layers_and_counted_items_enter() -> None:
    base = np.random.default_rng(3).normal(1, 0.1, N)
    one = measured(base, (-2.0, -1.0, 0.0, 1.0, 2.0), (1, 2, 3))
    other = measured(base, (-1.0, 1.0), (2, 3, 5))
    other.vector.log_p[:, :, 4] = BEYOND_LETTERS
    found = compare(one, other, SAME)
    assert [(c.metric, c.layer) for c in found] == [
        ("steerability", 2), ("effect", 2), ("steerability", 3), ("effect", 3)
    ]  # fmt: skip
    assert all(c.difference.n == N - 1 and c.difference.value == pytest.approx(0) for c in found)
    (slope, _) = compare(one, other, SAME, [(1, 5)])
    assert (slope.layer, slope.other_layer) == (1, 5)


def test_what_cannot_be_compared_is_said() -> None:
    base = np.ones(N)
    one = measured(base)
    with pytest.raises(UsageError, match="no question in common"):
        compare(one, one, [])
    with pytest.raises(UsageError, match="fewer than two multipliers"):
        compare(one, measured(base, (1.0, 2.0)), SAME)
    with pytest.raises(UsageError, match="no layer in common"):
        compare(one, measured(base, layers=(5,)), SAME)
    with pytest.raises(UsageError, match="layer 9 was not evaluated"):
        compare(one, one, SAME, [(4, 9)])
    free = Measurements("propensity_completion", one.layers, one.multipliers, one.observed)
    with pytest.raises(UsageError, match="scored by propensity, the other by propensity_completion"):
        compare(one, free, SAME)


def test_every_letter_counts_the_same() -> None:
    letters = "A" * 20 + "B" * 10
    more = np.where(np.array(list(letters)) == "A", 0.4, -0.4)
    base = np.random.default_rng(4).normal(1, 2, N)
    slope, _ = compare(measured(base + more, letters=letters), measured(base, letters=letters), SAME)
    # A vector that favours A more than another is no better at the behavior.
    assert slope.difference.value == pytest.approx(0, abs=1e-9)
    assert slope.one == pytest.approx((base + more)[:20].mean() / 2 + (base + more)[20:].mean() / 2)
    assert slope.one - slope.other == pytest.approx(slope.difference.value, abs=1e-9)
    assert slope.p_value == 1


def test_repeats_are_no_evidence() -> None:
    generator = np.random.default_rng(5)
    base, other = generator.normal(1, 0.5, 12), generator.normal(0.8, 0.5, 12)
    once = compare(measured(base), measured(other), SAME[:12])
    repeated = [measured(np.repeat(slopes, 4), each=4) for slopes in (base, other)]
    for one, four in zip(once, compare(*repeated, [(i, i) for i in range(48)]), strict=True):
        assert one.p_value == four.p_value and four.difference.n == 48
        assert (one.difference.low, one.difference.high) == pytest.approx((four.difference.low, four.difference.high))
