"""KL divergence and perplexity of neutral text are those of whole texts, steered one at a time."""

from __future__ import annotations

import logging
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from scipy.stats import entropy
from support.computed import mean_difference
from support.counting import first_block_shapes, tokens_in
from support.effects import side_effects
from support.tiny_models import CONTEXT, FAMILIES, LAYERS, TinyModels

from caa_registry.engine import runs
from caa_registry.engine.checks import DifferentError
from caa_registry.engine.texts import Part, Work, run_entered, run_whole
from caa_registry.errors import InputError, ModelError, UsageError
from caa_registry.evaluation.inference.intervals import mean, ratio
from caa_registry.evaluation.side_effects.measure import SideEffects, TokenizedText, tokenized
from caa_registry.evaluation.side_effects.neutral_text import NeutralText, Passage, packaged_text
from caa_registry.extraction.reading import encode_pairs
from caa_registry.models.model import Model
from caa_registry.pairs.record import PairItem
from caa_registry.pairs.sources import load as load_pairs
from caa_registry.steering.additions import Addition, steering
from caa_registry.vectors import LayerVector, VectorSet

TEXTS = ["It is so.", "Is the sky blue? I do not agree with you, it was a good day.", "No", "And now: one, two, three."]
HAND_ON_MORE = {"gemma4_text"}
MULTIPLIERS = [-1.0, 0.0, 0.5, 3.0]


def text_for(model: Model, *texts: str) -> TokenizedText:
    passages = tuple(Passage(str(i), text) for i, text in enumerate(texts or TEXTS, 1))
    return tokenized(model, NeutralText("tests", passages))


def vectors_for(model: Model, size: float = 1.0) -> VectorSet:
    draw = np.random.default_rng(0).standard_normal
    return VectorSet.of(
        LayerVector(layer, (size * draw(model.d_model)).astype(np.float32)) for layer in range(model.n_layers)
    )


def work_for(model: Model) -> Work:
    vectors = {vector.layer: vector.values for vector in vectors_for(model).layers}
    return Work(model, text_for(model).ids, vectors, [m for m in MULTIPLIERS if m])


def naive(model: Model, ids: tuple[int, ...], layer: int, vector: NDArray[np.float32], multiplier: float) -> Any:
    """Sums of KL and log-probability over a whole text, run twice."""

    def logits() -> NDArray[np.float64]:
        return np.array(model.network(mx.array([ids]))[0].astype(mx.float32))[:-1].astype(np.float64)

    unsteered = logits()
    with steering(model, [Addition(layer, vector, multiplier)], "all"):
        steered = logits()
    log_p = log_softmax(steered, axis=1)[np.arange(len(ids) - 1), ids[1:]]
    return entropy(softmax(unsteered, axis=1), softmax(steered, axis=1), axis=1).sum(), log_p.sum()


def check(
    model: Model, vectors: VectorSet, text: TokenizedText, found: list[SideEffects], tolerance: float = 1e-4
) -> None:
    for cell in found:
        vector = vectors[cell.layer].values
        wanted = np.array([naive(model, ids, cell.layer, vector, cell.multiplier) for ids in text.ids])
        np.testing.assert_allclose(cell.kl_sums, wanted[:, 0], rtol=tolerance, atol=1e-9)
        np.testing.assert_allclose(cell.log_p_sums, wanted[:, 1], rtol=tolerance)
        assert cell.tokens.tolist() == [len(ids) - 1 for ids in text.ids]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_and_multiplier_is_as_a_naive_loop_gives(
    family: str, tiny: TinyModels, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny(family)
    vectors, text = vectors_for(model), text_for(model)
    layers = list(range(LAYERS))
    with caplog.at_level(logging.WARNING):
        found = side_effects(model, vectors, text, layers, MULTIPLIERS)
    assert ("every text is run whole" in caplog.text) == (family in HAND_ON_MORE)
    assert [(cell.layer, cell.multiplier) for cell in found] == [(i, m) for i in layers for m in MULTIPLIERS]
    check(model, vectors, text, found)
    # Steering moves the texts, else agreement would say nothing.
    assert all(cell.kl.value > 1e-3 for cell in found if cell.multiplier)


def test_the_demo_models_own_text_with_its_own_vector(demo: Model) -> None:
    items = [item for item in load_pairs("seed:demo-sentiment").items if isinstance(item, PairItem)]
    pairs, _ = encode_pairs([item.pair for item in items if item.split == "generate"], demo.template(), demo)
    vectors, text = mean_difference(demo, pairs, [2, 3], "last"), tokenized(demo, packaged_text("demo"))
    found = side_effects(demo, vectors, text, [2, 3], [-1, 0, 1, 3])
    check(demo, vectors, text, found)
    by_place = {(cell.layer, cell.multiplier): cell for cell in found}
    assert 0 < by_place[2, 1].kl.low < by_place[2, 1].kl.value < by_place[2, 1].kl.high < by_place[2, 3].kl.low
    assert by_place[2, 0].perplexity == by_place[3, 0].perplexity
    # Its own language is ordinary to it, English is not.
    english = side_effects(demo, vectors, tokenized(demo, packaged_text("english")), [2], [0])
    assert by_place[2, 0].perplexity.high < 20 < 100 < english[0].perplexity.low


def test_multiplier_0_is_exactly_no_divergence(tiny: TinyModels) -> None:
    model = tiny("llama")
    text = text_for(model)
    parts: list[Part] = []
    found = side_effects(model, vectors_for(model), text, [0, 1], [0.0], keep=parts.append)
    assert {part.layer for part in parts} == {None} and len(parts) == len(text.ids)
    for cell in found:
        # Three passages have no interval.
        assert (cell.kl_sums == 0).all() and (cell.kl.value, cell.kl.low, cell.kl.high) == (0, None, None)
    np.testing.assert_array_equal(found[0].log_p_sums, found[1].log_p_sums)


def test_an_empty_prompt_steers_the_same_tokens(tiny: TinyModels) -> None:
    model = tiny("llama", adds_bos=True)
    ids = text_for(model).ids[1]
    logits = []
    for positions in ("all", "after_prompt"):
        end = model.template("plain").complete("", TEXTS[1]).prompt_end
        with steering(model, [Addition(1, vectors_for(model)[1].values)], positions), model.stream.prompt(end):
            logits.append(np.array(model.network(mx.array([ids]))))
    np.testing.assert_array_equal(*logits)


def test_small_batches_give_the_same(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama")
    vectors, text = vectors_for(model), text_for(model)
    monkeypatch.setattr(runs, "tokens_at_a_time", lambda: 5)
    check(model, vectors, text, side_effects(model, vectors, text, [1], MULTIPLIERS))


def test_blocks_up_to_the_steered_layer_are_run_once(tiny: TinyModels) -> None:
    model = tiny("llama")
    work = work_for(model)
    with first_block_shapes(model) as shapes:
        run_entered(work, lambda part: None)
    lengths = [len(ids) - 1 for ids in work.texts]
    # Each text once, and the beginning of the longest a second time, whole, to check.
    assert tokens_in(shapes) == sum(lengths) + min(max(lengths), 32)


def test_parts_and_progress_come_as_they_are_done(tiny: TinyModels) -> None:
    model = tiny("llama")
    text = text_for(model)
    parts: list[Part] = []
    reported: list[tuple[int, int]] = []
    found = side_effects(
        model, vectors_for(model), text, [0, 2], MULTIPLIERS, lambda *done: reported.append(done), keep=parts.append
    )
    total = reported[-1][1]
    assert reported[0] == (0, total) and reported[-1] == (total, total) and reported == sorted(reported)
    # More often than parts come.
    assert len(reported) > 3 * len(text.ids)
    assert sorted((-1 if part.layer is None else part.layer, part.text) for part in parts) == [
        (layer, text_) for layer in (-1, 0, 2) for text_ in range(len(text.ids))
    ]
    steered = {(cell.layer, cell.multiplier): cell for cell in found}
    for part in parts:
        if part.layer is not None:
            assert part.kl.tolist() == [steered[part.layer, m].kl_sums[part.text] for m in MULTIPLIERS if m]


def test_where_entering_computes_something_else_whole_texts_are_run(
    tiny: TinyModels, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny("llama")
    entered = model.stream.entered
    monkeypatch.setattr(model.stream, "entered", lambda layer, hidden: entered(layer, hidden * 1.1))
    parts: list[Part] = []
    with pytest.raises(DifferentError, match="llama computes differently when it is entered behind layer 0"):
        run_entered(work_for(model), parts.append)
    assert parts == []
    vectors, text = vectors_for(model), text_for(model)
    with caplog.at_level(logging.WARNING):
        found = side_effects(model, vectors, text, [0, 1], MULTIPLIERS)
    assert "every text is run whole" in caplog.text
    check(model, vectors, text, found)


def test_where_steering_an_entered_text_goes_wrong_it_shows(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama")
    monkeypatch.setattr(runs, "added", lambda hidden, delta, positions, where: hidden + 0.5 * delta)
    with pytest.raises(DifferentError, match="a steered text is entered"):
        run_entered(work_for(model), lambda part: None)


def test_an_interruption_ends_it_and_leaves_the_network_as_it_was(tiny: TinyModels) -> None:
    model = tiny("llama")
    work = work_for(model)
    before = type(model.network), np.array(model.network(mx.array([[3, 4]])))
    parts: list[Part] = []

    def interrupted(part: Part) -> None:
        parts.append(part)
        if len(parts) > LAYERS + 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_entered(work, interrupted)
    assert type(model.network) is before[0] and not model.stream.tapped_now
    np.testing.assert_array_equal(np.array(model.network(mx.array([[3, 4]]))), before[1])


def test_a_half_precision_model_agrees_with_itself(tiny: TinyModels) -> None:
    model = tiny("llama", compute="bfloat16")
    text = text_for(model)
    found = side_effects(model, vectors_for(model), text, [1], [1.0])
    whole = [part for part in run_whole(work_for(model)) if part.layer == 1]
    assert len(whole) == len(text.ids) and (found[0].kl_sums > 0).all()
    check(model, vectors_for(model), text, found, tolerance=0.1)


def test_values_that_are_not_numbers_are_an_error(tiny: TinyModels) -> None:
    model = tiny("llama", compute="float16")
    with pytest.raises(ModelError, match="not finite in float16"):
        side_effects(model, vectors_for(model, size=1e6), text_for(model), [1], [1.0])


def test_passages_that_cannot_be_measured_are_left_out_and_named(tiny: TinyModels) -> None:
    model = tiny("llama")
    text = text_for(model, "It is so.", "so " * CONTEXT, "(", "No, it is not.")
    assert (text.names, text.too_long, text.too_short) == (("1", "4"), ("2",), ("3",))
    with pytest.raises(InputError, match=r"none of 2 passages .*1 too long, 1 of a single token") as caught:
        text_for(model, "so " * CONTEXT, "(")
    assert f"2 to {CONTEXT + 1} tokens" in caught.value.hint
    with pytest.raises(UsageError, match="layer 3 does not exist"):
        side_effects(model, vectors_for(model), text, [LAYERS], [1.0])


@pytest.mark.parametrize("passages", [1, 4, 5, 12])
@pytest.mark.parametrize("tokens", [1, 17])
def test_of_passages_of_one_length_the_mean_is_that_of_their_means(passages: int, tokens: int) -> None:
    values = np.random.default_rng(passages).gamma(2, 1, passages)
    found = ratio(values * tokens, np.full(passages, tokens))
    wanted = mean(values)
    assert found.n == wanted.n and found.value == pytest.approx(wanted.value)
    assert (found.low is None) == (passages < 5)
    if passages >= 5:
        assert (found.low, found.high) == (pytest.approx(wanted.low), pytest.approx(wanted.high))


def test_long_passages_count_by_their_tokens() -> None:
    found = ratio(np.array([10.0, 0.0]), np.array([10, 90]))
    assert (found.value, found.low, found.high, found.n) == (0.1, None, None, 2)


def effects_of(kl: list[float], log_p: list[float], tokens: list[int]) -> SideEffects:
    return SideEffects(0, 1.0, np.array(kl), np.array(log_p), np.array(tokens))


def test_kl_is_not_below_0_and_perplexity_s_ends_are_in_order() -> None:
    found = effects_of([0.0, 0.02, 0.1, 0.01, 9.0], [-9.0, -10.0, -30.0, -5.0, -20.0], [5, 5, 5, 5, 5])
    assert found.kl.value == pytest.approx(9.13 / 25) and found.kl.low == 0 and found.kl.n == 5
    perplexity, per_token = found.perplexity, ratio(found.log_p_sums, found.tokens)
    assert perplexity.value == pytest.approx(np.exp(74 / 25)) and perplexity.low < perplexity.value < perplexity.high
    assert (perplexity.low, perplexity.high) == pytest.approx((np.exp(-per_token.high), np.exp(-per_token.low)))
    few = effects_of([0.1, 0.2], [-3.0, -4.0], [5, 5])
    assert (few.kl.low, few.kl.high, few.perplexity.low, few.perplexity.high) == (None,) * 4
