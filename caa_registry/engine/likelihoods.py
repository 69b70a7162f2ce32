"""What is read off logits: the log-probabilities of answers, and how far two next-token distributions are apart.

A row of logits has as many numbers as a vocabulary, 128,000 and more, and becomes one number before it is handed on.
That is done where the row lies: by MLX on a GPU; on a CPU by numpy, without a copy, since its float32 exponentials are
the fastest there. What is added up over positions is float64.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caa_registry import mx_thread
from caa_registry.engine.caches import branching_cache, held
from caa_registry.engine.checks import entered
from caa_registry.engine.plan import batches
from caa_registry.engine.steps import building, evaluate, rows_of_logits, stepped
from caa_registry.models.memory import allowed_memory
from caa_registry.models.model import Model
from caa_registry.models.weights import on_cpu
from caa_registry.mx import mx

# Logits of one batch stay below this many numbers, and what is made of each below so many bytes. So do its tokens.
_LOGITS_PER_BATCH = 1 << 26
_TOKENS_PER_BATCH = 2048
_BYTES_PER_LOGIT = 16
# Numbers of one piece: on a CPU what is made of them stays in the processor's caches.
_CPU_PIECE = 1 << 16
_GPU_PIECE = 1 << 24


Logits = mx.array | NDArray[np.float32]
"""Logits that are computed. Where there are many, on a CPU, they are put together outside of MLX."""


@dataclass(frozen=True)
class Answer:
    """A text that is run as far as ``ids``, and what is read of the logits from position ``first`` on.

    ``either``: position ``first`` is the last, and ``targets`` are the tokens of the matching answer and of all others.
    Else ``targets`` are the tokens of one completion, each predicted one position earlier, beginning at ``first``.
    """

    ids: tuple[int, ...]
    prompt_end: int
    first: int
    targets: tuple[int, ...]
    either: bool


def read_answers(answers: Sequence[Answer], logits: Logits, starts: Sequence[int] | None = None) -> NDArray[np.float64]:
    """Natural log-probabilities, float64 ``(answers, 2)``: of the matching answer and of all others together; or
    ``(answers, 1)``: of the whole completion. All answers are of one kind.

    ``logits``: float32 ``(answers, positions, vocabulary)``, evaluated. ``starts``: which position is the ``first`` of
    each answer, by default 0. What is beyond an answer's positions is left alone.
    """
    starts = starts or [0] * len(answers)
    places = [
        (row, start + (0 if answer.either else i), token)
        for row, (answer, start) in enumerate(zip(answers, starts, strict=True))
        for i, token in enumerate(answer.targets)
    ]
    rows, positions, tokens = np.array(places, dtype=np.intp).T
    flat = _flat(logits)
    # Both answers of a question may be read at one position.
    chosen, which = np.unique(rows * logits.shape[1] + positions, return_inverse=True)
    log_p = _numbers(flat, chosen[which], tokens) - _normalizers(flat, chosen).logarithms[which]
    by_answer = np.split(log_p, np.cumsum([len(answer.targets) for answer in answers])[:-1])
    if not answers[0].either:
        return np.array([[of.sum()] for of in by_answer])
    with np.errstate(invalid="ignore"):  # what is not a number is reported where it becomes a score
        return np.array([[of[0], np.logaddexp.reduce(of[1:])] for of in by_answer])


def log_probabilities(model: Model, answers: Sequence[Answer]) -> NDArray[np.float64]:
    """What ``read_answers`` gives, float64 ``(answers, 2 or 1)``, under whatever steering context is open.

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
        for i, row in zip(batch, read_answers(chosen, logits, [a.first - first for a in chosen]), strict=True):
            log_p[i] = row
    return np.array(log_p)


def at_a_time(model: Model, memory: int | None = None) -> int:
    """How many tokens are run at a time where each may need its logits, in ``memory`` bytes, by default all that may be
    used."""
    memory = allowed_memory() if memory is None else memory
    vocabulary = model.stream.vocabulary

    def fits(tokens: int) -> bool:
        return tokens * vocabulary * _BYTES_PER_LOGIT + model.shapes.needed(1, tokens) <= memory

    most = max(1, min(_TOKENS_PER_BATCH, _LOGITS_PER_BATCH // vocabulary))
    return most if fits(most) else max(1, bisect_left(range(most), True, key=lambda tokens: not fits(tokens)) - 1)


def logits_from(model: Model, rows: Sequence[Sequence[int]], prompt_ends: Sequence[int], first: int) -> Logits:
    """Logits from position ``first`` on, float32 ``(rows, tokens - first, vocabulary)``, evaluated.

    What comes before is run into the cache only, so that no logits are computed there.
    """

    def logits_of(part: mx.array) -> mx.array:
        logits: mx.array = stepped(model.stream, lambda: model.network(part, cache=cache).astype(mx.float32))
        return logits

    with model.rows(rows, prompt_ends) as (tokens, cache):
        height, length = tokens.shape
        if first > 0:
            stepped(model.stream, lambda: model.network(tokens[:, :first], cache=cache), lambda _: held(cache))
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


@dataclass(frozen=True, eq=False)
class Normalizers:
    """Of each position the largest logit, float32, and the sum of ``exp(logit - largest)``, float64."""

    largest: NDArray[np.float32]
    sums: NDArray[np.float64]

    @property
    def logarithms(self) -> NDArray[np.float64]:
        """``log(sum(exp(logits)))``; no number where logits are none."""
        return self.largest.astype(np.float64) + np.log(self.sums)


def normalizers(logits: Logits) -> Normalizers:
    """Those over the last axis of float32 ``(..., vocabulary)``, evaluated. Exponentials are float32 and at most 1,
    which makes logarithms exact to 1e-6."""
    flat, shape = _flat(logits), logits.shape[:-1]
    each = _normalizers(flat, np.arange(len(flat)))
    return Normalizers(each.largest.reshape(shape), each.sums.reshape(shape))


def log_probabilities_of(logits: Logits, normalizers: Normalizers, targets: NDArray[np.intp]) -> NDArray[np.float64]:
    """Of each position's target token: natural logarithm, float64 ``(..., tokens)``.

    ``logits``: float32 ``(..., tokens, vocabulary)``, evaluated, with its ``normalizers``; ``targets``: ``(tokens,)``.
    """
    log_z = normalizers.logarithms
    chosen = np.broadcast_to(targets, log_z.shape).ravel()
    return _numbers(_flat(logits), np.arange(len(chosen)), chosen).reshape(log_z.shape) - log_z


def divergences(
    unsteered: Logits, normalizers: Normalizers, steered: Logits, steered_normalizers: Normalizers
) -> NDArray[np.float64]:
    """KL(unsteered || steered) at each position in nats, float64 ``(rows, tokens)``, over the whole vocabulary.

    ``unsteered``: logits ``(1, tokens, vocabulary)``; ``steered``: ``(rows, tokens, vocabulary)``; both float32 and
    evaluated, with their ``normalizers``. Equal logits give exactly 0. A token that is impossible without steering
    adds nothing.
    """
    # sum p log(p / q), where each logarithm is a logit less the largest and less the logarithm of a sum. What is added
    # up is small where p and q are alike, so that float32 rounds little.
    rows, tokens, vocabulary = steered.shape
    before, after = _flat(unsteered), _flat(steered)
    xp = _library(before)
    kl = np.empty((rows, tokens))
    with np.errstate(invalid="ignore", divide="ignore"):
        shifts = np.log(normalizers.sums / steered_normalizers.sums).astype(np.float32)
        for piece in _pieces(tokens, vocabulary):
            values = before[piece] - _like(before, normalizers.largest[0, piece, None])
            p = xp.exp(values)
            impossible = values == -np.inf
            some_impossible = bool(impossible.any())
            for row in range(rows):
                others = after[row * tokens + piece.start : row * tokens + piece.stop]
                ratios = values - (others - _like(before, steered_normalizers.largest[row, piece, None]))
                terms = p * (ratios - _like(before, shifts[row, piece, None]))
                terms = xp.where(impossible, 0.0, terms) if some_impossible else terms
                kl[row, piece] = _sums(terms) / normalizers.sums[0, piece]
    # What is below 0 is rounding.
    return np.maximum(kl, 0.0)


def _flat(logits: Logits) -> Any:
    """``(positions, vocabulary)``: on a CPU a numpy array that shares the memory, else MLX's."""
    if isinstance(logits, np.ndarray):
        return logits.reshape(-1, logits.shape[-1])
    if on_cpu():
        return np.array(logits, copy=False).reshape(-1, logits.shape[-1])
    return logits.reshape(-1, logits.shape[-1])


def _library(flat: Any) -> Any:
    return np if isinstance(flat, np.ndarray) else mx


def _like(flat: Any, values: NDArray[Any]) -> Any:
    return values if isinstance(flat, np.ndarray) else mx.array(values)


def _numbers(flat: Any, positions: NDArray[np.intp], tokens: NDArray[np.intp]) -> NDArray[np.float64]:
    return np.array(flat[_like(flat, positions), _like(flat, tokens)]).astype(np.float64)


def _normalizers(flat: Any, positions: NDArray[np.intp]) -> Normalizers:
    """Those of some ``positions``."""
    xp = _library(flat)
    largest, sums = np.empty(len(positions), np.float32), np.empty(len(positions))
    with np.errstate(invalid="ignore"):
        for piece in _pieces(len(positions), flat.shape[-1]):
            values = flat[_like(flat, positions[piece])]
            top = values.max(axis=-1, keepdims=True)
            largest[piece], sums[piece] = np.array(top[:, 0]), _sums(xp.exp(values - top))
    return Normalizers(largest, sums)


def _sums(terms: Any) -> NDArray[np.float64]:
    """The sum of each row of float32 ``(positions, vocabulary)``. MLX's are sums of sums, of as many terms each, since
    it may add one after the other, which would round a hundred thousand times; numpy sees to that itself."""
    if isinstance(terms, np.ndarray):
        return np.asarray(terms.sum(axis=-1), dtype=np.float64)
    positions, vocabulary = terms.shape
    side = math.isqrt(vocabulary)
    square = terms[:, : side * side].reshape(positions, side, side).sum(axis=-1)
    return np.array(square.sum(axis=-1) + terms[:, side * side :].sum(axis=-1)).astype(np.float64)


def _pieces(positions: int, vocabulary: int) -> list[slice]:
    size = max(1, (_CPU_PIECE if on_cpu() else _GPU_PIECE) // vocabulary)
    return [slice(first, min(first + size, positions)) for first in range(0, positions, size)]
