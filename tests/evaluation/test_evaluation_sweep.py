"""Sweeps and intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny_models import CHAT, LAYERS, TinyModels

import caa_registry.evaluation.intervals as intervals
from caa_registry.errors import UsageError
from caa_registry.evaluation.intervals import bootstrap_mean
from caa_registry.evaluation.propensity import ItemSet, prepare, score
from caa_registry.evaluation.sweep import sweep
from caa_registry.models.model import Model
from caa_registry.pairs.record import Pair
from caa_registry.steering.additions import Addition, steering
from caa_registry.vectors.vector_set import LayerVector, VectorSet

PAIRS = [Pair("Is it?", "(A)", "(B)"), Pair("And now, is it?", "(B)", "(A)"), Pair("I?", "(A)", "(B)")]


@pytest.fixture
def model(tiny: TinyModels) -> Model:
    return tiny("llama", chat=CHAT)


@pytest.fixture
def items(model: Model) -> ItemSet:
    return prepare(PAIRS, model.template(), model)


@pytest.fixture
def vectors(model: Model) -> VectorSet:
    draw = np.random.default_rng(0).standard_normal
    return VectorSet.of(LayerVector(layer, draw(model.d_model).astype(np.float32)) for layer in range(LAYERS))


def test_a_sweep_is_every_layer_at_every_multiplier(model: Model, items: ItemSet, vectors: VectorSet) -> None:
    told: list[tuple[int, int]] = []
    cells = sweep(model, vectors, items, [0, 2], [-1, 0, 2], progress=lambda done, total: told.append((done, total)))
    assert [(cell.layer, cell.multiplier) for cell in cells] == [(0, -1), (0, 0), (0, 2), (2, -1), (2, 0), (2, 2)]
    unsteered = score(model, items)
    for cell in cells:
        if cell.multiplier == 0:
            np.testing.assert_allclose(cell.items, unsteered, atol=1e-6)
            np.testing.assert_array_equal(cell.items, cells[1].items)
        else:
            with steering(model, [Addition(cell.layer, vectors[cell.layer].values, cell.multiplier)]):
                np.testing.assert_allclose(cell.items, score(model, items), atol=1e-6)
            assert np.abs(cell.items - unsteered).max() > 1e-4
        assert cell.interval.n == len(PAIRS)
        assert cell.interval.value == pytest.approx(cell.items.mean())
    # Each question unsteered and at two layers.
    assert told[0] == (0, 9) and told[-1] == (9, 9) and told == sorted(told)
    np.testing.assert_array_equal(score(model, items), unsteered)


def test_positions_are_passed_on(model: Model, items: ItemSet, vectors: VectorSet) -> None:
    found = {p: sweep(model, vectors, items, [1], [3], p)[0].items for p in ("all", "after_prompt", "last")}  # type: ignore[arg-type]
    assert len({values.tobytes() for values in found.values()}) == 3


def test_a_layer_that_is_missing_is_refused(model: Model, items: ItemSet, vectors: VectorSet) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        sweep(model, vectors, items, [0, LAYERS], [0, 1])
    with pytest.raises(UsageError, match="no layer 2"):
        sweep(model, VectorSet.of(vectors.layers[:2]), items, [0, 2], [0, 1])


VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


@settings(deadline=None, max_examples=30)
@given(VALUES)
def test_an_interval_holds_its_mean_and_stays_within_the_values(values: list[float]) -> None:
    found = bootstrap_mean(np.array(values))
    assert found.n == len(values)
    assert found.value == pytest.approx(np.mean(values))
    assert min(values) - 1e-12 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= max(values) + 1e-12
    assert bootstrap_mean(np.array(values)) == found


def test_the_interval_of_one_value_is_the_value() -> None:
    found = bootstrap_mean(np.array([0.3]))
    assert (found.value, found.low, found.high, found.n) == (0.3, pytest.approx(0.3), pytest.approx(0.3), 1)


def test_the_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(1).random(400)
    found = bootstrap_mean(values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert found.low == pytest.approx(values.mean() - half, abs=half / 10)
    assert found.high == pytest.approx(values.mean() + half, abs=half / 10)


def test_how_many_are_drawn_at_a_time_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).random(37)
    found = bootstrap_mean(values)
    monkeypatch.setattr(intervals, "_DRAWN_AT_ONCE", 1000)
    assert bootstrap_mean(values) == found


def test_about_95_of_100_intervals_hold_the_truth() -> None:
    generator = np.random.default_rng(2)
    runs = 200
    held = 0
    for _ in range(runs):
        found = bootstrap_mean(generator.beta(2, 3, 30))
        held += found.low <= 0.4 <= found.high
    # The percentile bootstrap is a little narrow at 30 items.
    assert 0.88 <= held / runs <= 0.99
