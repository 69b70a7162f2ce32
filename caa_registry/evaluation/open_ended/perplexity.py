"""How likely the unsteered model finds a text that was generated under steering."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry import mx_thread
from caa_registry.engine.checks import DifferentError
from caa_registry.engine.likelihoods import log_probabilities
from caa_registry.engine.logits import Answer
from caa_registry.engine.sweeps import Arm, Parts, Sweep, run_steered
from caa_registry.errors import UsageError
from caa_registry.evaluation.inference.intervals import Interval
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

    Its negative is the cross-entropy; perplexity is ``exp`` of that. What several texts continue is run once. Raises
    ``UsageError`` where the model is steered, ``ModelError`` where its values are not finite.
    """
    if model.stream.tapped_now:
        raise UsageError("the model is steered", "Take the perplexity outside of the steering context.")
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for i, text in enumerate(texts):
        if text.ids:
            by_prompt.setdefault(text.prompt, []).append(i)
    sums = np.zeros(len(texts))
    # Prompts with as many continuations go together.
    for count in sorted({len(continued) for continued in by_prompt.values()}):
        indexes = [i for continued in by_prompt.values() if len(continued) == count for i in continued]
        sums[indexes] = _log_probabilities(model, [_answer(texts[i]) for i in indexes], count)
    if np.isnan(sums).any():
        raise model.not_finite()
    return [total / len(text.ids) if text.ids else None for text, total in zip(texts, sums.tolist(), strict=True)]


def _answer(text: Continuation) -> Answer:
    last = len(text.prompt) - 1
    return Answer((*text.prompt, *text.ids[:-1]), last, last, text.ids, either=False)


def _log_probabilities(model: Model, answers: Sequence[Answer], ends: int) -> NDArray[np.float64]:
    """Of each of ``answers``, of which ``ends`` neighbours continue one prompt."""
    log_p = np.full((len(answers) // ends, ends), np.nan)

    def take(parts: Parts) -> None:
        (part,) = parts
        log_p[list(part.questions)] = part.log_p[:, 0]

    try:
        mx_thread.run(run_steered, Sweep(model, answers, ends, [Arm({}, [])], "after_prompt"), take)
    except DifferentError:
        return log_probabilities(model, answers)[:, 0]
    return log_p.ravel()


def perplexity(mean_log_probability: float) -> float:
    """``exp`` of the cross-entropy in nats a token: 1 is certain. At most ``exp(700)``, which JSON can hold."""
    return math.exp(min(-mean_log_probability, MOST_NATS))


def perplexity_of(mean_log_probability: Interval) -> Interval:
    """The perplexity with its interval. From the least likely to the most likely: the ends change places."""
    low, high = (None if x is None else perplexity(x) for x in (mean_log_probability.high, mean_log_probability.low))
    return Interval(perplexity(mean_log_probability.value), low, high, mean_log_probability.n)
