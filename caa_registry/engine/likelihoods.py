"""The log-probabilities of answers, of texts that are run whole, and how logits are computed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from caa_registry import mx_thread
from caa_registry.engine.caches import branching_cache, held
from caa_registry.engine.checks import entered
from caa_registry.engine.kernels import fast_kernels
from caa_registry.engine.logits import Answer, Logits, read_answers
from caa_registry.engine.plan import batches
from caa_registry.engine.steps import building, evaluate, rows_of_logits, stepped
from caa_registry.models.memory import allowed_memory
from caa_registry.models.model import Model
from caa_registry.mx import mx

# Logits and tokens of one batch stay below these numbers.
_LOGITS_PER_BATCH = 1 << 26
_TOKENS_PER_BATCH = 2048
BYTES_PER_LOGIT = 16
"""What is made of a logit, generously."""


def log_probabilities(model: Model, answers: Sequence[Answer]) -> NDArray[np.float64]:
    """Those that ``read_answers`` gives, float64 ``(answers, 2 or 1)``, under whatever steering context is open.

    Whole texts, shortest first, in batches; no logits are computed before the first that a batch needs.
    """
    return mx_thread.run(_log_probabilities, model, answers)


def _log_probabilities(model: Model, answers: Sequence[Answer]) -> NDArray[np.float64]:
    log_p: list[NDArray[np.float64]] = [np.empty(0)] * len(answers)
    for batch in batches([len(answer.ids) for answer in answers], tokens=at_a_time(model)):
        mx_thread.check()
        chosen = [answers[i] for i in batch]
        first = min(answer.first for answer in chosen)
        logits = logits_from(model, [answer.ids for answer in chosen], [answer.prompt_end for answer in chosen], first)
        reading = read_answers(chosen, logits, [answer.first - first for answer in chosen])
        for i, row in zip(batch, reading.log_p, strict=True):
            log_p[i] = row
    return np.array(log_p)


def at_a_time(model: Model, memory: int | None = None, *, holding: bool = False) -> int:
    """How many tokens are run at a time where each may need its logits, in ``memory`` bytes, by default all that may be
    used. ``holding``: as many logits more are held meanwhile."""
    memory = allowed_memory() if memory is None else memory
    vocabulary = model.stream.vocabulary

    def fits(tokens: int) -> bool:
        return tokens * vocabulary * (BYTES_PER_LOGIT + 4 * holding) + model.shapes.needed(1, tokens) <= memory

    most = max(1, min(_TOKENS_PER_BATCH, _LOGITS_PER_BATCH // vocabulary))
    return most if fits(most) else max(1, bisect_left(range(most), True, key=lambda tokens: not fits(tokens)) - 1)


def logits_from(model: Model, rows: Sequence[Sequence[int]], prompt_ends: Sequence[int], first: int) -> Logits:
    """Logits from position ``first`` on, float32 ``(rows, tokens - first, vocabulary)``, evaluated.

    What comes before is run into the cache only, so that no logits are computed there.
    """

    def logits_of(part: mx.array) -> mx.array:
        return stepped(model.stream, lambda: model.network(part, cache=cache).astype(mx.float32))

    with fast_kernels(), model.rows(rows, prompt_ends) as (tokens, cache):
        height, length = tokens.shape
        if first > 0:
            stepped(model.stream, lambda: model.network(tokens[:, :first], cache=cache), lambda: held(cache))
        size = max(1, rows_of_logits(model.stream) // height)
        if length - first <= size:
            return logits_of(tokens[:, first:])
        logits = np.empty((height, length - first, model.stream.vocabulary), np.float32)
        for start in range(first, length, size):
            part = slice(start - first, start - first + size)
            logits[:, part] = np.array(logits_of(tokens[:, start : start + size]), copy=False)
        return logits


def logits_behind(model: Model, hidden: mx.array) -> Logits:
    """The logits of ``hidden``, the stream behind the last block, ``(rows, positions, d_model)``, evaluated: float32
    ``(rows, positions, vocabulary)``, so many at a time as make a step."""
    rows, positions, width = hidden.shape
    flat, logits = hidden.reshape(1, -1, width), np.empty((rows * positions, model.stream.vocabulary), np.float32)
    # Pieces of one size: a short one takes nearly as long.
    size = -(-len(logits) // -(-len(logits) // rows_of_logits(model.stream)))
    for part in (slice(first, first + size) for first in range(0, len(logits), size)):
        with building, model.stream.prompt(0), entered(model, model.n_layers - 1, flat[:, part]):
            tokens = mx.zeros((1, len(logits[part])), mx.int32)
            values: mx.array = model.network(tokens, cache=branching_cache(model.network)).astype(mx.float32)
        evaluate([], values)
        logits[part] = np.array(values[0], copy=False)
    return logits.reshape(rows, positions, -1)
