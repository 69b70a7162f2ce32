"""Text and next tokens out of a model, steered where a steering context is open."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from mlx_lm import stream_generate
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.sample_utils import make_sampler

from caa_registry.errors import ModelError, UsageError
from caa_registry.models.prompts import PromptTokens
from caa_registry.mx import mx

if TYPE_CHECKING:
    from caa_registry.models.model import Model

Sampler = Callable[[mx.array], Any]


@dataclass(frozen=True)
class NextToken:
    """One candidate for the next token. ``probability`` is over the whole vocabulary."""

    id: int
    text: str
    probability: float


def check_sampling(max_tokens: int, temperature: float) -> None:
    """``UsageError`` unless there is something to generate, at a temperature of 0 (greedy) or more."""
    if max_tokens < 1:
        raise UsageError(f"{max_tokens} tokens cannot be generated", "Ask for at least one.")
    if not 0 <= temperature < math.inf:
        raise UsageError(f"{temperature} is not a temperature", "Give 0 (greedy) or more.")


def stream_text(
    model: Model, prompt: PromptTokens, *, max_tokens: int, temperature: float, seed: int | None, cache: bool
) -> Iterator[str]:
    """Text piece by piece, until an end token or ``max_tokens``."""
    if seed is not None:
        mx.random.seed(seed)
    sampler = make_sampler(temp=temperature)
    segments = (_cached if cache else _uncached)(model, prompt, max_tokens, sampler)
    while True:
        # Announced for each step alone: between two steps another text of this model may be under way, and an
        # abandoned text is closed whenever it is collected.
        with model.stream.prompt(prompt.end):
            segment = next(segments, None)
        if segment is None:
            return
        if segment:
            yield segment


def _cached(model: Model, prompt: PromptTokens, max_tokens: int, sampler: Sampler) -> Iterator[str]:
    for response in stream_generate(
        model.network, model.wrapped_tokenizer, list(prompt.ids), max_tokens=max_tokens, sampler=sampler
    ):
        if mx.isnan(response.logprobs).any().item():
            raise not_finite(model)
        yield response.text


def _uncached(model: Model, prompt: PromptTokens, max_tokens: int, sampler: Sampler) -> Iterator[str]:
    detokenizer = model.wrapped_tokenizer.detokenizer
    detokenizer.reset()
    ids = list(prompt.ids)
    for _ in range(max_tokens):
        logits = model.network(mx.array([ids]), cache=make_prompt_cache(model.network))[:, -1]
        logprobs = logits - mx.logsumexp(logits, keepdims=True)
        if mx.isnan(logprobs).any().item():
            raise not_finite(model)
        token = int(sampler(logprobs).item())
        if token in model.wrapped_tokenizer.eos_token_ids:
            break
        ids.append(token)
        detokenizer.add_token(token)
        yield detokenizer.last_segment
    detokenizer.finalize()
    yield detokenizer.last_segment


def not_finite(model: Model) -> ModelError:
    """The error for logits that are not numbers."""
    return ModelError(
        f"{model.info.name} computes values that are not finite in {model.dtype}",
        "Steer less strongly, or load the model in float32 or bfloat16.",
    )


def next_tokens(model: Model, prompt: PromptTokens, top: int) -> list[NextToken]:
    """The most probable next tokens, most probable first."""
    with model.rows([prompt.ids], [prompt.end]) as (tokens, cache):
        # As in generation, the last token runs alone: no logits are computed for the others.
        if len(prompt.ids) > 1:
            model.network(tokens[:, :-1], cache=cache)
        logits = model.network(tokens[:, -1:], cache=cache)[0, -1]
    probabilities = np.array(mx.softmax(logits.astype(mx.float32)))
    if not np.isfinite(probabilities).all():
        raise not_finite(model)
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [NextToken(int(i), model.tokenizer.decode([int(i)]), float(probabilities[i])) for i in order]
