"""Answers are decoded in batches whose rows come and go, and are those of every prompt alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx_lm.models.cache import (
    ArraysCache,
    CacheList,
    ChunkedKVCache,
    KVCache,
    RotatingKVCache,
    make_prompt_cache,
)
from support.tiny_models import TinyModels

from caa_registry.engine.caches import branching_cache, joins, merged, padded, row
from caa_registry.engine.decoding import answers, prompts
from caa_registry.engine.decoding.answers import decoded
from caa_registry.engine.decoding.batch import Batch
from caa_registry.engine.decoding.request import Place, Request, Row, Strength
from caa_registry.models.model import Model
from caa_registry.steering.positions import STEERED_POSITIONS, SteeredPositions

VOCABULARY = 400


def request(
    model: Model,
    texts: Sequence[Sequence[int]],
    ends: frozenset[int] = frozenset(),
    multipliers: Sequence[float] = (0.0, 1.0),
    positions: SteeredPositions = "after_prompt",
    max_tokens: int = 12,
) -> Request:
    direction = np.random.default_rng(0).standard_normal(model.d_model)
    delta = (30 * direction / np.linalg.norm(direction)).astype(np.float32)
    strengths = [Strength(m, {1: delta * np.float32(m)} if m else {}) for m in multipliers]
    stopping = replace(model, wrapped_tokenizer=SimpleNamespace(eos_token_ids=set(ends)))
    return Request(stopping, [tuple(text) for text in texts], strengths, positions, max_tokens, 0.0, 0)


def texts(lengths: Sequence[int], head: Sequence[int] = ()) -> list[tuple[int, ...]]:
    draw = np.random.default_rng(len(lengths))
    return [(*head, *draw.integers(2, VOCABULARY, length).tolist()) for length in lengths]


def by_place(asked: Request) -> dict[Place, Row]:
    found = [row for some in decoded(asked) for row in some]
    assert len({row.place for row in found}) == len(found) == len(asked.prompts) * len(asked.strengths)
    return {row.place: row for row in found}


def check(asked: Request) -> dict[Place, Row]:
    """What comes out is what comes out of a request for each answer alone."""
    found = by_place(asked)
    for (prompt, strength), answer in found.items():
        one = replace(asked, prompts=[asked.prompts[prompt]], strengths=[asked.strengths[strength]])
        ((alone,),) = decoded(one)
        assert (answer.ids, answer.finish) == (alone.ids, alone.finish)
    return found


@pytest.fixture
def heights(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Of every step its rows, and those of them that have not ended. No row runs beyond what it has room for."""
    seen: list[tuple[int, int]] = []
    original = Batch._step

    def step(batch: Batch) -> None:
        assert all(row.left > 0 for row in batch.rows)
        seen.append((len(batch.rows), sum(not row.ended for row in batch.rows)))
        original(batch)

    monkeypatch.setattr(Batch, "_step", step)
    return seen


@pytest.mark.long
@pytest.mark.parametrize("family", ["llama", "gemma3_text", "mamba"])
@given(
    lengths=st.lists(st.integers(1, 30), min_size=2, max_size=9),
    head=st.sampled_from([0, 5, 40]),
    ends=st.frozensets(st.integers(0, VOCABULARY - 1), max_size=60),
    most=st.integers(2, 8),
    positions=st.sampled_from(STEERED_POSITIONS),
)
@settings(max_examples=8)
def test_whatever_the_lengths_and_ends_answers_are_those_alone(
    family: str,
    lengths: list[int],
    head: int,
    ends: frozenset[int],
    most: int,
    positions: SteeredPositions,
    tiny: TinyModels,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "_ROWS", most)
        patch.setattr(prompts, "tokens_at_a_time", lambda: 64)
        patch.setattr(answers._log, "warning", None)  # nothing falls back
        check(request(tiny(family), texts(lengths, range(2, 2 + head)), ends, positions=positions))


def test_rows_that_ended_leave_and_others_take_their_place(
    tiny: TinyModels, monkeypatch: pytest.MonkeyPatch, heights: list[tuple[int, int]]
) -> None:
    monkeypatch.setattr(answers, "_ROWS", 4)
    asked = request(tiny("llama"), texts([5, 9, 6, 12, 7, 8, 11, 10]), multipliers=[0.0])
    whole = check(asked)
    # Some answers end after four tokens now.
    ends = frozenset(whole[prompt, 0].ids[4] for prompt in (0, 3, 5))
    heights.clear()
    cut = by_place(replace(asked, model=replace(asked.model, wrapped_tokenizer=SimpleNamespace(eos_token_ids=ends))))
    together = [height for height, _ in heights if height > 1]
    for place, answer in cut.items():
        ids = whole[place].ids
        stop = next((i for i, token in enumerate(ids) if token in ends), None)
        assert answer.ids == ids[:stop]
        assert answer.finish == ("length" if stop is None else "stop")
    # No row runs on once it has ended, and as long as there are others the batch is full.
    assert all(height == alive for height, alive in heights)
    assert together[0] == 4 and together == sorted(together, reverse=True)


def test_a_batch_never_holds_more_tokens_than_it_may(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_CACHED_TOKENS", 100)
    asked = request(tiny("llama"), texts([30, 5, 6, 5, 7, 28, 5, 20]), frozenset(range(0, 400, 20)), max_tokens=8)
    original, held = Batch._step, []

    def step(batch: Batch) -> None:
        longest = max(len(asked.prompts[row.place[0]]) + 8 for row in batch.rows)
        held.append(len(batch.rows) * longest)
        original(batch)

    monkeypatch.setattr(Batch, "_step", step)
    check(asked)
    assert 50 < max(held) <= 100


def test_what_prompts_begin_with_runs_once(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama")
    seen: list[int] = []
    original = prompts.Prompts._pieces
    monkeypatch.setattr(
        prompts.Prompts,
        "_pieces",
        lambda self, tokens, cache: (seen.append(tokens.size), original(self, tokens, cache)),
    )
    lengths, head = [4, 9, 4, 6, 12], tuple(range(2, 62))
    asked = request(model, texts(lengths, head))
    found = by_place(asked)
    # The two that are compared run alone too, whole.
    alone = sum(len(head) + length - 1 for length in (12, 4))
    tails = sum(seen) - len(head) - alone
    assert sum(length - 1 for length in lengths) <= tails <= len(lengths) * (max(lengths) - 1)
    # What is steered from the first token on shares nothing.
    seen.clear()
    by_place(replace(asked, positions="all"))
    assert sum(seen) >= alone + 2 * sum(len(head) + length - 1 for length in lengths)
    monkeypatch.setattr(prompts, "shared_heads", lambda texts: [])
    assert {place: row.ids for place, row in by_place(asked).items()} == {p: row.ids for p, row in found.items()}


def test_a_full_context_ends_a_row_at_once(tiny: TinyModels, heights: list[tuple[int, int]]) -> None:
    """GPT-2 has no positions beyond its context, and what would be read there is anything."""
    model = tiny("gpt2")
    context = model.info.context_length
    assert context is not None
    # Of so many rows one alone would run on for a while.
    found = check(request(model, texts([context - 3, *range(5, 22)]), multipliers=[1.0], max_tokens=20))
    assert len(found[0, 0].ids) == 3 and len(found[1, 0].ids) == 20
    assert max(heights) == (18, 18)


@pytest.mark.parametrize("broken", ["values", "error"])
@pytest.mark.parametrize("lengths_only", [True, False])
def test_where_a_batch_computes_something_else_it_is_given_up(
    broken: str, lengths_only: bool, tiny: TinyModels, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = request(tiny("llama"), texts([5, 9, 9, 5, 7]))
    original = Batch._step

    def wrong(batch: Batch) -> None:
        lengths = {len(asked.prompts[row.place[0]]) for row in batch.rows}
        if len(lengths) > 1 or (len(batch.rows) > 1 and not lengths_only):
            if broken == "error":
                raise TypeError("no such cache")
            for entry in batch.cache:
                entry.keys = entry.keys * 1.01
        original(batch)

    monkeypatch.setattr(Batch, "_step", wrong)
    with caplog.at_level(logging.WARNING):
        check(asked)
    expected = ["llama computes differently in a batch of several lengths, so prompts of one length go together."]
    if not lengths_only:
        expected.append("llama computes differently in a batch, so answers are generated one at a time.")
    assert [record.getMessage() for record in caplog.records] == expected


def test_the_longest_and_the_shortest_prompt_are_compared_first(
    tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, compared = answers._Decoder._compare, []

    def compare(decoder: Any, row: Row) -> None:
        compared.append(row.place)
        original(decoder, row)

    monkeypatch.setattr(answers._Decoder, "_compare", compare)
    asked = request(tiny("llama"), texts([8, 30, 12, 5, 9]), multipliers=[0.5, -2.0, 1.0])
    groups = decoded(asked)
    next(groups)
    assert sorted(compared) == [(1, 1), (3, 1)]
    assert len(list(groups)) >= 0 and len(compared) == 2


@pytest.mark.parametrize("made", [make_prompt_cache, branching_cache])
def test_rows_by_themselves_and_merged_are_those_of_each_text(made: Any, tiny: TinyModels) -> None:
    network = tiny("llama").network
    long, short = texts([9, 6])
    together = made(network)
    assert padded(together) > 1000
    network(mx.array([long, [*short, 0, 0, 0]]), cache=together)
    both = merged([row(together, 0, 0), row(together, 1, 3)])
    for i, text in enumerate((long, short)):
        alone = make_prompt_cache(network)
        network(mx.array([text]), cache=alone)
        for entry, single in zip(both, alone, strict=True):
            assert entry.offset[i].item() == single.offset == len(text)
            for found, expected in ((entry.keys, single.keys), (entry.values, single.values)):
                np.testing.assert_allclose(
                    np.array(found[i, :, 9 - len(text) : 9]), np.array(expected[0, :, : len(text)]), 1e-4, 1e-4
                )


def test_which_caches_join_and_pad() -> None:
    assert joins([KVCache(), ArraysCache(2)]) and joins([CacheList(ArraysCache(2), KVCache())])
    assert not joins([ArraysCache(2)]) and not joins([KVCache(), ChunkedKVCache(8)])
    assert not joins([RotatingKVCache(8, keep=4)])
    assert padded([RotatingKVCache(8), KVCache()]) == 7
    assert padded([KVCache(), ArraysCache(2)]) <= 0 and padded([CacheList(KVCache(), ArraysCache(1))]) <= 0
