"""What is read off logits: the log-probabilities of answers, and how far two next-token distributions are apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry import mx_thread
from caa_registry.engine.plan import batches
from caa_registry.models.model import Model
from caa_registry.mx import mx

# Logits of one batch stay below this many numbers.
_LOGITS_PER_BATCH = 1 << 26
# Numbers of one piece, so that what is made of them in float64 stays in the processor's caches.
_AT_ONCE = 1 << 16


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

    def read(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """From logits ``(positions, vocabulary)`` to natural log-probabilities, float64: of the matching answer and of
        all others together ``(2,)``, or of the whole completion ``(1,)``. What is beyond the answer's positions is left
        alone."""
        values = logits[: len(self.ids) - self.first]
        top = values.max(axis=1, keepdims=True)
        # Numbers between 0 and 1: float32 is exact enough for their exponentials, and their sum is float64.
        normalizers = top[:, 0].astype(np.float64) + np.log(np.exp(values - top).sum(axis=1, dtype=np.float64))
        places = [0] * len(self.targets) if self.either else range(len(self.targets))
        log_p: NDArray[np.float64] = values[places, self.targets].astype(np.float64) - normalizers[places]
        if not self.either:
            return np.asarray(log_p.sum(keepdims=True))
        with np.errstate(invalid="ignore"):  # what is not a number is reported where it becomes a score
            log_p[1] = np.logaddexp.reduce(log_p[1:])
        return log_p[:2]


def log_probabilities(model: Model, answers: Sequence[Answer]) -> NDArray[np.float64]:
    """What ``Answer.read`` gives of each, float64 ``(answers, 2 or 1)``, under whatever steering context is open.

    Whole texts, shortest first, in batches; no logits are computed before the first that a batch needs.
    """
    return mx_thread.run(_log_probabilities, model, answers)


def _log_probabilities(model: Model, answers: Sequence[Answer]) -> NDArray[np.float64]:
    log_p: list[NDArray[np.float64]] = [np.empty(0)] * len(answers)
    for batch in batches([len(answer.ids) for answer in answers], tokens=at_a_time(model)):
        mx_thread.check()
        chosen = [answers[i] for i in batch]
        first = min(answer.first for answer in chosen)
        logits = _logits_from(model, [answer.ids for answer in chosen], [answer.prompt_end for answer in chosen], first)
        for i, answer, row in zip(batch, chosen, logits, strict=True):
            log_p[i] = answer.read(row[answer.first - first :])
    return np.array(log_p)


def at_a_time(model: Model) -> int:
    """How many tokens are run at a time where each may need its logits."""
    return max(1, min(2048, _LOGITS_PER_BATCH // len(model.tokenizer)))


def _logits_from(
    model: Model, rows: Sequence[Sequence[int]], prompt_ends: Sequence[int], first: int
) -> NDArray[np.float32]:
    """Logits from position ``first`` on, float32 ``(rows, tokens - first, vocabulary)``.

    What comes before is run into the cache only, so that no logits are computed there.
    """
    with model.rows(rows, prompt_ends) as (tokens, cache):
        if first > 0:
            model.network(tokens[:, :first], cache=cache)
        logits = model.network(tokens[:, first:], cache=cache)
    return np.array(logits.astype(mx.float32))


def normalizers(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """``log(sum(exp(logits)))`` over the last axis, float64, as are exponentials and sum. No number where logits
    are none."""
    flat = logits.reshape(-1, logits.shape[-1])
    log_z = np.empty(len(flat))
    for piece in _pieces(len(flat), flat.shape[-1]):
        values = flat[piece].astype(np.float64)
        top = values.max(axis=-1, keepdims=True)
        with np.errstate(invalid="ignore"):
            log_z[piece] = top[:, 0] + np.log(np.exp(values - top).sum(axis=-1))
    return log_z.reshape(logits.shape[:-1])


def log_probabilities_of(
    logits: NDArray[np.float32], log_z: NDArray[np.float64], targets: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Of each position's target token: natural logarithm, float64 ``(..., tokens)``.

    ``logits``: ``(..., tokens, vocabulary)``; ``log_z``: its ``normalizers``; ``targets``: ``(tokens,)``.
    """
    chosen = np.take_along_axis(logits, np.broadcast_to(targets, log_z.shape)[..., None], axis=-1)
    return chosen[..., 0].astype(np.float64) - log_z


def divergences(
    unsteered: NDArray[np.float32],
    log_z: NDArray[np.float64],
    steered: NDArray[np.float32],
    steered_log_z: NDArray[np.float64],
) -> NDArray[np.float64]:
    """KL(unsteered || steered) at each position in nats, float64 ``(rows, tokens)``, over the whole vocabulary.

    ``unsteered``: logits ``(tokens, vocabulary)``; ``steered``: ``(rows, tokens, vocabulary)``; with their
    ``normalizers``. Equal logits give exactly 0. A token that is impossible without steering adds nothing.
    """
    # sum p (log p - log q), where each logarithm is a logit less a normalizer and the sum of p is 1.
    kl = steered_log_z - log_z
    for piece in _pieces(*unsteered.shape):
        values = unsteered[piece].astype(np.float64)
        p = np.exp(values - log_z[piece, None])
        impossible = np.nonzero(p == 0)
        for row, logits in enumerate(steered):
            with np.errstate(invalid="ignore"):
                gaps = values - logits[piece]
            gaps[impossible] = 0.0
            kl[row, piece] += np.einsum("tv,tv->t", p, gaps)
    # What is below 0 is rounding.
    return np.maximum(kl, 0.0)


def _pieces(tokens: int, vocabulary: int) -> list[slice]:
    size = max(1, _AT_ONCE // vocabulary)
    return [slice(first, first + size) for first in range(0, tokens, size)]
