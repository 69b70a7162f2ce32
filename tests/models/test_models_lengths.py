"""The longest text that fits: an upper estimate of what MLX takes, and what is said of longer ones."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np
import pytest
from support.tiny_models import CONTEXT

from caa_registry.engine import kernels
from caa_registry.engine.prefix_sharing import read_pairs
from caa_registry.engine.reading import PairTokens
from caa_registry.errors import InputError, ModelError
from caa_registry.evaluation.open_ended.generation import responses
from caa_registry.evaluation.propensity import prepare
from caa_registry.evaluation.side_effects.measure import tokenized
from caa_registry.evaluation.side_effects.neutral_text import NeutralText, Passage
from caa_registry.extraction.reading import encode_pairs
from caa_registry.models import lengths, memory
from caa_registry.models.lengths import Longest, longest
from caa_registry.models.rendering.prompts import CompletedTokens
from caa_registry.models.weights import weight_bytes
from caa_registry.pairs.record import Pair

if TYPE_CHECKING:
    from support.tiny_models import TinyModels

    from caa_registry.models.model import Model

SIZES = {
    "attention": {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 8},
    "wide": {"num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 16, "intermediate_size": 2048},
    "deep": {"num_hidden_layers": 12, "hidden_size": 256, "num_attention_heads": 2, "head_dim": 128},
}
LONG = Pair("so " * 60, "Yes", "No")
SHORT = Pair("Is it?", "Yes", "No")


def peak_of_a_pair(model: Model, tokens: int, shared: int) -> int:
    """The bytes that MLX holds at most above the weights while a pair of two ``tokens`` long sides is read."""
    draw = np.random.default_rng(0)
    head = tuple(draw.integers(3, 400, shared).tolist())

    def side() -> CompletedTokens:
        ids = (*head, *draw.integers(3, 400, tokens - shared).tolist())
        return CompletedTokens(ids=ids, prompt_end=shared - 1, start=shared, answer=tokens - 1)

    assert model.network is not None
    mx.clear_cache()
    before = mx.get_active_memory()
    pair = PairTokens(0, side(), side())
    assert len(list(read_pairs(model, [pair], range(model.n_layers), "last", memory=1 << 40))) == 1
    return mx.get_peak_memory() - before


def test_the_estimate_knows_the_pieces_that_the_kernels_work_in() -> None:
    assert lengths._PIECE == 4 * kernels._PIECE
    assert (lengths._SCORES, lengths._LEAST_QUERIES) == (kernels._SCORES, kernels._LEAST_QUERIES)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("dtype", "tokens"),
    [*(("float32", tokens) for tokens in (60, 250, 500, 1000, 2000)), ("bfloat16", 250), ("bfloat16", 500)],
)
def test_a_pair_takes_at_most_what_is_estimated_and_not_much_less(
    size: str, dtype: str, tokens: int, tiny: TinyModels
) -> None:
    model = tiny("llama", compute=dtype, max_position_embeddings=4096, **SIZES[size])
    needed = model.shapes.needed(2, tokens)
    for shared in (1, tokens - 2):
        taken = peak_of_a_pair(model, tokens, shared)
        assert taken <= needed <= 2.5 * taken, f"{taken / 1e6:.1f} MB of {needed / 1e6:.1f}"


@pytest.mark.parametrize("family", ["gpt2", "gemma3_text", "mamba", "qwen3_moe", "gemma4_text"])
def test_other_architectures_take_at_most_that_too(family: str, tiny: TinyModels) -> None:
    model = tiny(family)
    assert peak_of_a_pair(model, CONTEXT, 1) <= model.shapes.needed(2, CONTEXT)


def test_the_lesser_limit_counts() -> None:
    assert longest("m", 100, 1000, lambda tokens: 10 * tokens) == Longest("m", 100, "context", 1000)
    assert longest("m", 101, 1000, lambda tokens: 10 * tokens) == Longest("m", 100, "memory", 1000)
    assert longest("m", None, 1000, lambda tokens: 10 * tokens).tokens == 100
    unlimited = longest("m", None, 1000, lambda tokens: 0)
    assert unlimited.tokens is None and unlimited.holds(1 << 40)
    assert longest("m", 100, 0, lambda tokens: 1 + tokens).tokens == 0


def test_memory_is_what_is_set_or_all_that_is_free_beside_the_weights(
    tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama", seed=7)
    weights = weight_bytes(model.unread)
    monkeypatch.setattr(memory, "free_memory", lambda: 1000 + weights)
    assert model.longest().memory == 1000, "the weights are still to be read"
    assert model.network is not None
    assert model.longest().memory == 1000 + weights
    monkeypatch.setenv("CAA_MEMORY", "5kB")
    assert model.longest().memory == 5000
    monkeypatch.delenv("CAA_MEMORY")
    monkeypatch.setattr(memory, "free_memory", lambda: 1 << 34)
    assert (model.longest().tokens, model.longest().limit) == (CONTEXT, "context")


@pytest.fixture
def little(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model whose texts may have 40 tokens, for memory."""
    model = tiny("llama")
    monkeypatch.setenv("CAA_MEMORY", str(model.shapes.needed(2, 40)))
    assert model.longest().tokens == 40 and model.longest().limit == "memory"
    return model


def test_what_memory_does_not_hold_is_left_out(little: Model, caplog: pytest.LogCaptureFixture) -> None:
    template = little.template()
    assert encode_pairs([SHORT, LONG], template, little)[1] == [1]
    with caplog.at_level(logging.WARNING):
        assert prepare([SHORT, LONG], template, little).too_long == 1
        passages = NeutralText("t", (Passage("1", SHORT.prompt), Passage("2", LONG.prompt)))
        assert tokenized(little, passages).too_long == ("2",)
    assert "1 of 2 questions are left out, longer than the 40 tokens that fit into memory (0.0 GB" in caplog.text
    assert "1 of 2 passages are left out, longer than the " in caplog.text and "that memory holds" in caplog.text
    with pytest.raises(InputError, match="longer than the 40 tokens that fit into memory"):
        prepare([LONG], template, little)


def test_a_prompt_that_memory_does_not_hold_is_refused(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama")
    monkeypatch.setenv("CAA_MEMORY", str(model.shapes.needed(1, 32, 40, in_steps=False)))
    assert model.generate(SHORT.prompt, max_tokens=2) is not None
    for work in (
        lambda: model.generate("so " * 20),
        lambda: model.next_tokens("so " * 20),
        lambda: list(responses(model, ["so " * 20], {0.0: []})),
    ):
        with pytest.raises(
            ModelError, match=r"the prompt has \d+ tokens, more than the 40 tokens that fit into memory"
        ):
            work()


def test_pieces_give_the_same_next_tokens(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama")
    whole = model.next_tokens("so " * 20)
    monkeypatch.setenv("CAA_MEMORY", str(model.shapes.needed(1, 32, CONTEXT, in_steps=False)))
    assert model.piece(CONTEXT) == 32
    pieces = model.next_tokens("so " * 20)
    assert [token.id for token in pieces] == [token.id for token in whole]
    assert [token.probability for token in pieces] == pytest.approx([token.probability for token in whole], rel=1e-4)
