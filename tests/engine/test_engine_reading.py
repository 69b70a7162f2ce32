"""Activations and the mean difference, against a loop that reads one text at a time from the plain network."""

from __future__ import annotations

import copy
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_map
from numpy.typing import NDArray
from support.computed import mean_difference
from support.plain_forward import hidden_states, llama_states
from support.tiny_models import CHAT, CONTEXT, FAMILIES, LAYERS, WIDTH, TinyModels

from caa_registry.engine.reading import read_activations
from caa_registry.errors import InputError, ModelError, UsageError
from caa_registry.extraction.reading import default_read, encode_pairs
from caa_registry.models.model import Model
from caa_registry.models.read_position import READ_POSITIONS
from caa_registry.models.rendering.prompts import CompletedTokens
from caa_registry.models.stream import ResidualStream
from caa_registry.pairs.record import Pair

QUESTION = "Would you like a donut now?\n\nChoices:\n (A) Yes\n (B) No"
LETTERS = [
    Pair(QUESTION, "(A)", "(B)"),
    Pair("Is it?\n (A) No\n (B) Yes", "(B)", "(A)"),
    Pair(QUESTION * 2, "(A)", "(B)", system="Be kind."),
]
FREE = [
    Pair("What do you think?", "I agree with you.", "No, it was a bad night, I do not agree."),
    Pair("", "It was a good day.", "It was bad."),
    Pair("And now?", "Yes", "It is not a good answer."),
]
ALL = list(range(LAYERS))
TOLERANCE = {"rtol": 1e-5, "atol": 1e-4}  # values are of order 10; an optimized BLAS rounds by the shape of a batch


def read_of(states: NDArray[np.float32], tokens: CompletedTokens, read: str) -> NDArray[np.float64]:
    values = states.astype(np.float64)
    if read == "answer":
        return np.asarray(values[:, tokens.answer])
    if read == "last":
        return np.asarray(values[:, len(tokens.ids) - 1])
    return np.asarray(values[:, tokens.start :].mean(axis=1))


def by_hand(model: Model, pairs: list[Pair], read: str, states: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean difference ``(layers, d_model)`` and mean norm ``(layers,)``, a pair at a time."""
    template = model.template()
    differences, norms = [], []
    for pair in pairs:
        sides = []
        for completion in (pair.positive, pair.negative):
            tokens = template.complete(pair.prompt, completion, pair.system)
            sides.append(read_of(states(model.network, tokens.ids), tokens, read))
        differences.append(sides[0] - sides[1])
        norms.extend(np.linalg.norm(side, axis=1) for side in sides)
    return np.mean(differences, axis=0), np.mean(norms, axis=0)


@pytest.mark.parametrize("read", READ_POSITIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_mean_difference_is_the_plain_loop(family: str, read: Any, tiny: TinyModels) -> None:
    model = tiny(family, chat=CHAT)
    for pairs in (LETTERS, FREE):
        wanted, norms = by_hand(model, pairs, read, hidden_states)
        kept, too_long = encode_pairs(pairs, model.template(), model)
        assert too_long == []
        found = mean_difference(model, kept, ALL, read)
        np.testing.assert_allclose(np.stack([v.values for v in found.layers]), wanted, **TOLERANCE)
        np.testing.assert_allclose([v.residual_norm for v in found.layers], norms, rtol=1e-5)
        assert all(v.values.dtype == np.float32 for v in found.layers)


def test_the_yardstick_is_the_forward_written_out(tiny: TinyModels) -> None:
    model = tiny("llama")
    ids = [5, 60, 70, 80, 90]
    np.testing.assert_allclose(hidden_states(model.network, ids), llama_states(model.network, ids), **TOLERANCE)


@pytest.mark.parametrize("read", READ_POSITIONS)
def test_mean_difference_of_a_llama_is_the_forward_written_out(read: Any, tiny: TinyModels) -> None:
    model = tiny("llama", chat=CHAT)
    wanted, _ = by_hand(model, LETTERS, read, llama_states)
    kept, _ = encode_pairs(LETTERS, model.template(), model)
    found = mean_difference(model, kept, ALL, read)
    np.testing.assert_allclose(np.stack([v.values for v in found.layers]), wanted, **TOLERANCE)


def test_mean_difference_on_the_demo_model(demo: Model) -> None:
    wanted, _ = by_hand(demo, LETTERS[:2], "answer", hidden_states)
    kept, _ = encode_pairs(LETTERS[:2], demo.template(), demo)
    found = mean_difference(demo, kept, list(range(demo.n_layers)), "answer")
    np.testing.assert_allclose(np.stack([v.values for v in found.layers]), wanted, **TOLERANCE)


def tokens_of(lengths: list[int]) -> list[CompletedTokens]:
    rows = [tuple((7 * row + 13 * i) % 300 + 2 for i in range(n)) for row, n in enumerate(lengths)]
    return [CompletedTokens(ids, len(ids) // 2, len(ids) // 2 + 1, len(ids) - 1) for ids in rows]


def read_all(model: Model, sequences: list[CompletedTokens], layers: list[int], read: Any) -> NDArray[np.float32]:
    found = np.full((len(sequences), len(layers), model.d_model), np.nan, dtype=np.float32)
    for rows in read_activations(model, sequences, layers, read):
        found[list(rows.index)] = rows.values
    return found


@pytest.mark.parametrize("read", READ_POSITIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_of_different_lengths_reads_as_one_at_a_time(family: str, read: Any, tiny: TinyModels) -> None:
    model = tiny(family)
    sequences = tokens_of([30, 3, 11, 24, 4, 19])
    together = read_all(model, sequences, ALL, read)
    alone = np.concatenate([read_all(model, [sequence], ALL, read) for sequence in sequences])
    np.testing.assert_allclose(together, alone, **TOLERANCE)


@pytest.mark.parametrize("bits", [4, 8])
def test_quantized_models_are_read(bits: int, tiny: TinyModels) -> None:
    model = tiny("llama", bits=bits)
    sequences = tokens_of([9, 5])
    wanted = [hidden_states(model.network, s.ids)[:, -1] for s in sequences]
    np.testing.assert_allclose(read_all(model, sequences, ALL, "last"), wanted, rtol=1e-4, atol=1e-4)


def test_layers_come_in_the_order_asked(tiny: TinyModels) -> None:
    model = tiny("llama")
    sequences = tokens_of([6, 8])
    everything = read_all(model, sequences, ALL, "last")
    np.testing.assert_array_equal(read_all(model, sequences, [2, 0], "last"), everything[:, [2, 0]])


def poison(module: Any) -> None:
    """Make everything that is computed from one of the module's weights not a number."""

    def filled(value: mx.array) -> mx.array:
        return mx.full(value.shape, float("nan"), dtype=value.dtype)

    module.update(tree_map(filled, module.parameters()))
    mx.eval(module.parameters())  # what is not evaluated belongs to this thread


def with_network(model: Model, network: Any) -> Model:
    return Model(model.info, network, model.wrapped_tokenizer, ResidualStream(network), model.dtype)


def test_what_stands_above_the_highest_layer_does_not_reach_what_is_read(tiny: TinyModels) -> None:
    model = tiny("llama")
    network = copy.deepcopy(model.network)
    for module in (network.model.layers[2], network.model.norm, network.lm_head):
        poison(module)
    sequences = tokens_of([9, 5])
    found = read_all(with_network(model, network), sequences, [0, 1], "mean")
    np.testing.assert_array_equal(found, read_all(model, sequences, [0, 1], "mean"))
    assert np.isnan(read_all(with_network(model, network), sequences, [2], "mean")).all()


def test_what_stands_above_the_highest_layer_is_not_computed(tiny: TinyModels) -> None:
    """Weights far too large for any machine: whoever multiplies by them fails."""
    model = tiny("llama")
    network = copy.deepcopy(model.network)
    many = (1 << 31) - 1
    tall, wide = mx.broadcast_to(mx.zeros((1, 1)), (many, WIDTH)), mx.broadcast_to(mx.zeros((1, 1)), (WIDTH, many))
    mx.eval(tall, wide)  # what is not evaluated belongs to this thread
    network.lm_head.weight = tall
    above = network.model.layers[2].mlp
    above.gate_proj.weight, above.up_proj.weight, above.down_proj.weight = tall, tall, wide
    sequences = tokens_of([9, 5])
    found = read_all(with_network(model, network), sequences, [0, 1], "last")
    np.testing.assert_array_equal(found, read_all(model, sequences, [0, 1], "last"))


@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
def test_a_mean_over_a_narrow_stream_is_summed_wide(stored: str, tiny: TinyModels) -> None:
    model = tiny("llama", dtype=stored, compute=stored)
    sequences = tokens_of([60])
    states = hidden_states(model.network, sequences[0].ids)
    wanted = states[:, sequences[0].start :].astype(np.float64).mean(axis=1)
    np.testing.assert_allclose(read_all(model, sequences, ALL, "mean")[0], wanted, rtol=1e-5, atol=1e-6)


def test_a_sum_of_many_differences_does_not_drift(tiny: TinyModels) -> None:
    model = tiny("llama", dtype="bfloat16", compute="bfloat16")
    kept, _ = encode_pairs(LETTERS, model.template(), model)
    few = mean_difference(model, kept, ALL, "answer")
    many = mean_difference(model, kept * 40, ALL, "answer")
    for one, other in zip(few.layers, many.layers, strict=True):
        np.testing.assert_allclose(one.values, other.values, rtol=1e-6, atol=1e-7)


def test_swapping_the_sides_turns_the_vector_round(tiny: TinyModels) -> None:
    model = tiny("llama")
    swapped = [Pair(p.prompt, p.negative, p.positive, p.system) for p in LETTERS]
    vectors = [
        mean_difference(model, encode_pairs(pairs, model.template(), model)[0], ALL, "answer")
        for pairs in (LETTERS, swapped)
    ]
    for one, other in zip(vectors[0].layers, vectors[1].layers, strict=True):
        # The batches differ, and float32 is rounded otherwise in each.
        np.testing.assert_allclose(one.values, -other.values, atol=1e-5)
        assert one.norm > 0


def test_pairs_that_are_too_long_are_left_out_whole(tiny: TinyModels) -> None:
    model = tiny("llama")
    long = Pair("漢字" * CONTEXT, "(A)", "(B)")
    lopsided = Pair("Is it?", "Yes", "漢字" * CONTEXT)
    kept, too_long = encode_pairs([LETTERS[0], long, LETTERS[1], lopsided], model.template(), model)
    assert [pair.index for pair in kept] == [0, 2]
    assert too_long == [1, 3]
    template = model.template()
    assert kept[1].positive == template.complete(LETTERS[1].prompt, "(B)")
    # Exactly the context fits.
    exact = next(n for n in range(1, 999) if len(template.complete("", " I" * n).ids) >= CONTEXT)
    text = " I" * exact
    assert len(template.complete("", text).ids) == CONTEXT
    assert encode_pairs([Pair("", text, "I")], template, model)[1] == []
    assert encode_pairs([Pair("", text + " I", "I")], template, model)[1] == [0]


def test_default_read() -> None:
    yes_no = Pair("Is it?", "Yes", "No")
    assert default_read(LETTERS) == "answer"
    assert default_read([yes_no]) == "answer"
    assert default_read([*LETTERS, yes_no]) == "answer"
    assert default_read(FREE) == "last"
    for mixed in ([*LETTERS, *FREE], [yes_no, *FREE]):
        with pytest.raises(UsageError, match="partly free text"):
            default_read(mixed)


def test_what_cannot_be_read_is_refused(tiny: TinyModels) -> None:
    model = tiny("llama")
    kept, _ = encode_pairs(LETTERS, model.template(), model)
    with pytest.raises(InputError, match="no pair"):
        mean_difference(model, [], ALL, "answer")
    with pytest.raises(UsageError, match="layer 3 does not exist"):
        mean_difference(model, kept, [3], "answer")
    with pytest.raises(UsageError, match="no layer"):
        mean_difference(model, kept, [], "answer")
    with pytest.raises(UsageError, match="no read position"):
        mean_difference(model, kept, ALL, "first")  # type: ignore[arg-type]


def test_activations_that_overflow_are_not_stored(tiny: TinyModels) -> None:
    model = tiny("llama")
    network = copy.deepcopy(model.network)
    poison(network.model.layers[0])
    kept, _ = encode_pairs(LETTERS, model.template(), model)
    with pytest.raises(ModelError, match="layer 0: the model's activations are not finite"):
        mean_difference(with_network(model, network), kept, [0], "answer")


def test_progress_counts_every_token(tiny: TinyModels) -> None:
    model = tiny("llama")
    kept, _ = encode_pairs(LETTERS, model.template(), model)
    told: list[tuple[int, int]] = []
    mean_difference(model, kept, [0], "answer", lambda done, total: told.append((done, total)))
    total = told[0][1]
    assert told[0] == (0, total) and told[-1] == (total, total) and told == sorted(told)
    # What both sides of a pair share counts once.
    assert total < sum(len(side.ids) for pair in kept for side in (pair.positive, pair.negative))
