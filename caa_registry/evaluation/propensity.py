"""Propensity: how strongly a model, steered or not, tends to the matching answer.

For one item p(matching) / (p(matching) + p(not matching)); the mean over items is the score. Over the letters A and
B it is the paper's (Rimsky et al. 2024, section 4): both probabilities are those of one token, read after ``(``. Yes
and No are scored alike. For free text the two probabilities are the likelihoods of the whole completions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import caa_registry.models.blas  # noqa: F401  (before MLX, which takes the BLAS that is there)

import mlx.core as mx
import numpy as np
from numpy.typing import ArrayLike, NDArray

from caa_registry.errors import InputError
from caa_registry.models.batching import batches
from caa_registry.models.generation import not_finite
from caa_registry.models.model import Model
from caa_registry.models.prompts import CompletedTokens, Template
from caa_registry.pairs.answers import form_of, letter_of
from caa_registry.pairs.record import Pair

Metric = Literal["propensity", "propensity_completion"]

# Logits of one batch stay below this many numbers.
_LOGITS_PER_BATCH = 1 << 26


def propensity_of(log_p_matching: ArrayLike, log_p_other: ArrayLike) -> NDArray[np.float64]:
    """Per item p(matching) / (p(matching) + p(other)), from the two log-probabilities (or logits: only their
    difference counts), through tanh: exact at both ends, no overflow. Shapes as given."""
    gap = np.asarray(log_p_matching, dtype=np.float64) - np.asarray(log_p_other, dtype=np.float64)
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * gap)))


BEYOND_LETTERS = 0.0
"""What the paper scores an item whose matching letter is beyond A and B."""


def other_letter(letter: str) -> str | None:
    """The letter that the paper's score sets against ``letter``: B for A, A for B, ``None`` beyond them."""
    return {"A": "B", "B": "A"}.get(letter)


@dataclass(frozen=True)
class Item:
    """One question ready to be scored.

    ``matching`` and ``other`` are the two answers as tokens; ``shared`` is the number of leading tokens they have in
    common. ``fixed`` is a score that does not depend on the model (the paper's 0).
    """

    matching: CompletedTokens
    other: CompletedTokens
    shared: int
    fixed: float | None = None


@dataclass(frozen=True)
class ItemSet:
    """Items of one metric, and how many are not as the others.

    ``beyond``: their matching letter is beyond A and B; left out, or with ``paper`` counted as 0. Left out too:
    ``too_long``, which exceed the model's context, and ``unscorable``, whole texts that differ in their first token
    where the tokenizer sets none before it: nothing predicts that token.
    """

    metric: Metric
    items: tuple[Item, ...]
    beyond: int = 0
    too_long: int = 0
    unscorable: int = 0


def prepare(pairs: Sequence[Pair], template: Template, model: Model, *, paper: bool = False) -> ItemSet:
    """Pairs as items of the metric that fits them: ``propensity`` where all are letters or Yes/No, else
    ``propensity_completion``.

    Raises ``InputError`` where nothing can be scored.
    """
    metric: Metric = "propensity" if all(form_of(pair) != "free-form" for pair in pairs) else "propensity_completion"
    items: list[Item] = []
    beyond = too_long = unscorable = 0
    for pair in pairs:
        positive, negative, fixed = pair.positive, pair.negative, None
        letter = letter_of(pair.positive) if metric == "propensity" else None
        if letter is not None:
            # The paper scores the letters A and B, whatever other letters an item offers.
            other = other_letter(letter)
            if other is None:
                beyond += 1
                if not paper:
                    continue
                fixed = BEYOND_LETTERS
            else:
                negative = pair.positive.replace(letter, other)
        item = _item(pair, positive, negative, template, fixed)
        if fixed is None and not model.fits(max(len(item.matching.ids), len(item.other.ids))):
            too_long += 1
        elif fixed is None and item.shared == 0:
            unscorable += 1
        else:
            items.append(item)
    if not items:
        raise InputError(
            f"none of {len(pairs)} pairs can be scored ({beyond} with a letter beyond A/B, {too_long} too long for the "
            f"model, {unscorable} whole texts that differ in their first token, which nothing predicts)",
            "Choose another dataset, split or model.",
        )
    return ItemSet(metric, tuple(items), beyond, too_long, unscorable)


def _item(pair: Pair, positive: str, negative: str, template: Template, fixed: float | None) -> Item:
    matching = template.complete(pair.prompt, positive, pair.system)
    other = template.complete(pair.prompt, negative, pair.system)
    shared = 0
    for a, b in zip(matching.ids, other.ids, strict=False):
        if a != b:
            break
        shared += 1
    return Item(matching, other, shared, fixed)


def score(model: Model, items: ItemSet) -> NDArray[np.float64]:
    """Per-item propensity, float64 ``(items,)``, under whatever steering context is open.

    Raises ``ModelError`` where the model's logits are not numbers.
    """
    scorer = _score_tokens if items.metric == "propensity" else _score_completions
    scores = scorer(model, items.items)
    if not np.isfinite(scores).all():
        raise not_finite(model)
    return scores


def _score_tokens(model: Model, items: Sequence[Item]) -> NDArray[np.float64]:
    """Over the first token in which the two answers differ, read after all that they share."""
    scores = np.array([item.fixed if item.fixed is not None else np.nan for item in items])
    open_items = [i for i, item in enumerate(items) if item.fixed is None]
    for item in (items[i] for i in open_items):
        if not 0 < item.shared < min(len(item.matching.ids), len(item.other.ids)):
            raise InputError(
                "the two answers of an item cannot be told apart by one token of this model's tokenizer",
                "Choose another template.",
            )
    prefixes = [items[i].matching.ids[: items[i].shared] for i in open_items]
    for batch in _logit_batches(model, [len(ids) for ids in prefixes]):
        chosen = [items[open_items[i]] for i in batch]
        rows = [prefixes[i] for i in batch]
        first = min(len(ids) for ids in rows) - 1
        logits = _logits_from(model, rows, [item.matching.prompt_end for item in chosen], first)
        for i, item, ids, row in zip(batch, chosen, rows, logits, strict=True):
            values = row[len(ids) - 1 - first].astype(np.float64)
            pair = values[item.matching.ids[item.shared]], values[item.other.ids[item.shared]]
            scores[open_items[i]] = propensity_of(*pair)
    return scores


def _score_completions(model: Model, items: Sequence[Item]) -> NDArray[np.float64]:
    """Over the summed log-probabilities of each completion's tokens."""
    sides = [side for item in items for side in (item.matching, item.other)]
    log_likelihood = np.zeros(len(sides))
    for batch in _logit_batches(model, [len(side.ids) for side in sides]):
        chosen = [sides[i] for i in batch]
        # The first token of a text without a prompt has nothing before it and is not scored.
        starts = [max(side.start, 1) for side in chosen]
        first = min(starts) - 1
        logits = _logits_from(model, [side.ids for side in chosen], [side.prompt_end for side in chosen], first)
        for i, side, start, row in zip(batch, chosen, starts, logits, strict=True):
            values = row[start - 1 - first : len(side.ids) - 1 - first].astype(np.float64)
            targets = np.array(side.ids[start:], dtype=np.int64)
            top = values.max(axis=1, keepdims=True)
            normalizer = top[:, 0] + np.log(np.exp(values - top).sum(axis=1))
            log_likelihood[i] = (values[np.arange(len(targets)), targets] - normalizer).sum()
    return propensity_of(log_likelihood[0::2], log_likelihood[1::2])


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


def _logit_batches(model: Model, lengths: Sequence[int]) -> list[list[int]]:
    # The longest tail of a batch is bounded by its longest row.
    vocabulary = len(model.tokenizer)
    return list(batches(lengths, tokens=max(1, min(2048, _LOGITS_PER_BATCH // vocabulary))))
