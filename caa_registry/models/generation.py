"""Text and next tokens out of a network, steered where a steering context is open."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from mlx_lm import stream_generate
from mlx_lm.models.cache import KVCache, make_prompt_cache
from numpy.typing import NDArray

from caa_registry import mx_thread
from caa_registry.display.records import Record
from caa_registry.errors import UsageError
from caa_registry.models.rendering.prompts import PromptTokens
from caa_registry.models.stream import Positions, ResidualStream
from caa_registry.models.weights import on_cpu
from caa_registry.mx import mx

Sampler = Callable[[mx.array], Any]


class NotFiniteError(Exception):
    """A network computed values that are not finite."""


@dataclass(frozen=True)
class NextToken(Record):
    """One candidate for the next token. ``probability`` is over the whole vocabulary; ``logit``: what the network gives
    for it."""

    id: int
    text: str
    probability: float
    logit: float


def next_tokens(
    logits: NDArray[np.floating], decode: Callable[[list[int]], str], top: int, ids: Sequence[int] = ()
) -> list[NextToken]:
    """Of ``logits`` ``(vocabulary,)``, finite: the tokens ``ids``, else the ``top`` most probable, most probable
    first."""
    wide = logits.astype(np.float64)
    probabilities = np.exp(wide - wide.max())
    probabilities /= probabilities.sum()
    chosen = ids or np.argsort(-wide, kind="stable")[:top]
    return [NextToken(int(i), decode([int(i)]), float(probabilities[i]), float(wide[i])) for i in chosen]


def check_top(top: int) -> None:
    """``UsageError`` unless at least one token is to be listed."""
    if top < 1:
        raise UsageError(f"{top} tokens cannot be listed", "Ask for at least one.")


def check_sampling(max_tokens: int, temperature: float) -> None:
    """``UsageError`` unless there is something to generate, at a temperature of 0 (greedy) or more."""
    if max_tokens < 1:
        raise UsageError(f"{max_tokens} tokens cannot be generated", "Ask for at least one.")
    if not 0 <= temperature < math.inf:
        raise UsageError(f"{temperature} is not a temperature", "Give 0 (greedy) or more.")


def sampler(temperature: float, seed: int | None) -> Sampler:
    """From log-probabilities ``(rows, vocabulary)`` to tokens ``(rows,)``: the most probable at temperature 0, else
    drawn. A sampler has random numbers of its own, those of ``mx.random.seed(seed)``."""
    if temperature == 0:
        return lambda log_p: mx.argmax(log_p, axis=-1)
    key = mx.random.key(secrets.randbits(63) if seed is None else seed)

    def draw(log_p: mx.array) -> mx.array:
        nonlocal key
        key, own = mx.random.split(key)
        return mx.random.categorical(log_p * (1 / temperature), key=own)

    return draw


@contextmanager
def stoppable(stream: ResidualStream) -> Iterator[None]:
    """On a CPU, compute texts block by block while the context lasts, and stop between blocks where nobody waits any
    more. Single tokens are left to run ahead."""

    def computed(layer: int, hidden: mx.array, where: Positions) -> mx.array:
        if hidden.shape[1] > 1:
            mx_thread.check()
            mx.eval(hidden)
        return hidden

    if not on_cpu():
        yield
        return
    with stream.tapped(computed):
        yield


def cache_of(network: Any, tokens: int) -> list[Any]:
    """A fresh prompt cache that grows by ``tokens`` at a time, mlx-lm's own by 256."""
    cache: list[Any] = make_prompt_cache(network)
    for entry in cache:
        if type(entry) is KVCache:
            entry.step = tokens
    return cache


def cached_text(
    network: Any, tokenizer: Any, prompt: PromptTokens, max_tokens: int, sampler: Sampler, piece: int
) -> Iterator[str]:
    """Text piece by piece, until an end token or ``max_tokens``. ``piece``: how many tokens of the prompt are run
    together. Raises ``NotFiniteError``."""
    for response in stream_generate(
        _until(network, len(prompt.ids) + max_tokens - 1),
        tokenizer,
        list(prompt.ids),
        max_tokens=max_tokens,
        sampler=sampler,
        prefill_step_size=piece,
        prompt_cache=cache_of(network, min(KVCache.step, len(prompt.ids) + max_tokens)),
        # What other texts are computed on between two pieces of this one: nothing is to be set back for them.
        stream=mx.default_stream(mx.default_device()),
    ):
        if mx.isnan(response.logprobs).any().item():
            raise NotFiniteError
        yield response.text


def _until(network: Any, tokens: int) -> Callable[..., Any]:
    """``network``, which after so many ``tokens`` computes nothing: mlx-lm runs it once more than it has to."""
    left = tokens

    def logits(tokens: mx.array, **others: Any) -> Any:
        nonlocal left
        if left < 1:
            return mx.zeros((1, 1, 1))
        left -= tokens.shape[1]
        return network(tokens, **others)

    return logits


def uncached_text(
    network: Any, tokenizer: Any, prompt: PromptTokens, max_tokens: int, sampler: Sampler
) -> Iterator[str]:
    """The same text, all of it run again for every token."""
    detokenizer = tokenizer.detokenizer
    detokenizer.reset()
    ids = list(prompt.ids)
    for _ in range(max_tokens):
        logits = network(mx.array([ids]), cache=make_prompt_cache(network))[:, -1]
        log_p = logits - mx.logsumexp(logits, keepdims=True)
        if mx.isnan(log_p).any().item():
            raise NotFiniteError
        token = int(sampler(log_p).item())
        if token in tokenizer.eos_token_ids:
            break
        ids.append(token)
        detokenizer.add_token(token)
        yield detokenizer.last_segment
    detokenizer.finalize()
    yield detokenizer.last_segment
