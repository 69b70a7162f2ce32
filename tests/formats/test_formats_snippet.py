"""The code that applies a vector without the package steers as the package does, at the same layer and positions.

Its half for transformers is compared in ``scripts/check_formats.py --environment``, where torch is.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import make_prompt_cache
from support.tiny_models import WIDTH, TinyModels

from caa_registry.formats.card import Card
from caa_registry.formats.format import FORMATS
from caa_registry.models.model import Model
from caa_registry.steering.additions import Addition, steering
from caa_registry.vectors import LayerVector, VectorSet

IDS = [5, 60, 70, 80, 90, 100]
ROWS = np.random.default_rng(0).standard_normal((2, WIDTH)).astype(np.float32) * 6
VECTORS = VectorSet.of([LayerVector(1, ROWS[0]), LayerVector(2, ROWS[1])])
# In the last, a wrapper that is put into the list of layers does nothing.
SNIPPET_FAMILIES = ("llama", "gpt2", "qwen3_moe")


def snippet(card: Card | None = None) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(FORMATS["snippet"].write(VECTORS, card or Card()), "snippet.py", "exec"), names)
    return names


def tokens(model: Model) -> list[tuple[int, float]]:
    """Tokens that mlx-lm writes, each with the log-probability of the first word of the vocabulary."""
    return [(token, float(values[0])) for token, values in generate_step(mx.array(IDS), model.network, max_tokens=6)]


def logits(model: Model) -> np.ndarray:
    cache = make_prompt_cache(model.network)
    return np.array(model.network(mx.array([IDS]), cache=cache)[0].astype(mx.float32))


@pytest.mark.parametrize("family", SNIPPET_FAMILIES)
def test_a_prompt_steered_at_one_layer_gives_the_packages_logits(family: str, tiny: TinyModels) -> None:
    model, code = tiny(family), snippet()
    plain = logits(model)
    for layer in (1, 2):
        with steering(model, [Addition(layer, 1.5 * VECTORS[layer].values)], "all"), model.stream.prompt(len(IDS) - 1):
            wanted = logits(model)
        with code["steer_mlx"](model.network, multiplier=1.5, layers=[layer], positions="all"):
            np.testing.assert_allclose(logits(model), wanted, atol=1e-4)
        assert np.abs(wanted - plain).max() > 1e-2
        np.testing.assert_array_equal(logits(model), plain)


@pytest.mark.parametrize("family", SNIPPET_FAMILIES)
def test_generation_is_steered_after_the_prompt(family: str, tiny: TinyModels) -> None:
    model, code = tiny(family), snippet()
    additions = [Addition(layer, VECTORS[layer].values) for layer in (1, 2)]
    with steering(model, additions, "after_prompt"), model.stream.prompt(len(IDS) - 1):
        wanted = tokens(model)
    with code["steer_mlx"](model.network):
        found = tokens(model)
    assert [token for token, _ in found] == [token for token, _ in wanted]
    np.testing.assert_allclose([value for _, value in found], [value for _, value in wanted], atol=1e-3)
    assert found != tokens(model)


def test_the_numbers_and_the_card_are_in_the_code() -> None:
    code = snippet(Card(reference='team/"quoted"\\\n@ENTRIES@:v1'))
    for vector in VECTORS.layers:
        np.testing.assert_array_equal(code["vector"](vector.layer), vector.values)
    assert "@ENTRIES@:v1" in code["CARD"] and VECTORS.tensor_digest in code["CARD"]


def test_an_exception_in_the_block_restores_the_network(tiny: TinyModels) -> None:
    model = tiny("llama")
    plain = logits(model)
    with pytest.raises(RuntimeError), snippet()["steer_mlx"](model.network, positions="all"):
        raise RuntimeError
    np.testing.assert_array_equal(logits(model), plain)
