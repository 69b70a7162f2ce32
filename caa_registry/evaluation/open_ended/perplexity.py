"""How likely the unsteered model finds a text that was generated under steering."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from caa_registry.engine.likelihoods import Answer, log_probabilities
from caa_registry.errors import UsageError
from caa_registry.models.model import Model

MOST_NATS = 700.0
"""A cross-entropy beyond this has no perplexity that a float holds."""


@dataclass(frozen=True)
class Continuation:
    """Token ids of a rendered prompt (at least one) and of what comes behind it, without an end token."""

    prompt: tuple[int, ...]
    ids: tuple[int, ...]


def mean_log_probabilities(model: Model, texts: Sequence[Continuation]) -> list[float | None]:
    """The mean log-probability of each text's tokens given its prompt, in nats a token; ``None`` for an empty text.

    Its negative is the cross-entropy; perplexity is ``exp`` of that. Whole texts, in batches. Raises ``UsageError``
    where the model is steered, ``ModelError`` where its values are not finite.
    """
    if model.stream.tapped_now:
        raise UsageError("the model is steered", "Take the perplexity outside of the steering context.")
    answers = [
        Answer((*text.prompt, *text.ids[:-1]), len(text.prompt) - 1, len(text.prompt) - 1, text.ids, either=False)
        for text in texts
        if text.ids
    ]
    sums = log_probabilities(model, answers)[:, 0] if answers else np.empty(0)
    if np.isnan(sums).any():
        raise model.not_finite()
    each = iter(sums.tolist())
    return [next(each) / len(text.ids) if text.ids else None for text in texts]


def perplexity(mean_log_probability: float) -> float:
    """``exp`` of the cross-entropy in nats a token: 1 is certain. At most ``exp(700)``, which JSON can hold."""
    return math.exp(min(-mean_log_probability, MOST_NATS))
