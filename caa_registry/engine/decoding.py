"""Answers to prompts of equal length at several strengths, decoded as the rows of one batch.

The prompts run once, as far as the token before the first steered one; their cache is branched, a row for each
strength, and every row adds its own vectors. Steering all positions leaves nothing to share: there every row runs its
own prompt. All rows have the same length, so that no token is padded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from mlx_lm.models.cache import make_prompt_cache
from numpy.typing import NDArray

from caa_registry.digests import digest_object
from caa_registry.engine.caches import branched, held
from caa_registry.engine.schedule import tokens_at_a_time
from caa_registry.models.model import Model
from caa_registry.models.stream import Positions
from caa_registry.mx import mx
from caa_registry.mx_thread import check
from caa_registry.steering.additions import added
from caa_registry.steering.positions import SteeredPositions

Finish = Literal["stop", "length"]

COMPARED = 3
"""Of so many tokens the log-probabilities are kept, to compare two ways of decoding."""


@dataclass(frozen=True, eq=False)
class Strength:
    """What is added at one multiplier: layer to float32 ``(d_model,)``."""

    multiplier: float
    deltas: Mapping[int, NDArray[np.float32]]


@dataclass(frozen=True)
class Decoding:
    """How answers are decoded. ``temperature`` 0 is greedy; ``seed`` draws above it, for each row apart."""

    model: Model
    positions: SteeredPositions
    max_tokens: int
    temperature: float
    seed: int


@dataclass(frozen=True, eq=False)
class Row:
    """One answer: its tokens without the end token, and why it ended. ``log_p``: float32 ``(tokens, vocabulary)``,
    natural log-probabilities of the first ``COMPARED`` tokens."""

    ids: tuple[int, ...]
    finish: Finish
    log_p: NDArray[np.float32]


def decode(
    how: Decoding, prompts: Sequence[tuple[int, ...]], strengths: Sequence[Strength], *, shared: bool
) -> list[Row]:
    """Every prompt at every strength, prompt by prompt. The prompts have one length, within the model's context.

    ``shared``: prompts run once for all strengths. Raises ``ModelError`` where values are not finite.
    """
    model, n = how.model, len(strengths)
    ids = [prompt for prompt in prompts for _ in strengths]
    deltas = _deltas(model, list(strengths) * len(prompts))

    def add(layer: int, hidden: mx.array, where: Positions) -> mx.array:
        delta = deltas.get(layer)
        return hidden if delta is None else added(hidden, delta, how.positions, where)

    # As in ``model.generate``, the last token of a prompt runs alone: all before it give no logits.
    heads = [prompt[:-1] for prompt in prompts]
    multipliers = [strength.multiplier for strength in strengths] * len(prompts)
    with model.stream.prompt(len(ids[0]) - 1):
        if shared and heads[0] and how.positions != "all":
            # Tapped, since the tokens of caches that do not count theirs are counted in passing.
            with model.stream.tapped(lambda layer, hidden, where: hidden):
                cache = branched(_run(model, heads), n)
            with model.stream.tapped(add):
                return _decoded(how, ids, multipliers, cache)
        with model.stream.tapped(add):
            cache = _run(model, [prompt[:-1] for prompt in ids])
            return _decoded(how, ids, multipliers, cache)


def _run(model: Model, rows: Sequence[tuple[int, ...]]) -> list[Any]:
    """The prompt cache of ``rows``, of equal length, in pieces that are small enough."""
    cache: list[Any] = make_prompt_cache(model.network)
    width = max(1, tokens_at_a_time() // len(rows))
    for start in range(0, len(rows[0]), width):
        check()
        model.network(mx.array([row[start : start + width] for row in rows]), cache=cache)
        mx.eval(held(cache))
    return cache


def _deltas(model: Model, rows: Sequence[Strength]) -> dict[int, mx.array]:
    """Layer to what is added there, ``(rows, 1, d_model)``."""
    nothing = np.zeros(model.d_model, np.float32)
    layers = sorted({layer for row in rows for layer in row.deltas})
    return {layer: mx.array(np.stack([row.deltas.get(layer, nothing) for row in rows]))[:, None] for layer in layers}


def _decoded(
    how: Decoding, prompts: Sequence[tuple[int, ...]], multipliers: Sequence[float], cache: list[Any]
) -> list[Row]:
    """The rows of a batch whose ``cache`` holds all of each prompt but its last token."""
    model = how.model
    ends = model.wrapped_tokenizer.eos_token_ids
    answers: list[list[int]] = [[] for _ in prompts]
    kept: list[list[NDArray[np.float32]]] = [[] for _ in prompts]
    draws = [_draws(how.seed, prompt, m) for prompt, m in zip(prompts, multipliers, strict=True)]
    alive = list(range(len(prompts)))
    stopped: set[int] = set()
    tokens = np.array([prompt[-1] for prompt in prompts])
    for step in range(model.room(len(prompts[0]), how.max_tokens)):
        check()
        logits = model.network(mx.array(tokens[:, None]), cache=cache)[:, -1]
        # In the network's dtype, as mlx-lm does: rounding decides between tokens that are nearly as probable.
        log_p = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
        greedy = mx.argmax(log_p, axis=-1)
        broken = mx.isnan(log_p).any(axis=-1)
        mx.eval(greedy, broken)
        if np.array(broken)[alive].any():
            raise model.not_finite()
        tokens = np.array(greedy).astype(np.int64)
        if step < COMPARED or how.temperature > 0:
            values = np.array(log_p.astype(mx.float32))
            for i in alive:
                if step < COMPARED:
                    kept[i].append(values[i])
                if how.temperature > 0:
                    tokens[i] = drawn(values[i], how.temperature, draws[i].random())
        for i in alive:
            if int(tokens[i]) in ends:
                stopped.add(i)
            else:
                answers[i].append(int(tokens[i]))
        # Rows that ended run on with the others, unread.
        alive = [i for i in alive if i not in stopped]
        if not alive:
            break
    return [Row(tuple(ids), "stop" if i in stopped else "length", np.array(kept[i])) for i, ids in enumerate(answers)]


def drawn(log_p: NDArray[np.float32], temperature: float, uniform: float) -> int:
    """The token at ``uniform``, in [0, 1), of the cumulated probabilities. ``log_p``: ``(vocabulary,)``."""
    cumulated = np.exp((log_p - log_p.max()).astype(np.float64) / temperature).cumsum()
    return min(int(np.searchsorted(cumulated, uniform * cumulated[-1], side="right")), len(log_p) - 1)


def _draws(seed: int, prompt: Sequence[int], multiplier: float) -> np.random.Generator:
    """Random numbers of one answer, whatever else is in its batch, and however many tokens are asked for."""
    what = {"seed": seed, "prompt": list(prompt), "multiplier": repr(multiplier)}
    return np.random.default_rng(int(digest_object("draws", what).removeprefix("sha256:"), 16))
