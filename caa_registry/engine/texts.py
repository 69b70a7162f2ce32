"""How far steering moves the next-token distributions of whole texts, at every layer and multiplier.

All tokens are steered, so that a text has no prompt to share; all else that ``runs`` says holds. Logits are kept of one
text at a time, on each core.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry.engine.likelihoods import Answer, divergences, log_probabilities_of, normalizers
from caa_registry.engine.plan import Group
from caa_registry.engine.runs import Base, Runs, Values
from caa_registry.models.model import Model
from caa_registry.mx import mx
from caa_registry.steering.additions import Addition, steering


@dataclass(frozen=True, eq=False)
class Part:
    """One text at one layer; ``layer`` ``None``: unsteered.

    ``kl`` and ``log_p``: float64 ``(multipliers,)``, unsteered ``(1,)``: KL(unsteered || steered) and the
    log-probability of the next token, in nats, both summed over the positions that have a next token.
    """

    layer: int | None
    text: int
    kl: NDArray[np.float64]
    log_p: NDArray[np.float64]


@dataclass(frozen=True)
class Work:
    """What is run. ``texts``: token ids, at least two each. ``vectors``: layer to float32 ``(d_model,)``.
    ``multipliers``: none of them 0, and at least one where there is a vector."""

    model: Model
    texts: Sequence[Sequence[int]]
    vectors: Mapping[int, NDArray[np.float32]]
    multipliers: Sequence[float]


def run_entered(work: Work, give: Callable[[Part], None]) -> None:
    """Hand every part to ``give``, from one thread at a time: each text unsteered, and at each layer.

    Raises ``DifferentError`` before ``give`` is called where the check fails.
    """
    _Runs(work, give).all()


def run_whole(work: Work) -> Iterator[Part]:
    """The same parts, the whole text run at every layer and multiplier."""
    for text, ids in enumerate(work.texts):
        answer = _answer(ids)
        unsteered = _Unsteered.of(answer, _whole(work.model, answer))
        yield _part(None, text, unsteered.values)
        for layer, vector in work.vectors.items():
            values = []
            for multiplier in work.multipliers:
                with steering(work.model, [Addition(layer, vector, multiplier)], "all"):
                    values.append(unsteered.compared(_whole(work.model, answer)[None]))
            yield _part(layer, text, np.concatenate(values))


@dataclass(frozen=True, eq=False)
class _Unsteered:
    """A text without steering: logits float32 ``(tokens, vocabulary)``, their normalizers, and the next tokens."""

    logits: NDArray[np.float32]
    log_z: NDArray[np.float64]
    targets: NDArray[np.intp]

    @classmethod
    def of(cls, answer: Answer, logits: NDArray[np.float32]) -> _Unsteered:
        return cls(logits, normalizers(logits), np.array(answer.targets, dtype=np.intp))

    @functools.cached_property
    def log_p(self) -> NDArray[np.float64]:
        """Of the next tokens, ``(tokens,)``."""
        return log_probabilities_of(self.logits, self.log_z, self.targets)

    @property
    def values(self) -> Values:
        """As ``compared`` gives of itself."""
        return np.stack([np.zeros_like(self.log_p), self.log_p])[None]

    def compared(self, steered: NDArray[np.float32]) -> Values:
        """KL and log-probabilities of steered logits ``(rows, tokens, vocabulary)``: ``(rows, 2, tokens)``."""
        log_z = normalizers(steered)
        kl = divergences(self.logits, self.log_z, steered, log_z)
        return np.stack([kl, log_probabilities_of(steered, log_z, self.targets)], axis=1)


class _Runs(Runs[Part, _Unsteered]):
    """Texts, one in a group. What is read is ``(deltas, 2, tokens)``: KL and log-probabilities."""

    whole_differs = "a steered text is entered"

    def __init__(self, work: Work, give: Callable[[Part], None]) -> None:
        answers = [_answer(ids) for ids in work.texts]
        vectors = {layer: vector[None] for layer, vector in work.vectors.items()}
        super().__init__(work.model, answers, 1, vectors, work.multipliers, "all", give, set())

    def planned(self) -> list[Group]:
        # What takes longest comes first.
        order = sorted(range(len(self.answers)), key=lambda i: -len(self.answers[i].ids))
        return [Group(0, 0, (i,)) for i in order]

    def read_unsteered(self, answers: Sequence[Answer], logits: NDArray[np.float32]) -> _Unsteered:
        return _Unsteered.of(answers[0], logits[0])

    def read(self, base: Base[_Unsteered], logits: NDArray[np.float32]) -> Values:
        return base.values.compared(logits[0])

    def unsteered_log_p(self, values: _Unsteered) -> Values:
        return values.log_p

    def log_p(self, row: Values) -> Values:
        log_p: Values = row[1]
        return log_p

    def whole_log_p(self, base: Base[_Unsteered]) -> Values:
        (answer,) = base.answers
        return _Unsteered.of(answer, _whole(self.model, answer)).log_p

    def part(self, base: Base[_Unsteered], layer: int | None, values: Values | None) -> Part:
        return _part(layer, base.group.pairs[0], base.values.values if values is None else values)


def _answer(ids: Sequence[int]) -> Answer:
    """A text as what is run of it: every token but the last, each predicting the next."""
    return Answer(tuple(ids[:-1]), 0, 0, tuple(ids[1:]), either=False)


def _whole(model: Model, answer: Answer) -> NDArray[np.float32]:
    """The logits of a text run whole, ``(tokens, vocabulary)``, under whatever steering context is open."""
    with model.rows([answer.ids], [answer.prompt_end]) as (tokens, cache):
        logits = model.network(tokens, cache=cache).astype(mx.float32)
    values: NDArray[np.float32] = np.array(logits)[0]
    return values


def _part(layer: int | None, text: int, values: Values) -> Part:
    kl, log_p = values.sum(axis=2).T
    return Part(layer, text, kl, log_p)
