"""The file of measurements: it comes back as it was, and what earlier releases wrote is still read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save

from caa_registry.digests import canonical_json
from caa_registry.errors import IntegrityError
from caa_registry.evaluation.measurements import Measurements, Null, Observed, from_bytes, to_bytes
from caa_registry.evaluation.propensity import BEYOND_LETTERS, propensity_of
from caa_registry.evaluation.statistics import figures

MULTIPLIERS = (-0.1, 0.0, 1e-7)
DRAWS, LAYERS, ITEMS = 20, 2, 6


def log_p(seed: int, *shape: int) -> NDArray[np.float64]:
    return np.log(np.random.default_rng(seed).random((*shape, 2)) / 2)


def some() -> Measurements:
    observed = {
        name: Observed((0, 2, 5, 6, 8, 9), ("A", "C", "B", "A", "B", "A"), log_p(seed, 2, 3, ITEMS), (0, 1, 2, 0, 3, 4))
        for seed, name in enumerate(("vector", "few-shot"))
    }
    observed["vector"].log_p[:, :, 1] = BEYOND_LETTERS
    kl = np.random.default_rng(8).random((2, 3, ITEMS))
    tokens = 1 + np.arange(2 * ITEMS).reshape(ITEMS, 2)
    observed["vector"] = replace(observed["vector"], kl=kl, answers_first=kl > 0.5, tokens=tokens)
    nulls = {
        name: Null(*np.random.default_rng(7).random((2, DRAWS, LAYERS, 2)), MULTIPLIERS[::2], (1.0, 1 / 3))
        for name in ("covariance", "shuffled")
    }
    return Measurements("propensity", (0, 7), MULTIPLIERS, observed, nulls)


def as_earlier() -> bytes:
    """As the release before wrote it: controls of 20 vectors at every multiplier, and no clusters."""
    vector, control = log_p(0, LAYERS, 3, ITEMS), log_p(1, DRAWS, LAYERS, 3, ITEMS)
    tensors = {"observed.vector": vector}
    for name in ("random", "shuffled"):
        tensors[f"control.{name}.propensity"] = propensity_of(control[..., 0], control[..., 1]).mean(axis=-1)
        tensors[f"control.{name}.log_odds"] = (control[..., 0] - control[..., 1]).mean(axis=-1)
    metadata: dict[str, Any] = {
        "metric": "propensity",
        "layers": [0, 7],
        "multipliers": [repr(multiplier) for multiplier in MULTIPLIERS],
        "observed": [{"condition": "vector", "rows": list(range(ITEMS)), "letters": list("ABABAB")}],
        "controls": ["random", "shuffled"],
    }
    return bytes(save(tensors, {"caa_measurements": canonical_json(metadata)}))


def test_measurements_come_back_as_they_were() -> None:
    found = some()
    data = to_bytes(found)
    assert data == to_bytes(found)
    back = from_bytes(data)
    assert (back.metric, back.layers, back.multipliers) == (found.metric, found.layers, found.multipliers)
    assert list(back.observed) == list(found.observed) and list(back.nulls) == list(found.nulls)
    for name, one in found.observed.items():
        own = back.observed[name]
        assert (own.rows, own.letters, own.clusters) == (one.rows, one.letters, one.clusters)
        np.testing.assert_array_equal(own.log_p, one.log_p)
        for is_there, was_there in (
            (own.kl, one.kl),
            (own.answers_first, one.answers_first),
            (own.tokens, one.tokens),
        ):
            assert (is_there is None) == (was_there is None) == (name == "few-shot")
            if is_there is not None and was_there is not None:
                assert is_there.dtype == was_there.dtype
                np.testing.assert_array_equal(is_there, was_there)
    for name, null in found.nulls.items():
        np.testing.assert_array_equal(back.nulls[name].propensity, null.propensity)
        np.testing.assert_array_equal(back.nulls[name].log_odds, null.log_odds)
        assert (back.nulls[name].multipliers, back.nulls[name].lengths) == (null.multipliers, null.lengths)
    assert to_bytes(back) == data
    assert figures(back) == figures(found)


def test_without_nulls_they_come_back_too() -> None:
    found = some()
    back = from_bytes(to_bytes(Measurements("propensity", (0, 7), MULTIPLIERS, found.observed)))
    assert back.nulls == {} and list(back.observed) == list(found.observed)


def test_what_the_release_before_wrote_is_read() -> None:
    found = from_bytes(as_earlier())
    assert found.vector.clusters == tuple(range(ITEMS)) and found.vector.letters == tuple("ABABAB")
    np.testing.assert_array_equal(found.vector.log_p, log_p(0, LAYERS, 3, ITEMS))
    assert list(found.nulls) == ["random", "shuffled"]
    for null in found.nulls.values():
        assert null.propensity.shape == null.log_odds.shape == (DRAWS, LAYERS, 3)
        assert (null.multipliers, null.lengths) == (MULTIPLIERS, (1.0, 1.0))
    by_metric = {(f.condition, f.layer, f.metric): f.interval for f in figures(found) if f.multiplier is None}
    slope, p = by_metric["random", 7, "steerability"], by_metric["random", 7, "p_steerability"]
    null = found.nulls["random"]
    spread = (null.log_odds[:, 1, 2] - null.log_odds[:, 1, 0]) / (MULTIPLIERS[2] - MULTIPLIERS[0])
    assert (slope.value, slope.low, slope.n) == (pytest.approx(spread.mean()), None, DRAWS)
    assert 1 / 21 <= p.value <= 1 and p.n <= DRAWS
    # Written again it is in the form of now, and says the same.
    assert figures(from_bytes(to_bytes(found))) == figures(found)


def test_what_is_missing_or_something_else_is_refused() -> None:
    whole = to_bytes(some())
    for data in (b"", b"12345678", b"\xff" * 64, whole[:-8], as_earlier()[:-8]):
        with pytest.raises(IntegrityError, match="measurements of an evaluation cannot be read"):
            from_bytes(data)


@pytest.mark.parametrize("lacking", ["metric", "layers", "multipliers", "observed"])
def test_a_file_that_lacks_something_is_refused(lacking: str) -> None:
    whole = to_bytes(some())
    header = json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])
    metadata = json.loads(header["__metadata__"]["caa_measurements"])
    del metadata[lacking]
    data = save({"x": np.zeros(1)}, {"caa_measurements": canonical_json(metadata)})
    with pytest.raises(IntegrityError, match="measurements of an evaluation cannot be read"):
        from_bytes(bytes(data))
