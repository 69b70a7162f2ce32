"""Text and next tokens out of a model, steered where a steering context is open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np
from mlx_lm import stream_generate
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.sample_utils import make_sampler

from caa_registry.models.prompts import PromptTokens

if TYPE_CHECKING:
    from caa_registry.models.model import Model


@dataclass(frozen=True)
class NextToken:
    """One candidate for the next token. ``probability`` is over the whole vocabulary."""

    id: int
    text: str
    probability: float


def stream_text(
    model: Model, prompt: PromptTokens, *, max_tokens: int, temperature: float, seed: int | None, cache: bool
) -> Iterator[str]:
    """Text piece by piece, until an end token or ``max_tokens``."""
    if seed is not None:
        mx.random.seed(seed)
    sampler = make_sampler(temp=temperature)
    with model.stream.prompt(prompt.end):
        if cache:
            for response in stream_generate(
                model.network, model.wrapped_tokenizer, list(prompt.ids), max_tokens=max_tokens, sampler=sampler
            ):
                if response.text:
                    yield response.text
            return
        detokenizer = model.wrapped_tokenizer.detokenizer
        detokenizer.reset()
        ids = list(prompt.ids)
        for _ in range(max_tokens):
            logits = model.network(mx.array([ids]), cache=make_prompt_cache(model.network))[:, -1]
            token = int(sampler(logits - mx.logsumexp(logits, keepdims=True)).item())
            if token in model.wrapped_tokenizer.eos_token_ids:
                break
            ids.append(token)
            detokenizer.add_token(token)
            if segment := detokenizer.last_segment:
                yield segment
        detokenizer.finalize()
        if segment := detokenizer.last_segment:
            yield segment


def next_tokens(model: Model, prompt: PromptTokens, top: int) -> list[NextToken]:
    """The most probable next tokens, most probable first."""
    with model.rows([prompt.ids], [prompt.end]) as (tokens, cache):
        logits = model.network(tokens, cache=cache)[0, -1]
    probabilities = np.array(mx.softmax(logits.astype(mx.float32)))
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [NextToken(int(i), model.tokenizer.decode([int(i)]), float(probabilities[i])) for i in order]
