"""Calibration: halves by digest, the range that KL allows, and a choice that never sees the half it is reported on."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.computed import mean_difference
from support.effects import side_effects

from caa_registry.digests import digest_bytes
from caa_registry.errors import UsageError
from caa_registry.evaluation.calibration import (
    TARGET_KL,
    Calibration,
    Halves,
    KlRange,
    MeasuredCell,
    calibrate,
    halves,
    kl_range,
)
from caa_registry.evaluation.inference.intervals import Interval, mean
from caa_registry.evaluation.side_effects.measure import tokenized
from caa_registry.evaluation.side_effects.neutral_text import packaged_text
from caa_registry.extraction.reading import encode_pairs
from caa_registry.models.model import Model
from caa_registry.pairs.record import PairItem
from caa_registry.pairs.sources import load

Item = tuple[str, str, int]

# An item's letter is part of its digest. Of items that follow one another two are a cluster, of one letter or of two.
items = st.lists(
    st.integers(0, 60).map(lambda i: (digest_bytes(bytes([i])), ["A", "B", ""][(i // 2 + (i % 4 == 1)) % 3], i // 2)),
    max_size=40,
)


def parts(divided: Halves, of: list[Item]) -> tuple[Counter[Item], Counter[Item]]:
    return Counter(of[i] for i in divided.a), Counter(of[i] for i in divided.b)


def split(of: list[Item]) -> Halves:
    return halves([item[0] for item in of], [item[1] for item in of], [item[2] for item in of])


@given(items, st.randoms(use_true_random=False))
def test_the_order_of_items_does_not_change_the_halves(of: list[Item], random: Any) -> None:
    shuffled = list(of)
    random.shuffle(shuffled)
    assert parts(split(of), of) == parts(split(shuffled), shuffled)
    # Nor do the clusters' numbers.
    assert split([(digest, letter, 99 - cluster) for digest, letter, cluster in of]).a == split(of).a


@given(items)
def test_halves_are_even_for_every_letter_and_share_no_cluster(of: list[Item]) -> None:
    divided = split(of)
    assert sorted([*divided.a, *divided.b]) == list(range(len(of)))
    assert list(divided.a) == sorted(divided.a) and list(divided.b) == sorted(divided.b)
    assert (divided.letters, divided.clusters) == (tuple(i[1] for i in of), tuple(i[2] for i in of))
    a, b = ({of[i][2] for i in half} for half in (divided.a, divided.b))
    assert not a & b and len(a) - len(b) in (0, 1)
    letters: dict[int, set[str]] = {}
    for _, letter, cluster in of:
        letters.setdefault(cluster, set()).add(letter)
    for kind in {frozenset(found) for found in letters.values()}:
        assert abs(sum(letters[c] == kind for c in a) - sum(letters[c] == kind for c in b)) <= 1


def unlettered(a: tuple[int, ...], b: tuple[int, ...]) -> Halves:
    """Halves of items that are each a cluster and have no letters."""
    n = len(a) + len(b)
    return Halves(a, b, ("",) * n, tuple(range(n)))


def interval(value: float) -> Interval:
    return Interval(value, 0.9 * value, 1.1 * value, 12)


def test_the_range_ends_at_the_first_multiplier_beyond_the_target() -> None:
    # Beyond -1 it comes back, which does not count: what is between would be crossed.
    kl = {-3.0: 0.1, -2.0: 0.9, -1.0: 0.1, 0.0: 0.0, 0.5: 0.05, 1.0: 0.2, 2.0: 0.8}
    found = kl_range(4, kl, 0.2)
    assert (found.layer, found.low, found.high) == (4, -1.0, 1.0)
    # log KL is linear in between: from 0.2 at 1 to 0.8 at 2; from 0.1 at -1 to 0.9 at -2.
    assert found.high_limit == 1.0 and found.low_limit == pytest.approx(-1 - math.log(2) / math.log(9))
    assert kl_range(4, kl, 0.4).high_limit == pytest.approx(1.5)


def test_before_the_first_multiplier_the_limit_follows_the_square() -> None:
    found = kl_range(0, {1.0: 0.8, -1.0: 0.0, -2.0: 0.1}, 0.2)
    assert found == KlRange(0, low=-2.0, high=0.0, low_limit=None, high_limit=0.5)
    near = math.nextafter(0.2, 1)
    assert kl_range(0, {1.0: 0.2, 2.0: near}, 0.2).high_limit == 1.0
    assert math.copysign(1, kl_range(0, {-1.0: 9.0}, 0.2).low) == 1  # not -0.0


@given(
    st.dictionaries(st.floats(-4, 4).filter(lambda m: abs(m) > 0.01), st.floats(0, 3), max_size=8),
    st.floats(0.01, 2),
)
def test_a_range_holds_what_keeps_to_the_target_and_its_limits_are_just_beyond(
    kl: dict[float, float], target: float
) -> None:
    found = kl_range(0, kl, target)
    assert all(value <= target for multiplier, value in kl.items() if found.low <= multiplier <= found.high)
    assert {found.low, found.high} <= {0.0, *kl}
    for end, limit, side in ((found.high, found.high_limit, 1), (found.low, found.low_limit, -1)):
        outside = [side * m for m in kl if side * m > side * end]
        assert (limit is None) == (not outside)
        if limit is not None:
            assert side * end <= side * limit <= min(outside) + 1e-9


def cells(generator: np.random.Generator, n: int) -> list[MeasuredCell]:
    return [
        MeasuredCell(layer, m, generator.random(n), np.ones(n), interval(0.05 * m * m * (1 + layer)))
        for layer in (1, 2, 3)
        for m in (-2.0, -1.0, 1.0, 2.0)
    ]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["more", "less"]))
def test_the_choice_never_sees_half_b(seed: int, direction: Any) -> None:
    generator = np.random.default_rng(seed)
    divided = unlettered((0, 2, 5), (1, 3, 4))
    measured, unsteered = cells(generator, 6), generator.random(6)
    found = calibrate(measured, unsteered, divided, direction)
    b = list(divided.b)
    changed = []
    for cell in measured:
        values = cell.items.copy()
        values[b] = generator.random(3)
        changed.append(replace(cell, items=values))
    base = unsteered.copy()
    base[b] = generator.random(3)
    again = calibrate(changed, base, divided, direction)
    assert (again.choice is None, again.reason) == (found.choice is None, found.reason)
    if found.choice and again.choice:
        for field in ("layer", "multiplier", "kl", "score_a", "effect_a", "tied"):
            assert getattr(found.choice, field) == getattr(again.choice, field)
        assert found.choice.score_b != again.choice.score_b


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([("more", 1), ("less", -1)]))
def test_it_is_the_largest_effect_on_half_a_within_the_range(seed: int, way: Any) -> None:
    direction, sign = way
    generator = np.random.default_rng(seed)
    divided = unlettered((0, 1, 2), (3, 4))
    measured, unsteered = cells(generator, 5), generator.random(5)
    found = calibrate(measured, unsteered, divided, direction)
    effects = {
        (cell.layer, cell.multiplier): sign * (cell.items - unsteered) for cell in measured if cell.kl.high <= TARGET_KL
    }
    best = max(effects, key=lambda place: effects[place][:3].mean())
    if effects[best][:3].mean() <= 0:
        assert found.choice is None and "none moves half A in the intended direction" in found.reason
        return
    assert found.choice and (found.choice.layer, found.choice.multiplier) == best
    assert found.choice.effect_a == mean(effects[best][:3])
    assert found.choice.effect_b == mean(effects[best][3:])
    (cell,) = (cell for cell in measured if (cell.layer, cell.multiplier) == best)
    assert (found.choice.score_a, found.choice.score_b) == (
        mean(cell.items[:3]),
        mean(cell.items[3:]),
    )
    assert (found.choice.kl, found.n_a, found.n_b, found.reason) == (cell.kl, 3, 2, "")


def outcome(*measured: tuple[int, float, float, float, bool | None], direction: Any = "more") -> Calibration:
    """Of cells (layer, multiplier, score of every item, KL, coherent), from an unsteered score of 0.5."""
    made = [
        MeasuredCell(layer, m, np.full(4, score), np.ones(4), interval(kl), ok) for layer, m, score, kl, ok in measured
    ]
    return calibrate(made, np.full(4, 0.5), unlettered((0, 1), (2, 3)), direction)


def test_ties_go_to_the_least_kl_then_the_smallest_multiplier_then_the_lowest_layer() -> None:
    found = outcome(
        (3, 2.0, 0.9, 0.1, None), (2, -1.0, 0.9, 0.1, None), (1, 1.0, 0.9, 0.1, None), (4, 1.0, 0.9, 0.15, None)
    ).choice
    assert found and (found.layer, found.multiplier) == (1, 1.0)
    assert found.tied == ((2, -1.0), (3, 2.0), (4, 1.0))


def test_what_is_known_to_be_incoherent_is_left_out() -> None:
    found = outcome((1, 1.0, 0.9, 0.1, False), (1, 0.5, 0.7, 0.05, True), (1, 0.25, 0.6, 0.01, None)).choice
    assert found and found.multiplier == 0.5 and found.tied == ()


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        ([], "no multiplier other than 0 was measured"),
        ([(1, 0.0, 0.5, 0.0, None)], "no multiplier other than 0 was measured"),
        (
            [(1, 1.0, 0.9, 0.9, None), (2, -1.0, 0.9, 0.6, None)],
            "KL is above 0.2 nats per token at every layer and multiplier measured; it is least, 0.66 at most, "
            "at layer 2, multiplier -1",
        ),
        ([(1, 1.0, 0.9, 0.1, False)], "of 1 cells within the range of KL none writes coherent text"),
        ([(1, 1.0, 0.4, 0.1, None), (1, 0.5, 0.5, 0.1, None)], "of 2 cells that qualify none moves half A"),
    ],
)
def test_that_no_cell_qualifies_is_an_outcome_with_a_reason(measured: Any, said: str) -> None:
    found = outcome(*measured)
    assert found.choice is None and re.search(re.escape(said), found.reason)
    assert "0.2 nats per token" in found.rule and "raise" in found.rule
    assert "lower" in outcome(*measured, direction="less").rule


def test_one_item_has_no_halves_and_a_target_is_above_0() -> None:
    cell = MeasuredCell(0, 1.0, np.array([0.9]), np.ones(1), interval(0.1))
    found = calibrate([cell], np.array([0.5]), halves(["sha256:0"], [""], [0]))
    assert (found.choice, found.n_a, found.n_b) == (None, 1, 0) and "too few items for two halves: 1" in found.reason
    for target in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(UsageError, match="cannot be kept to"):
            calibrate([cell], np.array([0.5]), unlettered((0,), ()), target_kl=target)


def test_a_range_is_by_the_upper_bound_of_kl_where_it_has_one() -> None:
    for high, wanted in ((0.25, 0.0), (0.19, 1.0), (None, 1.0)):
        kl = Interval(0.18, None if high is None else 0.1, high, 12)
        cell = MeasuredCell(3, 1.0, np.full(4, 0.9), np.ones(4), kl)
        found = calibrate([cell], np.full(4, 0.5), unlettered((0, 1), (2, 3)))
        assert found.ranges[0].high == wanted and (found.choice is None) == (wanted == 0)


def test_every_letter_counts_the_same_in_the_choice() -> None:
    """One layer moves the answers to A, of which there are more, and one moves the behavior by less."""
    generator = np.random.default_rng(0)
    letters = "A" * 14 + "B" * 6
    divided = halves([digest_bytes(bytes([i])) for i in range(20)], list(letters), list(range(20)))
    unsteered = generator.normal(0.5, 0.01, 20)
    to_a = unsteered + np.where(np.array(list(letters)) == "A", 0.4, -0.4)
    cells_ = [
        MeasuredCell(layer, 1.0, moved, np.ones(20), interval(0.1))
        for layer, moved in ((1, to_a), (2, unsteered + 0.1))
    ]
    found = calibrate(cells_, unsteered, divided).choice
    assert found and found.layer == 2
    assert (found.effect_a.value, found.effect_b.value) == pytest.approx((0.1, 0.1))
    assert found.score_b == mean(cells_[1].items[list(divided.b)])


def test_repeats_make_no_interval_of_a_half_narrower() -> None:
    generator = np.random.default_rng(1)
    moved, unsteered = generator.uniform(0.6, 0.9, 24), generator.uniform(0.1, 0.4, 24)
    digests = [digest_bytes(bytes([i])) for i in range(24)]
    every = np.repeat(np.arange(24), 4)
    choices = []
    for places in (np.arange(24), every):
        divided = halves([digests[i] for i in places], [""] * len(places), places.tolist())
        cell = MeasuredCell(0, 1.0, moved[places], np.ones(len(places)), interval(0.1))
        choices.append(calibrate([cell], unsteered[places], divided).choice)
    once, repeated = choices
    assert once and repeated and repeated.effect_b.n == 4 * once.effect_b.n
    for one, other in ((once.effect_b, repeated.effect_b), (once.score_a, repeated.score_a)):
        assert (one.low, one.high) == pytest.approx((other.low, other.high))


def test_the_default_target_parts_fluent_text_from_broken_on_the_demo_model(demo: Model) -> None:
    """The model card says what share of the sentences written at each multiplier is grammatical."""
    import caa_registry

    card = (Path(caa_registry.__file__).parent / "assets" / "demo_model" / "README.md").read_text(encoding="utf-8")
    text = tokenized(demo, packaged_text("demo"))
    sections = re.findall(
        r"### (\S+), layer (\d): fluent from (\S+) to (\S+)\n(.*?)\n\n\| multiplier \| prompt", card, re.S
    )
    assert len(sections) == 4
    for name, layer, low, high, table in sections:
        shares = {float(m): float(share) for m, share in re.findall(r"^\| ([+-]?[\d.]+) \| ([\d.]+) ", table, re.M)}
        pairs = [item for item in load(f"seed:{name}").items if isinstance(item, PairItem)]
        tokens, _ = encode_pairs([i.pair for i in pairs if i.split == "generate"], demo.template(), demo)
        vectors = mean_difference(demo, tokens, [int(layer)], "last")
        for cell in side_effects(demo, vectors, text, [int(layer)], sorted(shares)):
            if float(low) <= cell.multiplier <= float(high):
                assert cell.kl.value < 0.95 * TARGET_KL
            elif shares[cell.multiplier] < 0.8:
                assert cell.kl.value > TARGET_KL
