"""How far two next-token distributions are apart, and how likely the text's own tokens are, from logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Numbers of one piece, so that what is made of them in float64 stays in the processor's caches.
_AT_ONCE = 1 << 16


def normalizers(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """``log(sum(exp(logits)))`` over the last axis, float64, as are exponentials and sum. No number where logits
    are none."""
    flat = logits.reshape(-1, logits.shape[-1])
    found = np.empty(len(flat))
    for piece in _pieces(len(flat), flat.shape[-1]):
        values = flat[piece].astype(np.float64)
        top = values.max(axis=-1, keepdims=True)
        with np.errstate(invalid="ignore"):
            found[piece] = top[:, 0] + np.log(np.exp(values - top).sum(axis=-1))
    return found.reshape(logits.shape[:-1])


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
    found = steered_log_z - log_z
    for piece in _pieces(*unsteered.shape):
        values = unsteered[piece].astype(np.float64)
        p = np.exp(values - log_z[piece, None])
        impossible = np.nonzero(p == 0)
        for row, logits in enumerate(steered):
            with np.errstate(invalid="ignore"):
                gaps = values - logits[piece]
            gaps[impossible] = 0.0
            found[row, piece] += np.einsum("tv,tv->t", p, gaps)
    # What is below 0 is rounding.
    return np.maximum(found, 0.0)


def _pieces(tokens: int, vocabulary: int) -> list[slice]:
    size = max(1, _AT_ONCE // vocabulary)
    return [slice(first, first + size) for first in range(0, tokens, size)]
