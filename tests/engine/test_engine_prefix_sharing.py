"""A prompt run once for both sides of a pair reads as both texts run whole."""

from __future__ import annotations

import logging
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray
from support.tiny_models import FAMILIES, TinyModels

from caa_registry.engine import prefix_sharing
from caa_registry.engine.prefix_sharing import read_pairs
from caa_registry.engine.reading import PairTokens, read_activations
from caa_registry.models.model import Model
from caa_registry.models.read_position import READ_POSITIONS
from caa_registry.models.rendering.prompts import CompletedTokens
from caa_registry.models.stream import Positions

ALL = [0, 1, 2]


def side(prompt: tuple[int, ...], completion: tuple[int, ...], answer: int | None = None) -> CompletedTokens:
    last = len(prompt) + len(completion) - 1
    return CompletedTokens(prompt + completion, len(prompt) - 1, len(prompt), last if answer is None else answer)


def prompt_of(length: int, seed: int) -> tuple[int, ...]:
    return tuple((7 * i + 31 * seed) % 390 + 2 for i in range(length))


def varied() -> list[PairTokens]:
    """Prompts of many lengths, letters between brackets, free text, one side that begins as the other."""
    pairs = []
    for i, length in enumerate((30, 3, 31, 32, 12, 31, 2, 48)):
        prompt = prompt_of(length, i)
        pairs.append(PairTokens(i, *(side(prompt, (40, letter, 41), length + 1) for letter in (65, 66))))
        pairs.append(PairTokens(i, side(prompt, (50, 51, 52 + i)), side(prompt, (50,))))
    same = side(prompt_of(9, 1), (8, 9))
    return [*pairs, PairTokens(90, same, same), PairTokens(91, side((3,), (4, 5)), side((6, 7, 8), (9,)))]


def everything(model: Model, pairs: list[PairTokens], read: Any, layers: list[int] = ALL) -> NDArray[np.float32]:
    found = np.full((2 * len(pairs), len(layers), model.d_model), np.nan, dtype=np.float32)
    for rows in read_pairs(model, pairs, layers, read):
        assert np.isnan(found[list(rows.index)]).all()
        found[list(rows.index)] = rows.values
    return found


def plain(model: Model, pairs: list[PairTokens], read: Any, layers: list[int] = ALL) -> NDArray[np.float32]:
    sides = [s for pair in pairs for s in (pair.positive, pair.negative)]
    return np.concatenate([rows.values for s in sides for rows in read_activations(model, [s], layers, read)])


@pytest.mark.parametrize("read", READ_POSITIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_sharing_reads_as_the_whole_texts(
    family: str, read: Any, tiny: TinyModels, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny(family)
    np.testing.assert_allclose(everything(model, varied(), read), plain(model, varied(), read), rtol=1e-4, atol=1e-4)
    assert not caplog.records


@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
def test_rounding_of_a_narrow_stream_is_no_difference(
    stored: str, tiny: TinyModels, caplog: pytest.LogCaptureFixture
) -> None:
    everything(tiny("llama", dtype=stored, compute=stored), varied(), "last")
    assert not caplog.records


def tokens_run(model: Model, run: Any) -> int:
    count = 0

    def tap(layer: int, hidden: mx.array, positions: Positions) -> mx.array:
        nonlocal count
        count += hidden.shape[0] * hidden.shape[1] if layer == 0 else 0
        return hidden

    with model.stream.tapped(tap):
        run()
    return count


def test_a_prompt_is_run_once(tiny: TinyModels) -> None:
    model = tiny("llama")
    pairs = [PairTokens(i, *(side(prompt_of(60, i), (40, x)) for x in (65, 66))) for i in range(40)]
    shared = tokens_run(model, lambda: everything(model, pairs, "last"))
    # 60 tokens, "(" among them, and a letter a side, each pair; and one pair whole, to check.
    assert shared == 40 * (61 + 2) + 2 * 62
    assert tokens_run(model, lambda: plain(model, pairs, "last")) == 40 * 2 * 62


@pytest.mark.parametrize("wrong_from", [0, 1])
def test_where_sharing_computes_something_else_texts_are_run_whole(
    wrong_from: int, tiny: TinyModels, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At once, or from where the windows (8 tokens) are full."""
    model = tiny("gemma3_text")
    original = prefix_sharing.branched

    def wrong(cache: Any, copies: int) -> Any:
        branches = original(cache, copies)
        if cache[0].offset >= 8 * wrong_from:
            branches[0].keys = branches[0].keys * 0.5
        return branches

    monkeypatch.setattr(prefix_sharing, "branched", wrong)
    with caplog.at_level(logging.WARNING):
        found = everything(model, varied(), "last")
    np.testing.assert_allclose(found, plain(model, varied(), "last"), rtol=1e-4, atol=1e-4)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "gemma3_text computes differently" in caplog.text


def test_layers_come_in_the_order_asked(tiny: TinyModels) -> None:
    model = tiny("llama")
    np.testing.assert_array_equal(
        everything(model, varied(), "last", [2, 0]), everything(model, varied(), "last")[:, [2, 0]]
    )
