"""Repetition and perplexity of a text."""

from __future__ import annotations

import itertools
import math

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_models import CHAT, FAMILIES, TinyModels

from caa_registry.errors import ModelError, UsageError
from caa_registry.evaluation.open_ended.coherence import Repetition, distinct, longest_run, repetition
from caa_registry.evaluation.open_ended.generation import responses
from caa_registry.evaluation.open_ended.perplexity import Continuation, mean_log_probabilities, perplexity
from caa_registry.steering.additions import Addition, steering

TOKENS = st.lists(st.integers(0, 4), max_size=24)


def test_a_text_with_known_numbers() -> None:
    # 4-grams: abca bcab cabc abca bcab cabd: four of six are new.
    assert repetition("abcabcabd") == Repetition(9, 4 / 9, 4 / 8, 4 / 7, pytest.approx(2 / 6), 8)
    assert repetition(["to", "be", "or", "not", "to", "be"]) == Repetition(6, 4 / 6, 4 / 5, 1.0, 0.0, 0)
    assert repetition([]) == Repetition(0, None, None, None, None, 0)
    assert repetition([5]) == Repetition(1, 1.0, None, None, None, 0)


@given(TOKENS)
def test_shares_are_shares(tokens: list[int]) -> None:
    found = repetition(tokens)
    assert found.n_tokens == len(tokens)
    for n, share in ((1, found.distinct_1), (2, found.distinct_2), (3, found.distinct_3), (4, found.repeated_4)):
        assert (share is None) == (len(tokens) < n)
        assert share is None or 0 <= share <= 1
    assert found.distinct_1 is None or found.distinct_1 == len(set(tokens)) / len(tokens)
    # An n-gram that stood before has its beginning stand before too.
    shares = [share for share in (found.distinct_1, found.distinct_2, found.distinct_3) if share is not None]
    counts = [round(share * (len(tokens) - i)) for i, share in enumerate(shares)]
    assert all(later >= earlier - 1 for earlier, later in itertools.pairwise(counts))


@given(TOKENS, st.permutations(range(5)))
def test_which_tokens_they_are_does_not_matter(tokens: list[int], names: list[int]) -> None:
    assert repetition([names[token] for token in tokens]) == repetition(tokens)
    assert repetition([str(token) for token in tokens]) == repetition(tokens)


@given(TOKENS)
def test_the_longest_run_is_what_looking_at_every_stretch_finds(tokens: list[int]) -> None:
    wanted = 0
    for start in range(len(tokens)):
        for stop in range(start + 2, len(tokens) + 1):
            part = tokens[start:stop]
            if any(part[period:] == part[:-period] for period in range(1, len(part) // 2 + 1)):
                wanted = max(wanted, len(part))
    assert longest_run(tokens) == longest_run(tokens[::-1]) == wanted


@given(TOKENS, st.lists(st.integers(0, 4), min_size=1, max_size=5), st.integers(2, 5))
def test_a_block_said_again_and_again_is_a_run(before: list[int], block: list[int], times: int) -> None:
    assert longest_run(before + block * times) >= len(block) * times
    assert longest_run(before + block * times) <= longest_run(before + block * (times + 1))


@given(st.permutations(range(20)), st.integers(1, 4))
def test_a_text_that_repeats_nothing_is_all_distinct(tokens: list[int], n: int) -> None:
    assert distinct(tokens, n) == 1 and longest_run(tokens) == 0
    # Said twice, 17 of its 37 4-grams stood before.
    assert repetition(tokens + tokens).repeated_4 == pytest.approx(17 / 37)


def texts_for(model: object) -> list[Continuation]:
    draw = np.random.default_rng(0)
    ids = [tuple(int(i) for i in draw.integers(2, 300, size)) for size in (9, 1, 5, 4, 20, 2, 3, 7)]
    return [Continuation(prompt, text) for prompt, text in zip(ids[::2], ids[1::2], strict=True)]


@pytest.mark.parametrize("family", FAMILIES)
def test_mean_log_probabilities_are_those_of_one_token_after_the_other(family: str, tiny: TinyModels) -> None:
    model = tiny(family)
    found = mean_log_probabilities(model, [*texts_for(model), Continuation((5, 6), ())])
    assert found[-1] is None
    for text, mean in zip(texts_for(model), found, strict=False):
        ids = [*text.prompt, *text.ids]
        log_p = []
        for i in range(len(text.prompt), len(ids)):
            with model.rows([ids[:i]], [len(text.prompt) - 1]) as (tokens, cache):
                logits = np.array(model.network(tokens, cache=cache)[0, -1].astype(mx.float32), np.float64)
            log_p.append(logits[ids[i]] - np.log(np.exp(logits - logits.max()).sum()) - logits.max())
        assert mean == pytest.approx(np.mean(log_p), abs=1e-4)


def test_the_model_likes_its_own_words_best(tiny: TinyModels) -> None:
    """Text generated under steering is less likely to the unsteered model than its own greedy text."""
    model = tiny("llama", chat=CHAT)
    strange = np.random.default_rng(0).standard_normal(model.d_model).astype(np.float32) * 5
    (group,) = responses(model, ["Is it?"], {0.0: [], 1.0: [Addition(1, strange)]}, max_tokens=10)
    prompt = model.template().prompt("Is it?").ids
    own, steered = mean_log_probabilities(model, [Continuation(prompt, response.ids) for response in group])
    assert own is not None and steered is not None and steered < own < 0
    assert perplexity(steered) > perplexity(own) > 1


def test_no_texts_have_no_perplexity(tiny: TinyModels) -> None:
    model = tiny("llama")
    assert mean_log_probabilities(model, []) == [] and mean_log_probabilities(model, [Continuation((1,), ())]) == [None]


def test_a_steered_model_is_not_asked(tiny: TinyModels) -> None:
    model = tiny("llama")
    with steering(model, []), pytest.raises(UsageError, match="the model is steered"):
        mean_log_probabilities(model, texts_for(model))


def test_values_that_are_not_finite_are_an_error(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama", seed=9)
    norm = model.network.model.norm
    broken = norm.weight * math.nan
    mx.eval(broken)  # what is not evaluated belongs to this thread
    monkeypatch.setattr(norm, "weight", broken)
    with pytest.raises(ModelError, match="not finite"):
        mean_log_probabilities(model, texts_for(model))


def test_perplexity_is_the_exponential_of_the_cross_entropy() -> None:
    assert perplexity(0.0) == 1 and perplexity(-math.log(50)) == pytest.approx(50)
    assert perplexity(-1e6) == perplexity(-math.inf) == math.exp(700)
