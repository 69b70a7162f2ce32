"""What is read off logits: the log-probabilities of answers, and how far two next-token distributions are apart.

A row of logits has as many numbers as a vocabulary, 128,000 and more, and becomes one number before it is handed on.
That is done where the row lies: by MLX on a GPU; on a CPU by numpy, without a copy, since its float32 exponentials are
the fastest there. What is added up over positions is float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caa_registry.models.weights import on_cpu
from caa_registry.mx import mx

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


@dataclass(frozen=True, eq=False)
class Normalizers:
    """Of each position the largest logit, float32, and the sum of ``exp(logit - largest)``, float64."""

    largest: NDArray[np.float32]
    sums: NDArray[np.float64]

    @property
    def logarithms(self) -> NDArray[np.float64]:
        """``log(sum(exp(logits)))``; no number where logits are none."""
        return self.largest.astype(np.float64) + np.log(self.sums)


@dataclass(frozen=True, eq=False)
class Readout:
    """What is read of answers of one kind.

    ``log_p``: natural log-probabilities, float64 ``(answers, 2)``: of the matching answer and of all others together;
    or ``(answers, 1)``: of the whole completion. ``first``: whether the most probable token at the first place of each
    is one of its targets there, bool ``(answers,)``. ``places``: where they are read, as positions of all rows one
    behind the other, ascending; ``counts``: how many of them each answer has; ``normalizers``: those there.
    """

    log_p: NDArray[np.float64]
    first: NDArray[np.bool_]
    places: NDArray[np.intp]
    counts: NDArray[np.intp]
    normalizers: Normalizers


def read_answers(answers: Sequence[Answer], logits: Logits, starts: Sequence[int] | None = None) -> Readout:
    """All answers are of one kind.

    ``logits``: float32 ``(answers, positions, vocabulary)``, evaluated. ``starts``: which position is the ``first`` of
    each answer, by default 0. What is beyond an answer's positions is left alone.
    """
    starts = starts or [0] * len(answers)
    targets = [
        (row, start + (0 if answer.either else i), token)
        for row, (answer, start) in enumerate(zip(answers, starts, strict=True))
        for i, token in enumerate(answer.targets)
    ]
    rows, positions, tokens = np.array(targets, dtype=np.intp).T
    flat = _flat(logits)
    # Both answers of a question may be read at one position.
    places, which = np.unique(rows * logits.shape[1] + positions, return_inverse=True)
    own, numbers = _normalizers(flat, places), _numbers(flat, places[which], tokens)
    counts = np.bincount(places // logits.shape[1], minlength=len(answers))
    largest = np.zeros(len(places), bool)
    largest[which[numbers == own.largest[which]]] = True
    first = largest[np.cumsum(counts) - counts]
    log_p = numbers - own.logarithms[which]
    by_answer = np.split(log_p, np.cumsum([len(answer.targets) for answer in answers])[:-1])
    if not answers[0].either:
        return Readout(np.array([[of.sum()] for of in by_answer]), first, places, counts, own)
    with np.errstate(invalid="ignore"):  # what is not a number is reported where it becomes a score
        summed = np.array([[of[0], np.logaddexp.reduce(of[1:])] for of in by_answer])
    return Readout(summed, first, places, counts, own)


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
    rows, tokens, _ = steered.shape
    places = np.arange(tokens)
    return divergences_at(
        (unsteered, places, Normalizers(normalizers.largest[0], normalizers.sums[0])),
        (steered, tokens * np.arange(rows)[:, None] + places, steered_normalizers),
    )


Placed = tuple[Logits, NDArray[np.intp], Normalizers]
"""Logits ``(rows, positions, vocabulary)``, places among the positions of all rows, and the normalizers there."""


def divergences_at(unsteered: Placed, steered: Placed) -> NDArray[np.float64]:
    """What ``divergences`` gives at some places, ascending: ``(places,)`` of ``unsteered``, ``(rows, places)`` of
    ``steered``."""
    # sum p log(p / q), where each logarithm is a logit less the largest and less the logarithm of a sum. What is added
    # up is small where p and q are alike, so that float32 rounds little.
    before, places, own = _flat(unsteered[0]), unsteered[1], unsteered[2]
    after, others, theirs = _flat(steered[0]), steered[1], steered[2]
    xp = _library(before)
    kl = np.empty(others.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        shifts = np.log(own.sums / theirs.sums).astype(np.float32)
        for piece in _pieces(len(places), before.shape[-1]):
            values = _at(before, places[piece]) - _like(before, own.largest[piece, None])
            p = xp.exp(values)
            impossible = values == -np.inf
            some_impossible = bool(impossible.any())
            for row in range(len(others)):
                moved = _at(after, others[row, piece]) - _like(before, theirs.largest[row, piece, None])
                terms = p * (values - moved - _like(before, shifts[row, piece, None]))
                terms = xp.where(impossible, 0.0, terms) if some_impossible else terms
                kl[row, piece] = _sums(terms) / own.sums[piece]
    # What is below 0 is rounding.
    return np.maximum(kl, 0.0)


def divergences_of(
    unsteered: Logits, before: Readout, steered: Logits, after: Readout, first: int
) -> NDArray[np.float64]:
    """KL(unsteered || steered) in nats, summed over the places of each answer, float64 ``(first, answers)``.

    ``unsteered``: logits ``(answers, positions, vocabulary)``; ``steered``: as many positions of n rows an answer, side
    by side, of which the ``first`` are compared; each with what was read of it, at the same places of every row.
    """
    positions = steered.shape[1]
    n = steered.shape[0] // len(before.counts)
    rows, at = np.divmod(before.places, positions)
    others = (rows * n + np.arange(first)[:, None]) * positions + at
    own = np.searchsorted(after.places, others)
    theirs = Normalizers(after.normalizers.largest[own], after.normalizers.sums[own])
    kl = divergences_at((unsteered, before.places, before.normalizers), (steered, others, theirs))
    return np.add.reduceat(kl, np.cumsum(before.counts) - before.counts, axis=1)


def _at(flat: Any, places: NDArray[np.intp]) -> Any:
    """The rows of ``flat`` at ``places``, ascending; neighbours are not copied."""
    if places[-1] - places[0] == len(places) - 1:
        return flat[int(places[0]) : int(places[-1]) + 1]
    return flat[_like(flat, places)]


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
