"""Steering: what is added, exactly where, and that nothing else changes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import make_prompt_cache
from numpy.typing import NDArray
from support.computed import mean_difference
from support.tiny_models import CHAT, FAMILIES, LAYERS, WIDTH, TinyModels

from caa_registry.errors import ModelMismatchError, UsageError
from caa_registry.extraction.reading import encode_pairs
from caa_registry.models.model import Model
from caa_registry.models.stream import Positions
from caa_registry.steering.additions import Addition, steering
from caa_registry.steering.positions import STEERED_POSITIONS

PROMPT = "Is the sky blue?"
IDS = [5, 60, 70, 80, 90, 100, 110, 120, 130, 140]
END = 6

# Which positions of IDS are steered when the prompt ends at END.
STEERED = {
    "after_prompt": [6, 7, 8, 9],
    "all": list(range(10)),
    "generated": [7, 8, 9],
    "last": [6],
}


def vector(seed: int = 0, length: float = 4.0) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).standard_normal(WIDTH)
    return np.asarray(drawn * length / np.linalg.norm(drawn), dtype=np.float32)


def logits(model: Model, ids: Sequence[int] = IDS, end: int = END) -> NDArray[np.float32]:
    with model.rows([ids], [end]) as (tokens, cache):
        return np.array(model.network(tokens, cache=cache)[0].astype(mx.float32))


def streams(model: Model, ids: Sequence[int] = IDS, end: int = END) -> NDArray[np.float32]:
    """What a tap after the steering sees: ``(layers, tokens, d_model)``."""
    seen: list[mx.array] = []

    def look(layer: int, hidden: mx.array, positions: Positions) -> mx.array:
        seen.append(hidden)
        return hidden

    with model.stream.tapped(look):
        logits(model, ids, end)
    return np.array(mx.concatenate(seen).astype(mx.float32))


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_added_changes_no_bit_and_something_changes_something(family: str, tiny: TinyModels) -> None:
    """The canary: a steering that silently does nothing cannot pass."""
    model = tiny(family)
    plain = logits(model)
    for layer, positions in itertools.product(range(LAYERS), STEERED_POSITIONS):
        for nothing in (Addition(layer, vector(), 0.0), Addition(layer, vector() * 0)):
            with steering(model, [nothing], positions):
                np.testing.assert_array_equal(logits(model), plain)
        with steering(model, [Addition(layer, vector())], positions):
            assert np.abs(logits(model) - plain).max() > 1e-2
    with steering(model, []):
        np.testing.assert_array_equal(logits(model), plain)
    np.testing.assert_array_equal(logits(model), plain)


@pytest.mark.parametrize("positions", STEERED_POSITIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_exactly_the_named_positions_are_steered(family: str, positions: Any, tiny: TinyModels) -> None:
    model = tiny(family)
    plain, plain_logits = streams(model), logits(model)
    steered = STEERED[positions]
    others = [p for p in range(len(IDS)) if p not in steered]
    for layer in range(LAYERS):
        with steering(model, [Addition(layer, vector(), 1.5)], positions):
            found, found_logits = streams(model), logits(model)
        # In the stream of that layer the vector stands there and nowhere else.
        np.testing.assert_allclose(
            found[layer, steered] - plain[layer, steered], [1.5 * vector()] * len(steered), atol=1e-4
        )
        np.testing.assert_array_equal(found[layer, others], plain[layer, others])
        np.testing.assert_array_equal(found[:layer], plain[:layer])
        # Nothing before the first steered token changes a bit; that token does.
        first = steered[0]
        np.testing.assert_array_equal(found[:, :first], plain[:, :first])
        np.testing.assert_array_equal(found_logits[:first], plain_logits[:first])
        assert np.abs(found_logits[first] - plain_logits[first]).max() > 1e-3


def test_the_first_generated_token_is_steered_by_after_prompt_and_not_by_generated(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    plain = [token.probability for token in model.next_tokens(PROMPT, top=374)]

    def steered(positions: Any) -> list[float]:
        with steering(model, [Addition(1, vector())], positions):
            return [token.probability for token in model.next_tokens(PROMPT, top=374)]

    assert steered("generated") == plain
    for positions in ("after_prompt", "last", "all"):
        assert steered(positions) != plain
    assert steered("after_prompt") == steered("last") != steered("all")


def test_rows_of_a_batch_have_their_own_prompt_ends(tiny: TinyModels) -> None:
    model = tiny("llama")
    rows, ends = [IDS, IDS[:5], IDS[:8]], [6, 1, 3]
    with steering(model, [Addition(1, vector())]):
        with model.rows(rows, ends) as (tokens, cache):
            together = np.array(model.network(tokens, cache=cache))
        for i, (ids, end) in enumerate(zip(rows, ends, strict=True)):
            np.testing.assert_allclose(together[i, : len(ids)], logits(model, ids, end), atol=1e-4)


@pytest.mark.parametrize("positions", STEERED_POSITIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_cached_generation_is_uncached_generation(family: str, positions: Any, tiny: TinyModels) -> None:
    model = tiny(family, chat=CHAT)
    plain = model.generate(PROMPT, max_tokens=10)
    texts = set()
    for seed in range(3):
        with steering(model, [Addition(1, vector(seed, 60.0))], positions):
            cached = model.generate(PROMPT, max_tokens=10)
            assert cached == model.generate(PROMPT, max_tokens=10, cache=False)
        texts.add(cached)
    assert texts != {plain}
    assert model.generate(PROMPT, max_tokens=10) == plain


@pytest.mark.parametrize("positions", STEERED_POSITIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_size_of_prefill_steps_does_not_show(family: str, positions: Any, tiny: TinyModels) -> None:
    model = tiny(family)
    with steering(model, [Addition(1, vector(1, 60.0))], positions), model.stream.prompt(END):
        runs = [
            [token for token, _ in generate_step(mx.array(IDS), model.network, max_tokens=8, prefill_step_size=size)]
            for size in (1, 3, 2048)
        ]
        ids = list(IDS)
        for _ in range(8):
            ids.append(int(mx.argmax(model.network(mx.array([ids]), cache=make_prompt_cache(model.network))[0, -1])))
    assert runs[0] == runs[1] == runs[2] == ids[len(IDS) :]


def test_additions_are_summed_once_each(tiny: TinyModels) -> None:
    model = tiny("llama")
    one, other = vector(1), vector(2)
    plain = streams(model)

    def added(*additions: Addition) -> NDArray[np.float32]:
        with steering(model, additions, "all"):
            return streams(model)

    np.testing.assert_allclose(
        added(Addition(0, one, 2.0), Addition(0, other, -1.0))[0] - plain[0],
        [2 * one - other] * len(IDS),
        atol=1e-4,
    )
    np.testing.assert_allclose(added(Addition(0, one), Addition(0, one))[0], plain[0] + 2 * one, atol=1e-4)
    # At two layers: each layer's own, once, on top of what the lower one brought about.
    both, lower = added(Addition(0, one), Addition(2, other)), added(Addition(0, one))
    np.testing.assert_array_equal(both[:2], lower[:2])
    np.testing.assert_allclose(both[2] - lower[2], [other] * len(IDS), atol=1e-4)


@settings(deadline=None, max_examples=15)
@given(order=st.permutations(range(5)))
def test_the_order_of_additions_does_not_show(order: list[int]) -> None:
    model = MODELS["llama"]
    additions = [Addition(i % 2, vector(i), 10.0 ** (i - 2)) for i in range(5)]
    with steering(model, additions):
        wanted = logits(model)
    with steering(model, [additions[i] for i in order]):
        np.testing.assert_array_equal(logits(model), wanted)


MODELS: dict[str, Model] = {}


@pytest.fixture(autouse=True)
def _models(tiny: TinyModels) -> None:
    # Hypothesis does not take fixtures that last a session and its own arguments together.
    MODELS["llama"] = tiny("llama")


def test_nested_contexts_sum_and_end_one_by_one(tiny: TinyModels) -> None:
    model = tiny("llama")
    plain = logits(model)
    with steering(model, [Addition(1, vector(1))]):
        outer = logits(model)
        with steering(model, [Addition(1, vector(2))], "all"):
            assert not np.array_equal(logits(model), outer)
        np.testing.assert_array_equal(logits(model), outer)
        with steering(model, [Addition(1, vector(1), -1.0)]):
            np.testing.assert_allclose(logits(model), plain, atol=1e-4)
    np.testing.assert_array_equal(logits(model), plain)


def test_an_exception_restores(tiny: TinyModels) -> None:
    model = tiny("llama")
    plain, classes = logits(model), [type(block) for block in model.network.layers]
    with pytest.raises(ZeroDivisionError), steering(model, [Addition(1, vector())]):
        logits(model)
        raise ZeroDivisionError
    np.testing.assert_array_equal(logits(model), plain)
    assert [type(block) for block in model.network.layers] == classes


@pytest.mark.parametrize("cache", [True, False])
def test_a_text_abandoned_half_way_restores(cache: bool, tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    plain, classes = model.generate(PROMPT, max_tokens=6), [type(block) for block in model.network.layers]
    with steering(model, [Addition(1, vector())]):
        text = model.stream_text(PROMPT, max_tokens=6, cache=cache)
        next(text)
    assert [type(block) for block in model.network.layers] == classes
    assert model.stream.prompt_end is None
    assert model.generate(PROMPT, max_tokens=6) == plain
    text.close()  # type: ignore[attr-defined]
    assert model.generate(PROMPT, max_tokens=6) == plain


def test_two_steered_texts_read_in_turns_keep_their_own_positions(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    prompts = (PROMPT, "I agree with you, it was a good day and a bad night.")
    with steering(model, [Addition(1, vector(1, 60.0))]):
        apart = [model.generate(prompt, max_tokens=6) for prompt in prompts]
        turns = itertools.zip_longest(*(model.stream_text(p, max_tokens=6) for p in prompts), fillvalue="")
        assert ["".join(pieces) for pieces in zip(*turns, strict=True)] == apart


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_float32_vector_does_not_widen_the_stream_or_its_cache(dtype: str, tiny: TinyModels) -> None:
    model = tiny("llama", dtype=dtype, compute=dtype)
    wanted = getattr(mx, dtype)
    seen: set[Any] = set()

    def look(layer: int, hidden: mx.array, positions: Positions) -> mx.array:
        seen.add(hidden.dtype)
        return hidden

    cache = make_prompt_cache(model.network)
    for positions in STEERED_POSITIONS:
        with steering(model, [Addition(0, vector())], positions), model.stream.tapped(look), model.stream.prompt(END):
            out = model.network(mx.array([IDS]), cache=cache)
    assert seen == {wanted}
    assert out.dtype == wanted
    assert {entry.keys.dtype for entry in cache} | {entry.values.dtype for entry in cache} == {wanted}


@pytest.mark.parametrize("bits", [4, 8])
def test_quantized_models_are_steered(bits: int, tiny: TinyModels) -> None:
    model = tiny("llama", bits=bits, chat=CHAT)
    plain = logits(model)
    with steering(model, [Addition(1, vector(), 0.0)]):
        np.testing.assert_array_equal(logits(model), plain)
    with steering(model, [Addition(1, vector(1, 60.0))]):
        assert np.abs(logits(model) - plain).max() > 1e-2
        text = model.generate(PROMPT, max_tokens=8)
        assert text == model.generate(PROMPT, max_tokens=8, cache=False)


def test_steering_one_model_leaves_another_alone(tiny: TinyModels) -> None:
    one, other = tiny("llama"), tiny("llama", seed=1)
    plain = logits(other)
    with steering(one, [Addition(1, vector())]):
        np.testing.assert_array_equal(logits(other), plain)
        with steering(other, [Addition(1, vector(), 0.0)]):
            np.testing.assert_array_equal(logits(other), plain)


def test_no_cache_outlives_its_call(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache made without steering would carry the unsteered past into a steered text."""
    model = tiny("llama", chat=CHAT)
    addition = [Addition(1, vector(1, 60.0))]
    with steering(model, addition, "all"):
        first = model.generate(PROMPT, max_tokens=6)
    model.generate(PROMPT, max_tokens=6)
    model.next_tokens(PROMPT)
    with steering(model, addition, "all"):
        assert model.generate(PROMPT, max_tokens=6) == first


def test_a_vector_that_was_extracted_moves_the_stream_along_itself(demo: Model) -> None:
    from caa_registry.pairs.record import Pair

    pairs = [Pair("How is it?", "good", "bad"), Pair("And the day?", "good", "bad")]
    kept, _ = encode_pairs(pairs, demo.template(), demo)
    vectors = mean_difference(demo, kept, range(demo.n_layers), "last")
    layer = demo.n_layers // 2
    plain = demo.next_tokens("How is it?", top=5)
    with steering(demo, [Addition(layer, vectors[layer].values, 0.0)]):
        assert demo.next_tokens("How is it?", top=5) == plain
    for multiplier in (-1.0, 1.0):
        with steering(demo, [Addition(layer, vectors[layer].values, multiplier)]):
            assert demo.next_tokens("How is it?", top=5) != plain
            text = demo.generate("How is it?", max_tokens=8)
            assert text == demo.generate("How is it?", max_tokens=8, cache=False)


@pytest.mark.parametrize(
    ("addition", "error", "says"),
    [
        (Addition(LAYERS, vector()), UsageError, "layer 3 does not exist"),
        (Addition(-1, vector()), UsageError, "layer -1 does not exist"),
        (Addition(0, vector()[:-1]), ModelMismatchError, r"\(63,\)"),
        (Addition(0, vector()[None]), ModelMismatchError, r"\(1, 64\)"),
        (Addition(0, np.float32(1)), ModelMismatchError, r"\(\)"),  # type: ignore[arg-type]
        (Addition(0, vector() * np.float32(np.nan)), UsageError, "not finite"),
        (Addition(0, vector(), float("nan")), UsageError, "not a finite number"),
        (Addition(0, vector(), float("inf")), UsageError, "not a finite number"),
        (Addition(0, vector(), 1e39), UsageError, "beyond what float32 holds"),
    ],
)
def test_what_cannot_be_added_is_refused(
    addition: Addition, error: type[Exception], says: str, tiny: TinyModels
) -> None:
    model = tiny("llama")
    classes = [type(block) for block in model.network.layers]
    with pytest.raises(error, match=says), steering(model, [addition]):
        pass
    assert [type(block) for block in model.network.layers] == classes


def test_positions_that_need_the_prompt_refuse_to_guess_it(tiny: TinyModels) -> None:
    model = tiny("llama")
    with pytest.raises(UsageError, match="there are no positions"), steering(model, [], "first"):  # type: ignore[arg-type]
        pass
    for positions in ("after_prompt", "generated", "last"):
        with steering(model, [Addition(1, vector())], positions), pytest.raises(UsageError, match="where the prompt"):  # type: ignore[arg-type]
            model.network(mx.array([IDS]))
    with steering(model, [Addition(1, vector())], "all"):
        model.network(mx.array([IDS]))
