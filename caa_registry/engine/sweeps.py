"""Log-probabilities of answers at every layer and multiplier.

A prompt is run once, as far as the first token that is steered. Steering all positions leaves no prompt to share; all
else that ``runs`` says holds there too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caa_registry.engine.likelihoods import Answer, Logits, log_probabilities, read_answers
from caa_registry.engine.plan import Group, evened, groups
from caa_registry.engine.runs import Base, Runs, Values
from caa_registry.engine.schedule import workers
from caa_registry.models.model import Model
from caa_registry.progress import Progress, silent
from caa_registry.steering.additions import Addition, steering
from caa_registry.steering.positions import SteeredPositions


@dataclass(frozen=True)
class Part:
    """Some questions at one layer. ``questions``: their indexes; ``log_p``: float64
    ``(questions, vectors * multipliers, answers)``, multipliers of one vector side by side; an answer of ``either``
    kind counts as two. ``layer`` ``None``: unsteered, ``(questions, 1, answers)``. ``whole``: by whole texts."""

    layer: int | None
    questions: tuple[int, ...]
    log_p: NDArray[np.float64]
    whole: bool = False

    @property
    def places(self) -> set[tuple[int | None, int]]:
        """Each question with the layer."""
        return {(self.layer, question) for question in self.questions}


@dataclass(frozen=True)
class Sweep:
    """What is run.

    ``answers``: ``ends`` neighbours are one question: 1 where an answer is of ``either`` kind, else as many completions
    of one prompt. ``vectors``: layer to float32 ``(vectors, d_model)``, each run at each of ``multipliers``, none of
    them 0. ``only``: the questions that are run, by default all.
    """

    model: Model
    answers: Sequence[Answer]
    ends: int
    vectors: Mapping[int, NDArray[np.float32]]
    multipliers: Sequence[float]
    positions: SteeredPositions
    only: frozenset[int] | None = None

    @property
    def questions(self) -> list[int]:
        """Those that are run, by index."""
        return sorted(range(len(self.answers) // self.ends) if self.only is None else self.only)


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
        if not questions:
            continue
        answers = [sweep.answers[i * sweep.ends + end] for i in questions for end in range(sweep.ends)]
        if layer is None:
            unsteered = log_probabilities(sweep.model, answers)
            yield Part(None, questions, unsteered.reshape(len(questions), 1, -1), whole=True)
            continue
        steered = []
        for vector, multiplier in itertools.product(sweep.vectors[layer], sweep.multipliers):
            with steering(sweep.model, [Addition(layer, vector, multiplier)], sweep.positions):
                steered.append(log_probabilities(sweep.model, answers).reshape(len(questions), -1))
        yield Part(layer, questions, np.stack(steered, axis=1), whole=True)


class _Runs(Runs[Part, Values]):
    """Questions, some of them in a group. What is read is ``(deltas, answers, 2 or 1)``: of both answers in one text,
    or of one in each."""

    whole_differs = "a prompt is run once"

    def __init__(self, sweep: Sweep, give: Callable[[Part], None], kept: Sequence[Part], progress: Progress) -> None:
        done = set().union(*(part.places for part in kept))
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

    def read_unsteered(self, answers: Sequence[Answer], logits: Logits) -> Values:
        return read_answers(answers, logits)

    def read(self, base: Base[Values], logits: Logits) -> Values:
        n = logits.shape[0] // len(base.answers)
        each = read_answers([answer for answer in base.answers for _ in range(n)], logits)
        return each.reshape(len(base.answers), n, -1).swapaxes(0, 1)

    def unsteered_log_p(self, values: Values) -> Values:
        return values

    def log_p(self, row: Values) -> Values:
        return row

    def whole_log_p(self, base: Base[Values]) -> Values:
        return log_probabilities(self.model, base.answers[-self.ends :])

    def part(self, base: Base[Values], layer: int | None, values: Values | None) -> Part:
        rows = base.values[None] if values is None else values
        # To (questions, deltas, answers): each answer of a question gives one number, or the only one gives both.
        shaped = rows.reshape(len(rows), len(base.group.pairs), -1).swapaxes(0, 1)
        return Part(layer, base.group.pairs, shaped)

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
