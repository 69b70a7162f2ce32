"""How far steering moves the next-token distributions of whole texts, at every layer and multiplier.

All tokens are steered, so that a text has no prompt to share; all else that ``runs`` says holds. Logits are kept of one
text at a time, on each core.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from caa_registry.engine.caches import branching_cache, windows
from caa_registry.engine.likelihoods import logits_from
from caa_registry.engine.logits import (
    Answer,
    Logits,
    Normalizers,
    divergences,
    log_probabilities_of,
    normalizers,
)
from caa_registry.engine.plan import Group
from caa_registry.engine.runs import NOTHING, Base, Runs, Values
from caa_registry.engine.steps import Worked
from caa_registry.models.model import Model
from caa_registry.progress import Progress, silent
from caa_registry.steering.additions import Addition, steering

# So many tokens show whether a text is entered rightly, where no window of attention drops any of them later.
_SHOWN = 32


@dataclass(frozen=True, eq=False)
class Part:
    """One text at one layer; ``layer`` ``None``: unsteered.

    ``kl`` and ``log_p``: float64 ``(multipliers,)``, unsteered ``(1,)``: KL(unsteered || steered) and the
    log-probability of the next token, in nats, both summed over the positions that have a next token. ``whole``: by
    whole texts.
    """

    layer: int | None
    text: int
    kl: NDArray[np.float64]
    log_p: NDArray[np.float64]
    whole: bool = False

    @property
    def places(self) -> set[tuple[int | None, int]]:
        """The text with the layer."""
        return {(self.layer, self.text)}


@dataclass(frozen=True)
class Work:
    """What is run. ``texts``: token ids, at least two each. ``vectors``: layer to float32 ``(d_model,)``.
    ``multipliers``: none of them 0, and at least one where there is a vector. ``done``: layers and texts whose parts an
    earlier call gave, checked there, which are not run again. ``only``: the texts that are run, by default all."""

    model: Model
    texts: Sequence[Sequence[int]]
    vectors: Mapping[int, NDArray[np.float32]]
    multipliers: Sequence[float]
    done: frozenset[tuple[int | None, int]] = frozenset()
    only: frozenset[int] | None = None

    def missing(self, text: int) -> list[int | None]:
        """The layers at which a text is still to be run; ``None``: unsteered."""
        if self.only is not None and text not in self.only:
            return []
        return [layer for layer in (None, *self.vectors) if (layer, text) not in self.done]


def run_entered(work: Work, give: Callable[[Part], None], progress: Progress = silent) -> None:
    """Hand every part to ``give``, from one thread at a time: each text unsteered, and at each layer.

    ``progress`` counts token-blocks, those of what is done among them. Raises ``DifferentError`` before ``give`` is
    called where the check fails.
    """
    _Runs(work, give, progress).all()


def run_whole(work: Work) -> Iterator[Part]:
    """The same parts, the whole text run at every layer and multiplier."""
    for text, ids in enumerate(work.texts):
        missing = work.missing(text)
        if not missing:
            continue
        answer = _answer(ids)
        unsteered = _Unsteered.of(answer, _whole(work.model, answer))
        for layer in missing:
            if layer is None:
                yield replace(_part(None, text, unsteered.values), whole=True)
                continue
            vector, values = work.vectors[layer], []
            for multiplier in work.multipliers:
                with steering(work.model, [Addition(layer, vector, multiplier)], "all"):
                    values.append(unsteered.compared(_whole(work.model, answer)))
            yield replace(_part(layer, text, np.concatenate(values)), whole=True)


@dataclass(frozen=True, eq=False)
class _Unsteered:
    """A text without steering: logits float32 ``(1, tokens, vocabulary)``, their normalizers, and the next tokens."""

    logits: Logits
    normalizers: Normalizers
    targets: NDArray[np.intp]

    @classmethod
    def of(cls, answer: Answer, logits: Logits) -> _Unsteered:
        return cls(logits, normalizers(logits), np.array(answer.targets, dtype=np.intp))

    @functools.cached_property
    def log_p(self) -> NDArray[np.float64]:
        """Of the next tokens, ``(tokens,)``."""
        (log_p,) = log_probabilities_of(self.logits, self.normalizers, self.targets)
        return np.asarray(log_p)

    @property
    def values(self) -> Values:
        """As ``compared`` gives of itself."""
        return np.stack([np.zeros_like(self.log_p), self.log_p])[None]

    def compared(self, steered: Logits) -> Values:
        """KL and log-probabilities of steered logits ``(rows, tokens, vocabulary)``: ``(rows, 2, tokens)``."""
        own = normalizers(steered)
        kl = divergences(self.logits, self.normalizers, steered, own)
        return np.stack([kl, log_probabilities_of(steered, own, self.targets)], axis=1)


class _Runs(Runs[Part, _Unsteered]):
    """Texts, one in a group. What is read is ``(rows, 2, tokens)``: KL and log-probabilities."""

    whole_differs = "a steered text is entered"

    def __init__(self, work: Work, give: Callable[[Part], None], progress: Progress) -> None:
        answers = [_answer(ids) for ids in work.texts]
        additions = {
            layer: [Addition(layer, vector, multiplier) for multiplier in work.multipliers]
            for layer, vector in work.vectors.items()
        }
        super().__init__(work.model, answers, 1, additions, "all", give, work.done, work.only, progress)
        longest = max((len(answer.ids) for answer in answers), default=0)
        dropping = any(window < longest for window in windows(branching_cache(self.network)))
        self.shown = longest if dropping else _SHOWN
        self.texts = [text for text in range(len(answers)) if work.missing(text)]

    def planned(self) -> list[Group]:
        # What takes longest comes first.
        order = sorted(self.texts, key=lambda i: -len(self.answers[i].ids))
        return [Group(0, 0, (i,)) for i in order]

    def unsteered_tokens(self, question: int) -> int:
        return 0

    def read_unsteered(self, answers: Sequence[Answer], logits: Logits) -> _Unsteered:
        return _Unsteered.of(answers[0], logits)

    def read(self, base: Base[_Unsteered], rows: Sequence[int], logits: Logits) -> Values:
        return base.values.compared(logits)

    def checked_values(self, base: Base[_Unsteered], layer: int, worked: Worked) -> Values:
        self.check_entered(layer, self._entered(base, layer), self.unsteered_log_p(base.values))
        return self.steered(base, layer, self.rows, worked)

    def _entered(self, base: Base[_Unsteered], layer: int) -> Values:
        """Log-probabilities of the beginning of a text that is entered behind ``layer``, with nothing added."""
        short = self._beginning(*base.answers)
        begun = replace(base, answers=(short,), streams={layer: base.streams[layer][:, : len(short.ids)]})
        return _Unsteered.of(short, self.steered_logits(begun, layer, [NOTHING])).log_p[None]

    def _beginning(self, answer: Answer) -> Answer:
        return replace(answer, ids=answer.ids[: self.shown], targets=answer.targets[: self.shown])

    def unsteered_log_p(self, values: _Unsteered) -> Values:
        return values.log_p[None, : self.shown]

    def log_p(self, row: Values) -> Values:
        log_p: Values = row[None, 1, : self.shown]
        return log_p

    def whole_log_p(self, answers: Sequence[Answer]) -> Values:
        short = self._beginning(*answers)
        return _Unsteered.of(short, _whole(self.model, short)).log_p[None]

    def part(self, base: Base[_Unsteered], layer: int | None, values: Values | None) -> Part:
        return _part(layer, base.group.pairs[0], base.values.values if values is None else values)


def _answer(ids: Sequence[int]) -> Answer:
    """A text as what is run of it: every token but the last, each predicting the next."""
    return Answer(tuple(ids[:-1]), 0, 0, tuple(ids[1:]), either=False)


def _whole(model: Model, answer: Answer) -> Logits:
    """The logits of a text run whole, ``(1, tokens, vocabulary)``, under whatever steering context is open."""
    return logits_from(model, [answer.ids], [answer.prompt_end], 0)


def _part(layer: int | None, text: int, values: Values) -> Part:
    kl, log_p = values.sum(axis=2).T
    return Part(layer, text, kl, log_p)
