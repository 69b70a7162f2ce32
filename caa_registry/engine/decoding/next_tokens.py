"""The logits of a prompt's next token at every layer and multiplier of a vector.

The prompt is run once as far as the first steered token, and for a layer only the blocks above it: ``engine.runs`` says
how, and how that is checked. Where an architecture computes something else in that way, the prompt is run whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry import mx_thread
from caa_registry.engine.checks import DifferentError
from caa_registry.engine.likelihoods import logits_from
from caa_registry.engine.logits import Answer, Logits, normalizers
from caa_registry.engine.plan import Group
from caa_registry.engine.runs import Base, Runs, Values
from caa_registry.models.model import Model
from caa_registry.models.rendering.prompts import PromptTokens
from caa_registry.progress import silent
from caa_registry.steering.additions import Addition, steering
from caa_registry.steering.positions import SteeredPositions

_log = logging.getLogger(__name__)

Part = tuple[int | None, Values]
"""A layer (``None``: unsteered) and the logits there, ``(multipliers, vocabulary)``, unsteered ``(1, vocabulary)``."""


@dataclass(frozen=True, eq=False)
class Work:
    """What is run: ``prompt`` at each layer of ``vectors``, float32 ``(d_model,)``, times each of ``multipliers``."""

    model: Model
    prompt: PromptTokens
    vectors: Mapping[int, NDArray[np.float32]]
    multipliers: Sequence[float]
    positions: SteeredPositions

    @property
    def additions(self) -> dict[int, list[Addition]]:
        """What is added at each layer, each by itself."""
        if not self.multipliers:
            return {}
        return {
            layer: [Addition(layer, vector, multiplier) for multiplier in self.multipliers]
            for layer, vector in self.vectors.items()
        }

    @property
    def answer(self) -> Answer:
        """The prompt as what is run: nothing but the logits of its last position are read."""
        ids = self.prompt.ids
        return Answer(ids, self.prompt.end, len(ids) - 1, (), either=True)


def next_logits(work: Work, give: Callable[[int | None, Values], None]) -> None:
    """Hand the logits to ``give``, unsteered first and layer by layer.

    Raises ``UsageError`` and ``ModelMismatchError`` as ``steering.additions`` does, before anything is run.
    """
    try:
        mx_thread.run(_run, work, mx_thread.at_caller(give))
    except DifferentError as error:
        _log.warning("%s, so the prompt is run whole at every layer and multiplier.", error)
        for layer, logits in mx_thread.each(_whole, work):
            give(layer, logits)


def _run(work: Work, give: Callable[[int | None, Values], None]) -> None:
    _Runs(work, lambda part: give(*part)).all()


def _whole(work: Work) -> Iterator[Part]:
    yield None, _last(work.model, work.answer)
    for layer, additions in work.additions.items():
        rows = []
        for addition in additions:
            mx_thread.check()
            with steering(work.model, [addition], work.positions):
                rows.append(_last(work.model, work.answer))
        yield layer, np.concatenate(rows)


def _last(model: Model, answer: Answer) -> Values:
    """The logits after the prompt run whole, ``(1, vocabulary)``, under whatever steering context is open."""
    return _rows(logits_from(model, [answer.ids], [answer.prompt_end], answer.first))


def _rows(logits: Logits) -> Values:
    """Of ``(rows, 1, vocabulary)``: ``(rows, vocabulary)``."""
    return np.array(logits)[:, -1].astype(np.float64)


def _log_softmax(rows: Values) -> Values:
    return np.asarray(rows - normalizers(rows.astype(np.float32)).logarithms[:, None])


class _Runs(Runs[Part, Values]):
    """One question, the prompt. What is read is ``(rows, vocabulary)``: logits."""

    whole_differs = "a prompt is run once"

    def __init__(self, work: Work, give: Callable[[Part], None]) -> None:
        answers = [work.answer]
        super().__init__(work.model, answers, 1, work.additions, work.positions, give, frozenset(), None, silent)

    def planned(self) -> list[Group]:
        return [Group(0, self.unsteered_tokens(0), (0,))]

    def unsteered_tokens(self, question: int) -> int:
        # The prompt's last token is read whether it is steered or not.
        return 0 if self.positions == "all" else self.answers[question].first

    def read_unsteered(self, answers: Sequence[Answer], logits: Logits) -> Values:
        return _rows(logits)

    def read(self, base: Base[Values], rows: Sequence[int], logits: Logits) -> Values:
        return _rows(logits)

    def unsteered_log_p(self, values: Values) -> Values:
        return _log_softmax(values)

    def log_p(self, row: Values) -> Values:
        return _log_softmax(row[None])

    def whole_log_p(self, answers: Sequence[Answer]) -> Values:
        return _log_softmax(_last(self.model, *answers))

    def part(self, base: Base[Values], layer: int | None, values: Values | None) -> Part:
        return layer, base.values if values is None else values
