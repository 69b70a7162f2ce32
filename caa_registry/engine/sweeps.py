"""Log-probabilities of answers at every layer and multiplier, and how far steering moves what is predicted there.

A prompt is run once for all arms of a sweep, as far as the first token that is steered. Steering all positions leaves
no prompt to share; all else that ``runs`` says holds too. Where doses are measured, a group's unsteered logits are held
while it is run.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
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
class Arm:
    """Vectors that are tried. ``vectors``: layer to float32 ``(vectors, d_model)``, each run at each of
    ``multipliers``, none of them 0. ``doses``: whether KL is measured too, and which token comes first."""

    vectors: Mapping[int, NDArray[np.float32]]
    multipliers: Sequence[float]
    doses: bool = False

    def additions(self, layer: int) -> list[Addition]:
        """What is added at ``layer``, multipliers of one vector side by side."""
        each = itertools.product(self.vectors[layer], self.multipliers)
        return [Addition(layer, vector, multiplier) for vector, multiplier in each]


@dataclass(frozen=True, eq=False)
class Part:
    """Some questions at one layer, in one arm. ``questions``: their indexes; ``log_p``: float64
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
    of one prompt. ``arms``: at least one, all of the same layers, those with doses first. ``only``: the questions that
    are run, by default all.
    """

    model: Model
    answers: Sequence[Answer]
    ends: int
    arms: Sequence[Arm]
    positions: SteeredPositions
    only: frozenset[int] | None = None

    @functools.cached_property
    def additions(self) -> dict[int, list[Addition]]:
        """What is added at each layer, those of one arm side by side."""
        if not any(arm.multipliers for arm in self.arms):
            return {}
        return {layer: [each for arm in self.arms for each in arm.additions(layer)] for layer in self.arms[0].vectors}

    @property
    def doses(self) -> bool:
        """Whether KL is measured in any arm."""
        return any(arm.doses for arm in self.arms)

    @property
    def dosed(self) -> int:
        """How many additions at a layer, the first ones, KL is measured of."""
        return sum(self._rows(arm) for arm in self.arms if arm.doses)

    def of_arms(self, values: Values) -> list[Values]:
        """The part of each arm in what was read with each addition at a layer, ``(rows, ...)``."""
        return np.split(values, np.cumsum([self._rows(arm) for arm in self.arms])[:-1])

    def _rows(self, arm: Arm) -> int:
        return len(next(iter(arm.vectors.values()), ())) * len(arm.multipliers)

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


Parts = list[Part]
"""What some questions at one layer give, arm by arm."""


def run_steered(
    sweep: Sweep,
    give: Callable[[Parts], None],
    done: Set[tuple[int | None, int]] = frozenset(),
    progress: Progress = silent,
) -> None:
    """Hand all parts to ``give``, from one thread at a time: each question unsteered, and at each layer.

    ``done``: layers and questions that an earlier call handed out, checked there, which are not run again. ``progress``
    counts token-blocks, those of ``done`` among them. Raises ``DifferentError`` before ``give`` is called where the
    check fails.
    """
    _Runs(sweep, give, done, progress).all()


def run_whole(sweep: Sweep, done: Set[tuple[int | None, int]] = frozenset()) -> Iterator[Parts]:
    """The same parts, whole texts run with every addition, but for what is ``done``."""
    for layer in (None, *sweep.additions):
        questions = tuple(question for question in sweep.questions if (layer, question) not in done)
        if questions:
            parts = _parts(sweep, layer, questions, _whole(sweep, layer, questions))
            yield [replace(part, whole=True) for part in parts]


def _whole(sweep: Sweep, layer: int | None, questions: Sequence[int]) -> Values:
    """What is read of ``questions`` at a layer, ``(rows, answers, numbers)``."""
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
    for row, addition in enumerate(sweep.additions[layer]):
        with steering(sweep.model, [addition], sweep.positions):
            reading, logits = run()
        dosed = 1 if row < sweep.dosed else 0
        steered.append(reading.log_p[None] if unsteered is None else unsteered.compared(reading, logits, dosed))
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

    def compared(self, reading: Readout, logits: Logits, dosed: int) -> Values:
        """What was read of steered ``logits``, n rows of each answer side by side: ``(n, answers, numbers)``. The
        numbers are the log-probabilities; where doses are measured also KL of the first ``dosed`` rows, summed over the
        answer's places, and whether one of its targets comes first, 1 or 0."""
        answers = len(self.values)
        if self.held is None:
            return reading.log_p.reshape(answers, len(reading.log_p) // answers, -1).swapaxes(0, 1)
        before, unsteered = self.held
        kl = np.full((len(reading.log_p) // answers, answers), np.nan)
        if dosed:
            kl[:dosed] = divergences_of(unsteered, before, logits, reading, dosed)
        return _with_doses(reading, kl)


def _with_doses(reading: Readout, kl: Values) -> Values:
    rows, answers = kl.shape
    numbers = np.column_stack([reading.log_p, kl.T.ravel(), reading.first])
    return numbers.reshape(answers, rows, -1).swapaxes(0, 1)


def _parts(sweep: Sweep, layer: int | None, questions: tuple[int, ...], values: Values) -> Parts:
    """``values``: what was read of the answers to ``questions``, ``(rows, answers, numbers)``, without steering one
    row for all arms."""
    of_arms = [values] * len(sweep.arms) if layer is None else sweep.of_arms(values)
    return [_part(sweep, arm, layer, questions, each) for arm, each in zip(sweep.arms, of_arms, strict=True)]


def _part(sweep: Sweep, arm: Arm, layer: int | None, questions: tuple[int, ...], values: Values) -> Part:
    by_question = values.reshape(len(values), len(questions), sweep.ends, -1).swapaxes(0, 1)
    n = sweep.logarithms
    # Each answer of a question gives one number, or the only one gives both.
    log_p = by_question[..., :n].reshape(*by_question.shape[:2], -1)
    if not arm.doses:
        return Part(layer, questions, log_p)
    kl = by_question[..., n].sum(axis=-1) / np.array([sweep.places(question) for question in questions])[:, None]
    answers_first = by_question[:, :, 0, n + 1] > 0 if sweep.answers[0].either else None
    return Part(layer, questions, log_p, kl=kl, answers_first=answers_first)


class _Runs(Runs[Parts, _Unsteered]):
    """Questions, some of them in a group. What is read is ``(rows, answers, numbers)``, the numbers of both answers in
    one text, or of one in each."""

    whole_differs = "a prompt is run once"

    def __init__(
        self, sweep: Sweep, give: Callable[[Parts], None], done: Set[tuple[int | None, int]], progress: Progress
    ) -> None:
        self.sweep, self.holds_logits, self.dosed = sweep, sweep.doses, sweep.dosed
        super().__init__(
            sweep.model,
            sweep.answers,
            sweep.ends,
            sweep.additions,
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

    def read(self, base: Base[_Unsteered], rows: Sequence[int], logits: Logits) -> Values:
        reading = read_answers([answer for answer in base.answers for _ in rows], logits)
        return base.values.compared(reading, logits, sum(row < self.dosed for row in rows))

    def unsteered_log_p(self, values: _Unsteered) -> Values:
        return self.log_p(values.values)

    def log_p(self, row: Values) -> Values:
        return row[:, : self.sweep.logarithms]

    def whole_log_p(self, answers: Sequence[Answer]) -> Values:
        return log_probabilities(self.model, answers)

    def part(self, base: Base[_Unsteered], layer: int | None, values: Values | None) -> Parts:
        return _parts(self.sweep, layer, base.group.pairs, base.values.values[None] if values is None else values)

    def _groups(self, some: Sequence[int]) -> list[Group]:
        questions = [self.answers[i : i + self.ends] for i in range(0, len(self.answers), self.ends)]
        shared = [self.unsteered_tokens(question) for question in range(len(questions))]
        longest = [max(len(answer.ids) for answer in question) for question in questions]
        copies = self.ends * max(1, len(self.rows))
        n = self.model.n_layers
        runs = max(1.0, sum(n - 1 - layer for layer in self.layers) / n)
        tokens = sum(shared[i] + copies * (longest[i] - shared[i]) for i in some)
        # Few questions are spread over all that are computed at a time: a third more than an even share, since their
        # lengths differ.
        most = min(self.most, -(-4 * tokens // (3 * workers())))
        return groups(0, some, shared, longest, most, copies, runs)

    def _unsteered(self, answer: Answer) -> int:
        """How many leading tokens are neither steered nor read."""
        steered = {"all": 0, "generated": answer.prompt_end + 1}.get(self.positions, answer.prompt_end)
        return max(0, min(steered, answer.first))
