"""Log-probabilities of answers at every layer and multiplier, and how far steering moves what is predicted there.

A prompt is run once, as far as the first token that is steered. Steering all positions leaves no prompt to share; all
else that ``runs`` says holds there too. Where doses are measured, a group's unsteered logits are held while it is run.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from caa_registry import mx_thread
from caa_registry.engine.likelihoods import at_a_time, log_probabilities, logits_from
from caa_registry.engine.logits import Answer, Logits, Readout, divergences_of, read_answers
from caa_registry.engine.plan import Group, batches, evened, groups
from caa_registry.engine.runs import Base, Runs, Values
from caa_registry.engine.schedule import workers
from caa_registry.models.model import Model
from caa_registry.progress import Progress, silent
from caa_registry.steering.additions import Addition, steering
from caa_registry.steering.positions import SteeredPositions


@dataclass(frozen=True, eq=False)
class Part:
    """Some questions at one layer. ``questions``: their indexes; ``log_p``: float64
    ``(questions, vectors * multipliers, answers)``, multipliers of one vector side by side; an answer of ``either``
    kind counts as two. ``layer`` ``None``: unsteered, ``(questions, 1, answers)``. ``whole``: by whole texts.

    Where doses are measured, ``(questions, vectors * multipliers)`` each: ``kl``, KL(unsteered || steered) of the next
    token in nats, float64, the mean over all tokens that are read of a question's answers; and of answers of ``either``
    kind ``answers_first``, whether the most probable token is one of the targets.
    """

    layer: int | None
    questions: tuple[int, ...]
    log_p: NDArray[np.float64]
    whole: bool = False
    kl: NDArray[np.float64] | None = None
    answers_first: NDArray[np.bool_] | None = None

    @property
    def places(self) -> set[tuple[int | None, int]]:
        """Each question with the layer."""
        return {(self.layer, question) for question in self.questions}


@dataclass(frozen=True)
class Sweep:
    """What is run.

    ``answers``: ``ends`` neighbours are one question: 1 where an answer is of ``either`` kind, else as many completions
    of one prompt. ``vectors``: layer to float32 ``(vectors, d_model)``, each run at each of ``multipliers``, none of
    them 0. ``only``: the questions that are run, by default all. ``doses``: whether KL is measured too, and which token
    comes first.
    """

    model: Model
    answers: Sequence[Answer]
    ends: int
    vectors: Mapping[int, NDArray[np.float32]]
    multipliers: Sequence[float]
    positions: SteeredPositions
    only: frozenset[int] | None = None
    doses: bool = False

    @property
    def questions(self) -> list[int]:
        """Those that are run, by index."""
        return sorted(range(len(self.answers) // self.ends) if self.only is None else self.only)

    @property
    def logarithms(self) -> int:
        """How many log-probabilities are read of each answer."""
        return 2 if self.answers[0].either else 1

    def places(self, question: int) -> int:
        """At how many places the answers to a question are read."""
        answers = self.answers[question * self.ends : (question + 1) * self.ends]
        return sum(1 if answer.either else len(answer.targets) for answer in answers)


def run_steered(
    sweep: Sweep, give: Callable[[Part], None], kept: Sequence[Part] = (), progress: Progress = silent
) -> None:
    """Hand every part to ``give``, from one thread at a time: each question unsteered, and at each layer.

    ``kept``: what an earlier call handed out, checked there, which is not run again. ``progress`` counts token-blocks,
    those of ``kept`` among them. Raises ``DifferentError`` before ``give`` is called where the check fails.
    """
    _Runs(sweep, give, kept, progress).all()


def run_whole(sweep: Sweep, kept: Sequence[Part] = ()) -> Iterator[Part]:
    """The same parts, whole texts run at every layer and multiplier, but for those in ``kept``."""
    done = set().union(*(part.places for part in kept))
    for layer in (None, *(sweep.vectors if sweep.multipliers else ())):
        questions = tuple(question for question in sweep.questions if (layer, question) not in done)
        if questions:
            yield replace(_part(sweep, layer, questions, _whole(sweep, layer, questions)), whole=True)


def _whole(sweep: Sweep, layer: int | None, questions: Sequence[int]) -> Values:
    """What is read of ``questions`` at a layer, ``(deltas, answers, numbers)``."""
    answers = [sweep.answers[i * sweep.ends + end] for i in questions for end in range(sweep.ends)]
    values: list[Values] = [np.empty(0)] * len(answers)
    for batch in batches([len(answer.ids) for answer in answers], tokens=at_a_time(sweep.model, holding=sweep.doses)):
        rows = _whole_batch(sweep, layer, [answers[i] for i in batch])
        for i, row in zip(batch, rows.swapaxes(0, 1), strict=True):
            values[i] = row
    return np.stack(values, axis=1)


def _whole_batch(sweep: Sweep, layer: int | None, answers: Sequence[Answer]) -> Values:
    first = min(answer.first for answer in answers)
    starts = [answer.first - first for answer in answers]

    def run() -> tuple[Readout, Logits]:
        mx_thread.check()
        prompt_ends = [answer.prompt_end for answer in answers]
        logits = logits_from(sweep.model, [answer.ids for answer in answers], prompt_ends, first)
        return read_answers(answers, logits, starts), logits

    unsteered = _Unsteered.of(*run(), holding=sweep.doses) if sweep.doses or layer is None else None
    if layer is None:
        assert unsteered is not None
        return unsteered.values[None]
    steered = []
    for vector, multiplier in itertools.product(sweep.vectors[layer], sweep.multipliers):
        with steering(sweep.model, [Addition(layer, vector, multiplier)], sweep.positions):
            reading, logits = run()
        steered.append(reading.log_p[None] if unsteered is None else unsteered.compared(reading, logits))
    return np.concatenate(steered)


@dataclass(frozen=True, eq=False)
class _Unsteered:
    """Answers without steering. ``values``: as ``compared`` gives of themselves, ``(answers, numbers)``. ``held``:
    where doses are measured, how they were read, and of what logits."""

    values: Values
    held: tuple[Readout, Logits] | None

    @classmethod
    def of(cls, reading: Readout, logits: Logits, *, holding: bool) -> _Unsteered:
        if not holding:
            return cls(reading.log_p, None)
        nothing = np.zeros((1, len(reading.log_p)))
        return cls(_with_doses(reading, nothing)[0], (reading, logits))

    def compared(self, reading: Readout, logits: Logits) -> Values:
        """What was read of steered ``logits``, n rows of each answer side by side: ``(n, answers, numbers)``. The
        numbers are the log-probabilities; where doses are measured also KL, summed over the answer's places, and
        whether one of its targets comes first, 1 or 0."""
        if self.held is None:
            answers = len(self.values)
            return reading.log_p.reshape(answers, len(reading.log_p) // answers, -1).swapaxes(0, 1)
        before, unsteered = self.held
        return _with_doses(reading, divergences_of(unsteered, before, logits, reading))


def _with_doses(reading: Readout, kl: Values) -> Values:
    rows, answers = kl.shape
    numbers = np.column_stack([reading.log_p, kl.T.ravel(), reading.first])
    return numbers.reshape(answers, rows, -1).swapaxes(0, 1)


def _part(sweep: Sweep, layer: int | None, questions: tuple[int, ...], values: Values) -> Part:
    """``values``: what was read of the answers to ``questions``, ``(deltas, answers, numbers)``."""
    by_question = values.reshape(len(values), len(questions), sweep.ends, -1).swapaxes(0, 1)
    n = sweep.logarithms
    # Each answer of a question gives one number, or the only one gives both.
    log_p = by_question[..., :n].reshape(*by_question.shape[:2], -1)
    if not sweep.doses:
        return Part(layer, questions, log_p)
    kl = by_question[..., n].sum(axis=-1) / np.array([sweep.places(question) for question in questions])[:, None]
    answers_first = by_question[:, :, 0, n + 1] > 0 if sweep.answers[0].either else None
    return Part(layer, questions, log_p, kl=kl, answers_first=answers_first)


class _Runs(Runs[Part, _Unsteered]):
    """Questions, some of them in a group. What is read is ``(deltas, answers, numbers)``, the numbers of both answers
    in one text, or of one in each."""

    whole_differs = "a prompt is run once"

    def __init__(self, sweep: Sweep, give: Callable[[Part], None], kept: Sequence[Part], progress: Progress) -> None:
        done = set().union(*(part.places for part in kept))
        self.sweep, self.holds_logits = sweep, sweep.doses
        super().__init__(
            sweep.model,
            sweep.answers,
            sweep.ends,
            sweep.vectors,
            sweep.multipliers,
            sweep.positions,
            give,
            done,
            sweep.only,
            progress,
        )

    def planned(self) -> list[Group]:
        """Questions of which the same is missing, in groups."""
        by_missing: dict[tuple[int | None, ...], list[int]] = {}
        for question in self.questions:
            missing = tuple(layer for layer in (None, *self.layers) if (layer, question) not in self.done)
            by_missing.setdefault(missing, []).append(question)
        by_missing.pop((), None)
        planned = evened([group for some in by_missing.values() for group in self._groups(some)], workers())
        return [*planned[-1:], *planned[:-1]]

    def unsteered_tokens(self, question: int) -> int:
        return min(map(self._unsteered, self.answers[question * self.ends : (question + 1) * self.ends]))

    def read_unsteered(self, answers: Sequence[Answer], logits: Logits) -> _Unsteered:
        return _Unsteered.of(read_answers(answers, logits), logits, holding=self.holds_logits)

    def read(self, base: Base[_Unsteered], logits: Logits) -> Values:
        n = logits.shape[0] // len(base.answers)
        return base.values.compared(read_answers([a for a in base.answers for _ in range(n)], logits), logits)

    def unsteered_log_p(self, values: _Unsteered) -> Values:
        return self.log_p(values.values)

    def log_p(self, row: Values) -> Values:
        return row[:, : self.sweep.logarithms]

    def whole_log_p(self, base: Base[_Unsteered]) -> Values:
        return log_probabilities(self.model, base.answers[-self.ends :])

    def part(self, base: Base[_Unsteered], layer: int | None, values: Values | None) -> Part:
        return _part(self.sweep, layer, base.group.pairs, base.values.values[None] if values is None else values)

    def _groups(self, some: Sequence[int]) -> list[Group]:
        questions = [self.answers[i : i + self.ends] for i in range(0, len(self.answers), self.ends)]
        shared = [self.unsteered_tokens(question) for question in range(len(questions))]
        longest = [max(len(answer.ids) for answer in question) for question in questions]
        vectors = max((len(vectors) for vectors in self.vectors.values()), default=0)
        copies = self.ends * max(1, vectors * len(self.multipliers))
        n = self.model.n_layers
        runs = max(1.0, sum(n - 1 - layer for layer in self.vectors) / n)
        tokens = sum(shared[i] + copies * (longest[i] - shared[i]) for i in some)
        # Few questions are spread over all that are computed at a time.
        most = min(self.most, -(-tokens // workers()))
        return groups(0, some, shared, longest, most, copies, runs)

    def _unsteered(self, answer: Answer) -> int:
        """How many leading tokens are neither steered nor read."""
        steered = {"all": 0, "generated": answer.prompt_end + 1}.get(self.positions, answer.prompt_end)
        return max(0, min(steered, answer.first))
