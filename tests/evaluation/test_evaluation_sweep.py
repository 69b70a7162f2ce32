"""Sweeps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from support.sweeps import sweep
from support.tiny_models import CHAT, LAYERS, TinyModels

from caa_registry.engine.sweeps import Part
from caa_registry.errors import UsageError
from caa_registry.evaluation.propensity import ItemSet, prepare, propensity_of, score
from caa_registry.models.model import Model
from caa_registry.pairs.record import Pair
from caa_registry.steering.additions import Addition, steering

PAIRS = [Pair("Is it?", "(A)", "(B)"), Pair("And now, is it?", "(B)", "(A)"), Pair("I?", "(A)", "(B)")]


@pytest.fixture
def model(tiny: TinyModels) -> Model:
    return tiny("llama", chat=CHAT)


@pytest.fixture
def items(model: Model) -> ItemSet:
    return prepare(PAIRS, model.template(), model)


@pytest.fixture
def vectors(model: Model) -> dict[int, NDArray[np.float32]]:
    draw = np.random.default_rng(0).standard_normal
    return {layer: draw((2, model.d_model)).astype(np.float32) for layer in range(LAYERS)}


def test_a_sweep_is_every_vector_layer_and_multiplier(
    model: Model, items: ItemSet, vectors: dict[int, NDArray[np.float32]]
) -> None:
    told: list[tuple[int, int]] = []
    del vectors[1]
    found = sweep(model, vectors, items, [-1, 0, 2], progress=lambda done, total: told.append((done, total)))
    assert found.shape == (2, 2, 3, len(PAIRS), 2)
    propensity = propensity_of(found[..., 0], found[..., 1])
    unsteered = score(model, items)
    for vector, (place, layer), step in itertools.product(range(2), enumerate((0, 2)), range(3)):
        got = propensity[vector, place, step]
        if step == 1:
            np.testing.assert_allclose(got, unsteered, atol=1e-6)
            np.testing.assert_array_equal(got, propensity[0, 0, 1])
        else:
            with steering(model, [Addition(layer, vectors[layer][vector], [-1, 0, 2][step])]):
                np.testing.assert_allclose(got, score(model, items), atol=1e-6)
            assert np.abs(got - unsteered).max() > 1e-4
    assert told[0][0] == 0 and told[-1][0] == told[-1][1] and told == sorted(told)
    assert len({total for _, total in told}) == 1
    np.testing.assert_array_equal(score(model, items), unsteered)


def test_positions_are_passed_on(model: Model, items: ItemSet, vectors: dict[int, NDArray[np.float32]]) -> None:
    found = {p: sweep(model, {1: vectors[1]}, items, [3], p) for p in ("all", "after_prompt", "last")}  # type: ignore[arg-type]
    assert len({values.tobytes() for values in found.values()}) == 3


def test_multiplier_0_alone_runs_no_vector(
    model: Model, items: ItemSet, vectors: dict[int, NDArray[np.float32]]
) -> None:
    told: list[tuple[int, int]] = []
    found = sweep(model, vectors, items, [0.0], progress=lambda done, total: told.append((done, total)))
    assert told[0][0] == 0 and told[-1][0] == told[-1][1] > 0
    np.testing.assert_allclose(
        propensity_of(found[0, 1, 0, :, 0], found[0, 1, 0, :, 1]), score(model, items), atol=1e-6
    )


def test_parts_that_were_kept_are_taken_over(
    model: Model, items: ItemSet, vectors: dict[int, NDArray[np.float32]]
) -> None:
    parts: list[Part] = []
    found = sweep(model, vectors, items, [-1, 0, 2], keep=parts.append)
    again: list[Part] = []
    told: list[tuple[int, int]] = []
    half = sweep(
        model, vectors, items, [-1, 0, 2], progress=lambda *at: told.append(at), kept=parts[:2], keep=again.append
    )
    np.testing.assert_allclose(half, found, atol=1e-5)
    # Whatever is computed together, nothing that was kept is computed again.
    places = [place for part in [*parts[:2], *again] for place in part.places]
    assert sorted(places, key=str) == sorted((place for part in parts for place in part.places), key=str)
    # What was kept counts as done from the first.
    assert 0 < told[0][0] < told[0][1] == told[-1][0] == told[-1][1]


def test_a_layer_that_is_missing_is_refused(
    model: Model, items: ItemSet, vectors: dict[int, NDArray[np.float32]]
) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        sweep(model, {LAYERS: vectors[0]}, items, [0, 1])
