"""Text and next tokens."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlx_lm.models.cache import KVCache
from support.tiny_models import CHAT, CONTEXT, FAMILIES, TinyModels

from caa_registry.engine.plan import batches
from caa_registry.errors import ModelError, UsageError
from caa_registry.models import generation
from caa_registry.models.generation import cache_of

PROMPT = "Is the sky blue?"


@pytest.mark.parametrize("family", FAMILIES)
def test_cached_text_is_the_uncached_text(family: str, tiny: TinyModels) -> None:
    model = tiny(family, chat=CHAT)
    text = model.generate(PROMPT, max_tokens=12)
    assert text
    assert text == model.generate(PROMPT, max_tokens=12, cache=False)
    assert text == "".join(model.stream_text(PROMPT, max_tokens=12))


@pytest.mark.parametrize("step", [256, 16])
def test_a_cache_has_room_for_the_text_and_grows_by_no_more_than_mlx_lms(
    step: int, tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama", chat=CHAT)
    caches: list[Any] = []

    def kept(network: Any, tokens: int) -> Any:
        caches.append(cache_of(network, tokens))
        return caches[0]

    monkeypatch.setattr(generation, "cache_of", kept)
    monkeypatch.setattr(KVCache, "step", step)
    assert next(iter(model.stream_text(PROMPT, max_tokens=40)))
    (cache,) = caches
    prompt = len(model.template().prompt(PROMPT).ids)
    wanted = prompt + 40 if step > prompt + 40 else -(-(prompt + 1) // step) * step
    assert {entry.keys.shape[2] for entry in cache} == {wanted}


@pytest.mark.parametrize("tokens", [1, 2, 7])
def test_nothing_is_computed_behind_the_last_token(
    tokens: int, tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama", chat=CHAT)
    network, run = type(model.network), []

    def counted(self: Any, ids: mx.array, *args: Any, original: Any = network.__call__, **others: Any) -> mx.array:
        run.append(ids.shape[1])
        result: mx.array = original(self, ids, *args, **others)
        return result

    monkeypatch.setattr(network, "__call__", counted)
    text = model.generate(PROMPT, max_tokens=tokens)
    assert sum(run) == len(model.template().prompt(PROMPT).ids) + tokens - 1
    assert text == model.generate(PROMPT, max_tokens=tokens, cache=False)


def test_a_seed_repeats_and_temperature_varies(tiny: TinyModels) -> None:
    model = tiny("llama")
    texts = [model.generate(PROMPT, max_tokens=12, temperature=1.0, seed=seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("family", ["llama", "mamba", "gemma3_text"])
def test_next_tokens_are_the_softmax_after_the_prompt(family: str, tiny: TinyModels) -> None:
    model = tiny(family, chat=CHAT)
    ids = model.template().prompt(PROMPT).ids
    logits = np.array(model.network(mx.array([ids])))[0, -1].astype(np.float64)
    wanted = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    found = model.next_tokens(PROMPT, top=5)
    assert [token.id for token in found] == np.argsort(-wanted)[:5].tolist()
    np.testing.assert_allclose([token.probability for token in found], np.sort(wanted)[::-1][:5], rtol=1e-4)
    assert [token.text for token in found] == [model.tokenizer.decode([token.id]) for token in found]
    everything = model.next_tokens(PROMPT, top=10_000)
    assert sum(token.probability for token in everything) == pytest.approx(1.0, abs=1e-5)


def test_a_prompt_of_one_token_has_a_next_token(tiny: TinyModels) -> None:
    assert len(tiny("llama").next_tokens("I", top=3)) == 3


def test_text_ends_with_the_context(tiny: TinyModels) -> None:
    model = tiny("gpt2")
    pieces = list(model.stream_text("I agree. " * 10, max_tokens=1000, temperature=1.0, seed=3))
    assert 0 < len(pieces) <= CONTEXT
    with pytest.raises(ModelError, match=f"reads at most {CONTEXT}"):
        model.generate("漢字" * CONTEXT)
    with pytest.raises(ModelError, match=f"reads at most {CONTEXT}"):
        model.next_tokens("漢字" * CONTEXT)


def test_nonsense_is_refused_before_anything_runs(tiny: TinyModels) -> None:
    model = tiny("llama")
    for options in ({"max_tokens": 0}, {"max_tokens": -1}, {"temperature": -1.0}, {"temperature": float("nan")}):
        with pytest.raises(UsageError):
            model.stream_text(PROMPT, **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        model.next_tokens(PROMPT, top=0)
    with pytest.raises(UsageError, match="empty"):
        model.generate(" ")


def test_two_texts_of_one_model_may_be_read_in_turns(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    one, other = "Is the sky blue?", "I agree with you, it was a good day and a bad night."
    apart = [model.generate(text, max_tokens=6) for text in (one, other)]
    turns = zip_longest(*(model.stream_text(text, max_tokens=6) for text in (one, other)), fillvalue="")
    assert ["".join(pieces) for pieces in zip(*turns, strict=True)] == apart
    assert model.stream.prompt_end is None


def test_an_abandoned_text_leaves_nothing(tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    text = model.stream_text(PROMPT, max_tokens=6)
    next(text)
    assert model.stream.prompt_end is None
    # Collected while another prompt is announced: that one stays.
    with model.stream.prompt(3):
        del text
        assert model.stream.prompt_end is not None


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(1, 400))
def test_batches_hold_everything_once_and_stay_small(lengths: list[int], tokens: int) -> None:
    found = list(batches(lengths, tokens))
    flat = [index for batch in found for index in batch]
    assert sorted(flat) == list(range(len(lengths)))
    assert [lengths[i] for i in flat] == sorted(lengths)
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= tokens
