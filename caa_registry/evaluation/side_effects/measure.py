"""Side effects on neutral text: how far next-token distributions move, and what becomes of the perplexity.

Every token of a text is steered, the start token included: positions ``all``. A text that is no answer has no prompt,
so that ``after_prompt`` with an empty one steers the same tokens. What is measured is the mean over tokens; intervals
resample passages, since tokens of one passage are alike.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry import mx_thread
from caa_registry.engine.checks import DifferentError
from caa_registry.engine.likelihoods import at_a_time
from caa_registry.engine.texts import Part, Work, run_entered, run_whole
from caa_registry.errors import InputError
from caa_registry.evaluation.inference.intervals import Interval, bounded, ratio
from caa_registry.evaluation.open_ended.perplexity import perplexity_of
from caa_registry.evaluation.shards import ALL, Shard, missing, places
from caa_registry.evaluation.side_effects.neutral_text import NeutralText
from caa_registry.models.model import Model
from caa_registry.progress import Progress, silent
from caa_registry.vectors import VectorSet

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TokenizedText:
    """The passages that can be measured on one model: ``ids``, the tokens of each, and ``names``, those of the set.

    Left out are those of ``too_long``, for the context, for memory or for what is held of logits at a time, and those
    of ``too_short``, where no token comes after another.
    """

    names: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    too_long: tuple[str, ...] = ()
    too_short: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class SideEffects:
    """What a vector does at one layer and multiplier.

    ``kl_sums`` and ``log_p_sums``: float64 ``(passages,)``, in nats, KL(unsteered || steered) and the log-probability
    of the next token, summed over the ``tokens``, int ``(passages,)``, that have one before them.
    """

    layer: int
    multiplier: float
    kl_sums: NDArray[np.float64]
    log_p_sums: NDArray[np.float64]
    tokens: NDArray[np.intp]

    @property
    def kl(self) -> Interval:
        """Nats per token. ``n`` is the number of passages. At multiplier 0 it is 0."""
        return bounded(ratio(self.kl_sums, self.tokens), 0.0, math.inf)

    @property
    def perplexity(self) -> Interval:
        """``exp`` of the mean negative log-likelihood per token, at most ``exp(700)``. ``n`` counts passages."""
        return perplexity_of(ratio(self.log_p_sums, self.tokens))


def tokenized(model: Model, text: NeutralText) -> TokenizedText:
    """The passages as tokens: bare text, with the start token where the tokenizer sets one, in no conversation.

    A warning says how many are too long, and for what. Raises ``InputError`` where none can be measured.
    """
    template = model.template("plain")
    longest, logits = model.longest(), at_a_time(model)
    # The last token of a text is not run.
    most = logits + 1 if longest.holds(logits) else 1 + (longest.tokens or 0)
    limit = "memory" if longest.holds(logits) or longest.limit == "memory" else "the model's context"
    names, ids, too_long, too_short = [], [], [], []
    for passage in text.passages:
        tokens = template.complete("", passage.text).ids
        if len(tokens) < 2:
            too_short.append(passage.id)
        elif len(tokens) > most:
            too_long.append(passage.id)
        else:
            names.append(passage.id)
            ids.append(tokens)
    if not names:
        raise InputError(
            f"none of {len(text.passages)} passages can be measured on {model.info.name} ({len(too_long)} too long, "
            f"{len(too_short)} of a single token)",
            f"Passages of 2 to {most} tokens are measured, by what {limit} holds; divide longer ones.",
            source=text.name,
        )
    if too_long:
        _log.warning(
            "%d of %d passages are left out, longer than the %d tokens that %s holds.",
            *(len(too_long), len(text.passages), most, limit),
        )
    return TokenizedText(tuple(names), tuple(ids), tuple(too_long), tuple(too_short))


def measure(
    model: Model,
    vectors: VectorSet,
    text: TokenizedText,
    layers: Sequence[int],
    multipliers: Sequence[float],
    progress: Progress = silent,
    *,
    kept: Sequence[Part] = (),
    keep: Callable[[Part], None],
    shard: Shard = ALL,
) -> None:
    """Measure the ``shard``'s passages: ``keep`` gets what is computed of each at each layer as soon as it is.

    Its ``text`` counts the passages of ``text``, its multipliers are those of ``multipliers`` that are not 0; 0 is the
    unsteered model, run once. ``kept`` are the parts of an interrupted call with the same arguments, which are not run
    again. ``progress`` counts work, of one token through one block.

    Of each passage only what steering changes is run (``engine.runs``); where an architecture computes something else
    in that way, whole texts are, and a warning says so. Raises ``ModelError`` where logits are not numbers.
    """
    model.check_layers(layers)
    steered = [multiplier for multiplier in multipliers if multiplier != 0]
    chosen = {layer: vectors[layer].values for layer in layers} if steered else {}
    done = frozenset((part.layer, part.text) for part in kept)
    only = shard.questions(len(text.ids))
    work = Work(model, text.ids, chosen, steered, done, only)

    def found(part: Part) -> None:
        if not (np.isfinite(part.kl).all() and np.isfinite(part.log_p).all()):
            raise model.not_finite()
        keep(part)

    if not missing(places(only, chosen, multipliers), kept):
        return
    try:
        if any(part.whole for part in kept):
            raise DifferentError(f"{model.info.architecture} could not be run otherwise before")
        at_caller = mx_thread.at_caller
        mx_thread.run(run_entered, work, at_caller(found), at_caller(progress))
    except DifferentError as error:
        _log.warning("%s, so every text is run whole at every layer and multiplier.", error)
        total = sum(len(work.missing(passage)) for passage in range(len(text.ids)))
        progress(0, total)
        for count, part in enumerate(mx_thread.each(run_whole, work), start=1):
            found(part)
            progress(count, total)


def joined(
    text: TokenizedText, layers: Sequence[int], multipliers: Sequence[float], parts: Iterable[Part]
) -> list[SideEffects]:
    """Side effects at every layer and multiplier, in that order, from parts that hold every place."""
    steered = [i for i, multiplier in enumerate(multipliers) if multiplier != 0]
    unsteered = [i for i, multiplier in enumerate(multipliers) if multiplier == 0]
    kl = np.zeros((len(layers), len(multipliers), len(text.ids)))
    log_p = np.full(kl.shape, np.nan)
    for part in parts:
        for i, layer in enumerate(layers):
            if part.layer in (None, layer):
                columns = unsteered if part.layer is None else steered
                kl[i, columns, part.text], log_p[i, columns, part.text] = part.kl, part.log_p
    tokens = np.array([len(ids) - 1 for ids in text.ids], dtype=np.intp)
    return [
        SideEffects(layer, multiplier, kl[i, j], log_p[i, j], tokens)
        for i, layer in enumerate(layers)
        for j, multiplier in enumerate(multipliers)
    ]
