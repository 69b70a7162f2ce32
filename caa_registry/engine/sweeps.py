"""Log-probabilities of answers at every layer and multiplier, of each token only what steering changes.

A prompt is run once, as far as the first token that is steered. For a layer, the unsteered stream behind its block is
kept: the blocks up to it are not run again. All vectors and multipliers of a layer are rows of a batch, which goes on
from the branched prompt cache. Only the positions whose logits are read pass the LM head. Steering all positions leaves
no prompt to share; the rest holds there too.

Before anything is given out, the way of computing is checked: entering behind each layer without an addition against
not entering, and a steered answer against its whole text, steered.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caa_registry.engine.caches import branched, branching_cache, held
from caa_registry.engine.checks import check_alike, entered
from caa_registry.engine.kernels import fast_exponentials
from caa_registry.engine.likelihoods import Answer, at_a_time, log_probabilities
from caa_registry.engine.memory import keep_freed_memory
from caa_registry.engine.plan import Group, evened, groups
from caa_registry.engine.schedule import building, side_by_side, tokens_at_a_time, workers
from caa_registry.engine.steps import Step, evaluate, steps
from caa_registry.models.model import Model
from caa_registry.models.stream import Positions
from caa_registry.mx import mx
from caa_registry.steering.additions import Addition, added, steering, sums
from caa_registry.steering.positions import SteeredPositions


@dataclass(frozen=True)
class Part:
    """Some questions at one layer. ``questions``: their indexes; ``log_p``: float64
    ``(questions, vectors * multipliers, 2)``, of both answers, multipliers of one vector side by side. ``layer``
    ``None``: unsteered, ``(questions, 1, 2)``. ``whole``: by whole texts."""

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

    ``answers``: ``ends`` neighbours are one question: 1 where an answer is of ``either`` kind, else 2, whose texts are
    alike as far as their prompts go. ``vectors``: layer to float32 ``(vectors, d_model)``, each run at each of
    ``multipliers``, none of them 0.
    """

    model: Model
    answers: Sequence[Answer]
    ends: int
    vectors: Mapping[int, NDArray[np.float32]]
    multipliers: Sequence[float]
    positions: SteeredPositions


def run_steered(sweep: Sweep, found: Callable[[Part], None], kept: Sequence[Part] = ()) -> None:
    """Hand every part to ``found``, from one thread at a time: each question unsteered, and at each layer.

    ``kept``: what an earlier call handed out, checked there, which is not run again. Raises ``DifferentError`` before
    ``found`` was called where the check fails.
    """
    runs = _Runs(sweep, found, kept)
    keep_freed_memory()
    with fast_exponentials():
        runs.all()


def run_whole(sweep: Sweep, kept: Sequence[Part] = ()) -> Iterator[Part]:
    """The same parts, whole texts run at every layer and multiplier, but for those in ``kept``."""
    questions = tuple(range(len(sweep.answers) // sweep.ends))
    done = {part.layer for part in kept}
    if None not in done:
        unsteered = log_probabilities(sweep.model, sweep.answers)
        yield Part(None, questions, unsteered.reshape(len(questions), 1, 2), whole=True)
    for layer, vectors in sweep.vectors.items():
        if layer in done:
            continue
        steered = []
        for vector, multiplier in itertools.product(vectors, sweep.multipliers):
            with steering(sweep.model, [Addition(layer, vector, multiplier)], sweep.positions):
                steered.append(log_probabilities(sweep.model, sweep.answers).reshape(len(questions), 2))
        if steered:
            yield Part(layer, questions, np.stack(steered, axis=1), whole=True)


@dataclass(frozen=True)
class _Base:
    """What a group's steered passes start from: the answers' cache as far as ``length`` tokens, a row a question; and
    of the tokens after it, a row an answer, the stream behind each layer, and the log-probabilities."""

    group: Group
    answers: tuple[Answer, ...]
    cache: list[Any]
    streams: Mapping[int, mx.array]
    log_p: NDArray[np.float64]


class _Runs:
    """The questions of one sweep, and how they are run."""

    def __init__(self, sweep: Sweep, found: Callable[[Part], None], kept: Sequence[Part]) -> None:
        self.model = model = sweep.model
        self.answers, self.ends = sweep.answers, sweep.ends
        self.vectors, self.multipliers = sweep.vectors, sweep.multipliers
        self.positions = sweep.positions
        self.found = found
        self.done = set().union(*(part.places for part in kept))
        self.checked = bool(self.done)
        self.waiting: list[Part] = []
        self.stopped = threading.Event()
        self.layers = list(self.vectors) if self.multipliers else []
        # What cannot be added is refused before anything is run.
        for layer, multiplier in itertools.product(self.layers, {max(self.multipliers, key=abs, default=0.0)}):
            self._deltas(layer, [multiplier])
        self.most = min(tokens_at_a_time(), at_a_time(model))

    def all(self) -> None:
        """Run every group; nothing is given out before that of the longest texts, which fill a window if any do, is
        found right."""
        planned = self._planned()
        tasks = [functools.partial(self._run, group) for group in planned]
        if not self.checked:
            tasks = [functools.partial(self._run_first, planned[-1]), *tasks[:-1]]
        for _ in side_by_side(tasks, workers(), self.stopped):
            pass

    def _planned(self) -> list[Group]:
        """Questions of which the same is missing, in groups."""
        by_missing: dict[tuple[int | None, ...], list[int]] = {}
        for question in range(len(self.answers) // self.ends):
            missing = tuple(layer for layer in (None, *self.layers) if (layer, question) not in self.done)
            by_missing.setdefault(missing, []).append(question)
        by_missing.pop((), None)
        return evened([group for some in by_missing.values() for group in self._groups(some)], workers())

    def _groups(self, some: Sequence[int]) -> list[Group]:
        questions = [self.answers[i : i + self.ends] for i in range(0, len(self.answers), self.ends)]
        shared = [min(self._unsteered(answer) for answer in question) for question in questions]
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

    def _run_first(self, group: Group) -> None:
        """As ``_run``, with an unsteered row more for each answer, which must come out as where nothing is entered.

        Raises ``DifferentError`` where it does not, or where a text that is steered and run whole gives something else.
        """
        base = self._base(group)
        parts = [self._unsteered_part(base)]
        for layer in self.layers:
            deltas = self._deltas(layer, self.multipliers)
            log_p = self._steered(base, layer, np.concatenate([np.zeros_like(deltas[:1]), deltas]))
            check_alike(self.model, log_p[:, 0], base.log_p, f"it is entered behind layer {layer}")
            parts.append(self._part(base, layer, log_p[:, 1:]))
        for layer in self.layers[:1]:
            addition = Addition(layer, self.vectors[layer][0], self.multipliers[0])
            # The network is steered until all is evaluated.
            with building, steering(self.model, [addition], self.positions):
                whole = log_probabilities(self.model, base.answers[-self.ends :]).reshape(1, 2)
            check_alike(self.model, parts[1].log_p[-1, :1], whole, "a prompt is run once")
        with building:
            self.checked = True
            for part in [*parts, *self.waiting]:
                self.found(part)

    def _run(self, group: Group) -> None:
        base = self._base(group)
        question = group.pairs[0]
        if (None, question) not in self.done:
            self._give(self._unsteered_part(base))
        for layer in self.layers:
            if self.stopped.is_set():
                return
            if (layer, question) not in self.done:
                self._give(self._part(base, layer, self._steered(base, layer, self._deltas(layer, self.multipliers))))

    def _deltas(self, layer: int, multipliers: Sequence[float]) -> NDArray[np.float32]:
        """What is added at ``layer``, ``(vectors * multipliers, d_model)``."""
        each = itertools.product(self.vectors[layer], multipliers)
        return np.stack([sums(self.model, [Addition(layer, vector, m)])[layer] for vector, m in each])

    def _give(self, part: Part) -> None:
        with building:
            if self.checked:
                self.found(part)
            else:
                self.waiting.append(part)

    def _unsteered_part(self, base: _Base) -> Part:
        return Part(None, base.group.pairs, base.log_p.reshape(len(base.group.pairs), 1, 2))

    def _part(self, base: _Base, layer: int, log_p: NDArray[np.float64]) -> Part:
        """From ``(answers, multipliers, 2 or 1)``."""
        shaped = log_p.reshape(len(base.group.pairs), self.ends, *log_p.shape[1:]).swapaxes(1, 2)
        return Part(layer, base.group.pairs, shaped.reshape(*shaped.shape[:2], 2))

    def _base(self, group: Group) -> _Base:
        answers = tuple(self.answers[i * self.ends + end] for i in group.pairs for end in range(self.ends))
        streams: dict[int, mx.array] = {}
        taken: list[Step] = []

        def keep(layer: int, hidden: mx.array, where: Positions) -> mx.array:
            if layer in self.layers:
                streams[layer] = hidden
            return hidden

        with building:
            cache = branching_cache(self.model.network)
            if group.length > 0:
                prefixes = mx.array([list(answer.ids[: group.length]) for answer in answers[:: self.ends]])
                with self._prompt(answers[:: self.ends]), self._steps(taken):
                    self.model.network(prefixes, cache=cache)
            kept = held(cache)
            with self.model.stream.tapped(keep):
                logits = self._logits(answers, group.length, self._branched(cache, group.length, self.ends), taken)
        evaluate(taken, [*kept, *streams.values(), logits])
        return _Base(group, answers, cache, streams, _read(answers, logits))

    def _steered(self, base: _Base, layer: int, deltas: NDArray[np.float32]) -> NDArray[np.float64]:
        """``(answers, deltas, 2 or 1)``: each answer with each of ``deltas``, ``(n, d_model)``, added at ``layer``."""
        width = max(len(answer.ids) for answer in base.answers) - base.group.length
        size = max(1, self.most // (len(base.answers) * width))
        parts = [self._batch(base, layer, deltas[i : i + size]) for i in range(0, len(deltas), size)]
        return np.concatenate(parts, axis=1)

    def _batch(self, base: _Base, layer: int, deltas: NDArray[np.float32]) -> NDArray[np.float64]:
        n = len(deltas)
        answers = [answer for answer in base.answers for _ in range(n)]
        taken: list[Step] = []

        def add(at: int, hidden: mx.array, where: Positions) -> mx.array:
            if at != layer:
                return hidden
            return added(hidden, mx.tile(mx.array(deltas), (len(base.answers), 1))[:, None], self.positions, where)

        with building:
            cache = self._branched(base.cache, base.group.length, self.ends * n)
            hidden = mx.repeat(base.streams[layer], n, axis=0)
            with entered(self.model, layer, hidden), self.model.stream.tapped(add):
                logits = self._logits(answers, base.group.length, cache, taken)
            del cache, hidden
        evaluate(taken, logits)
        return _read(answers, logits).reshape(len(base.answers), n, -1)

    def _branched(self, cache: list[Any], length: int, copies: int) -> list[Any]:
        # An empty cache has no rows yet, and some would share what they write into.
        return branched(cache, copies) if length > 0 else branching_cache(self.model.network)

    def _logits(self, answers: Sequence[Answer], length: int, cache: list[Any], taken: list[Step]) -> mx.array:
        """The logits that the answers need, from after ``length`` tokens on: float32 ``(answers, positions,
        vocabulary)``, not yet evaluated. Where an answer needs fewer positions its last is repeated."""
        width = max(len(answer.ids) for answer in answers) - length
        tokens = mx.array([[*answer.ids[length:], *[0] * (width - len(answer.ids) + length)] for answer in answers])
        positions = range(max(len(answer.ids) - answer.first for answer in answers))
        wanted = mx.array([[min(a.first + i, len(a.ids) - 1) - length for i in positions] for a in answers])
        rows = mx.arange(len(answers))[:, None]

        def gather(layer: int, hidden: mx.array, where: Positions) -> mx.array:
            return hidden[rows, wanted] if layer == self.model.n_layers - 1 else hidden

        with self._prompt(answers), self._steps(taken), self.model.stream.tapped(gather):
            logits: mx.array = self.model.network(tokens, cache=cache)
        return logits.astype(mx.float32)

    def _prompt(self, answers: Sequence[Answer]) -> Any:
        return self.model.stream.prompt([answer.prompt_end for answer in answers])

    def _steps(self, taken: list[Step]) -> Any:
        return steps(self.model.stream, self.model.n_layers - 1, taken)


def _read(answers: Sequence[Answer], logits: mx.array) -> NDArray[np.float64]:
    return np.array([answer.read(row) for answer, row in zip(answers, np.array(logits), strict=True)])
