"""Texts of which, for every layer and multiplier, only what steering changes is run.

A text is run once without steering, its prompt for all answers to it. For a layer, the unsteered stream behind its
block is kept: the blocks up to it are not run again. Each addition at a layer is a row of a batch, which goes on from
the branched prompt cache. Only the positions whose logits are read pass the LM head.

Before anything is given out, the way of computing is checked: entering behind each layer without an addition against
not entering, and a steered text against the same text run whole, steered.
"""

from __future__ import annotations

import functools
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from caa_registry.engine.caches import branched, branching_cache, held
from caa_registry.engine.checks import check_alike, entered
from caa_registry.engine.kernels import fast_kernels
from caa_registry.engine.likelihoods import BYTES_PER_LOGIT, at_a_time, logits_behind
from caa_registry.engine.logits import Answer, Logits
from caa_registry.engine.plan import Group
from caa_registry.engine.schedule import managed_memory, side_by_side, tokens_at_a_time, workers
from caa_registry.engine.steps import Meter, Step, Worked, building, evaluate, head_cost, rows_of_logits, steps
from caa_registry.models.memory import allowed_memory
from caa_registry.models.model import Model
from caa_registry.models.stream import Positions
from caa_registry.mx import mx
from caa_registry.progress import Progress
from caa_registry.steering.additions import Addition, added, steering, sums
from caa_registry.steering.positions import SteeredPositions

P = TypeVar("P")
V = TypeVar("V")
Values = NDArray[np.float64]
_Last = tuple[mx.array, Callable[[], Logits]]
"""What is to be evaluated first, and what gives the logits then."""
NOTHING = -1
"""The row to which nothing is added."""


def _ignored(share: float) -> None:
    pass


def _ends(answers: Sequence[Answer]) -> list[int]:
    return [answer.prompt_end for answer in answers]


@dataclass(frozen=True, eq=False)
class Base(Generic[V]):
    """What a group's steered passes start from: its ``answers``; the cache of their first ``group.length`` tokens, a
    row a question; and of the tokens after it, a row an answer, the stream behind each layer and what is read of the
    unsteered logits."""

    group: Group
    answers: tuple[Answer, ...]
    cache: list[Any]
    streams: Mapping[int, mx.array]
    values: V


class Runs(ABC, Generic[P, V]):
    """The questions of one request, and how they are run. ``P`` is what is given out of a group at one layer, ``V``
    what is kept of its unsteered logits.

    ``answers``: ``ends`` neighbours are one question. ``additions``: layer to what is added there, each by itself, as
    many at every layer. What cannot be added is refused before anything is run. ``only``: the questions that are run,
    by default all. ``done``: layers and questions whose parts an earlier call gave, checked there. ``progress`` counts
    token-blocks, those of ``done`` among them.
    """

    whole_differs: str
    """When a steered text that is run whole comes out differently, to be read after "computes differently when"."""
    holds_logits = False
    """Whether a group's unsteered logits are held while it is run."""

    def __init__(
        self,
        model: Model,
        answers: Sequence[Answer],
        ends: int,
        additions: Mapping[int, Sequence[Addition]],
        positions: SteeredPositions,
        give: Callable[[P], None],
        done: Set[tuple[int | None, int]],
        only: Set[int] | None,
        progress: Progress,
    ) -> None:
        self.model = model
        self.stream, self.network = model.stream, model.network  # with its weights, which the pool cannot read
        self.answers, self.ends = answers, ends
        self.additions, self.layers = additions, list(additions)
        self.rows = range(len(next(iter(additions.values()), ())))
        self.positions = positions
        self.give = give
        self.done = done
        self.questions = sorted(range(len(answers) // ends) if only is None else only)
        self.progress = progress
        self.checked = bool(done)
        self.waiting: list[P] = []
        self.stopped = threading.Event()
        for layer in self.layers:
            self._deltas(layer, self.rows)
        self.most = min(tokens_at_a_time(), at_a_time(model, holding=self.holds_logits))
        self.widest = 1
        self.at_a_time = workers()

    @abstractmethod
    def planned(self) -> list[Group]:
        """The groups, the one with the longest text first, which fills a window of attention if any does. At most
        ``most`` tokens are run at a time."""

    @abstractmethod
    def unsteered_tokens(self, question: int) -> int:
        """How many leading tokens of a question are neither steered nor read."""

    @abstractmethod
    def read_unsteered(self, answers: Sequence[Answer], logits: Logits) -> V:
        """What is kept of unsteered logits ``(answers, positions, vocabulary)``, evaluated."""

    @abstractmethod
    def read(self, base: Base[V], rows: Sequence[int], logits: Logits) -> Values:
        """What is read of steered logits ``(answers * rows, positions, vocabulary)``, evaluated, each answer's ``rows``
        side by side: ``(rows, ...)``."""

    @abstractmethod
    def unsteered_log_p(self, values: V) -> Values:
        """The log-probabilities without steering, ``(answers, numbers)``."""

    @abstractmethod
    def log_p(self, row: Values) -> Values:
        """The log-probabilities in one row of what ``read`` gives, ``(answers, numbers)``."""

    @abstractmethod
    def whole_log_p(self, answers: Sequence[Answer]) -> Values:
        """Those of some answers to one question run whole, under whatever steering context is open."""

    @abstractmethod
    def part(self, base: Base[V], layer: int | None, values: Values | None) -> P:
        """What is given out: at a layer of the ``values`` of all its rows, and without steering of none."""

    def all(self) -> None:
        """Run every group; nothing is given out before the first is found right."""
        with managed_memory(), fast_kernels():
            planned = self._affordable()
            self.meter = self._meter()
            tasks = [functools.partial(self._run, group) for group in planned]
            if tasks and not self.checked:
                tasks[0] = functools.partial(self._run_first, *tasks[0].args)
            for _ in side_by_side(tasks, self.at_a_time, self.stopped):
                pass

    def _affordable(self) -> list[Group]:
        """The groups, of as many tokens as fit into memory. Where it is tight, the longest text, unsteered and with one
        vector, shows what a token takes."""
        planned = self.planned()
        if not planned or max(map(self._bytes, planned)) <= allowed_memory() // self.at_a_time:
            return planned
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        base = self._base(replace(planned[0], pairs=planned[0].pairs[-1:]))
        if self.layers:
            self._batch(base, self.layers[0], self.rows[:1])
        taken = max(1, mx.get_peak_memory() - before)
        self.at_a_time = max(1, min(self.at_a_time, allowed_memory() // taken))
        self.most = max(1, min(self.most, allowed_memory() // self.at_a_time * self.widest // taken))
        return self.planned()

    def _bytes(self, group: Group) -> int:
        """What a group takes, generously, by the shapes of the network."""
        answers, needed = self._answers(group), self.model.shapes.needed
        seen = max(len(answer.ids) for answer in answers)
        width = seen - group.length
        rows = max(1, min(len(self.rows) + 1, self.most // (len(answers) * width)))
        logits = len(answers) * max(len(answer.ids) - answer.first for answer in answers) * self.stream.vocabulary
        streams = 4 * len(answers) * width * self.model.d_model * len(self.layers)
        steered = needed(len(answers) * rows, width, seen) + BYTES_PER_LOGIT * logits * rows
        return needed(len(answers), seen) + streams + steered + 4 * logits * self.holds_logits

    def _run_first(self, group: Group) -> None:
        """As ``_run``. Entering behind each layer must change nothing by itself, and a text that is steered and run
        whole must give the same; else ``DifferentError`` is raised."""
        base = self._base(group, self._worked(None, group))
        parts = [self.part(base, None, None)]
        if not self.layers:
            self._check_whole(base, self.unsteered_log_p(base.values))
        for layer in self.layers:
            worked = self._worked(layer, group)
            values = self.checked_values(base, layer, worked)
            if layer == self.layers[0]:
                with steering(self.model, self.additions[layer][:1], self.positions):
                    self._check_whole(base, self.log_p(values[0]))
            parts.append(self.part(base, layer, values))
        with building:
            self.checked = True
            for part in [*parts, *self.waiting]:
                self.give(part)

    def _check_whole(self, base: Base[V], log_p: Values) -> None:
        # The longest answer to the last question, and the shortest, which is padded most.
        by_length = sorted(range(len(base.answers))[-self.ends :], key=lambda i: len(base.answers[i].ids))
        shown = sorted({by_length[0], by_length[-1]})
        check_alike(self.model, log_p[shown], self.whole_log_p([base.answers[i] for i in shown]), self.whole_differs)

    def checked_values(self, base: Base[V], layer: int, worked: Worked) -> Values:
        """What is read with each addition; one row more of each answer, to which nothing is added, must come out as
        where nothing is entered."""
        values = self.steered(base, layer, [NOTHING, *self.rows], worked)
        self.check_entered(layer, self.log_p(values[0]), self.unsteered_log_p(base.values))
        return values[1:]

    def check_entered(self, layer: int, log_p: Values, unsteered: Values) -> None:
        """Raise ``DifferentError`` where log-probabilities that were entered behind ``layer`` are others."""
        check_alike(self.model, log_p, unsteered, f"it is entered behind layer {layer}")

    def _run(self, group: Group) -> None:
        question = group.pairs[0]
        base = self._base(group, _ignored if (None, question) in self.done else self._worked(None, group))
        if (None, question) not in self.done:
            self._give_out(self.part(base, None, None))
        for layer in self.layers:
            if self.stopped.is_set():
                return
            if (layer, question) not in self.done:
                values = self.steered(base, layer, self.rows, self._worked(layer, group))
                self._give_out(self.part(base, layer, values))

    def _deltas(self, layer: int, rows: Sequence[int]) -> NDArray[np.float32]:
        """What is added at ``layer`` to each of ``rows``, ``(rows, d_model)``."""
        added = [[] if row == NOTHING else [self.additions[layer][row]] for row in rows]
        nothing = np.zeros(self.model.d_model, np.float32)
        return np.stack([sums(self.model, each).get(layer, nothing) for each in added])

    def _give_out(self, part: P) -> None:
        with building:
            if self.checked:
                self.give(part)
            else:
                self.waiting.append(part)

    def _meter(self) -> Meter:
        places = [(layer, question) for question in self.questions for layer in (None, *self.layers)]
        costs = {place: self._cost(*place) for place in places}
        return Meter(self.progress, sum(costs[place] for place in places if place in self.done), sum(costs.values()))

    def _cost(self, layer: int | None, question: int) -> float:
        """What is run of a question, in token-blocks, as if it were alone in its group."""
        answers = self.answers[question * self.ends : (question + 1) * self.ends]
        shared, n = self.unsteered_tokens(question), self.model.n_layers
        behind = self.ends * (max(len(answer.ids) for answer in answers) - shared)
        head = head_cost(self.stream) * sum(len(answer.ids) - answer.first for answer in answers)
        if layer is None:
            return n * (shared + behind) + head
        return len(self.rows) * ((n - 1 - layer) * behind + head)

    def _worked(self, layer: int | None, group: Group) -> Worked:
        return self.meter.of(sum(self._cost(layer, question) for question in group.pairs))

    def _answers(self, group: Group) -> tuple[Answer, ...]:
        return tuple(self.answers[i * self.ends + end] for i in group.pairs for end in range(self.ends))

    def _base(self, group: Group, worked: Worked = _ignored) -> Base[V]:
        answers = self._answers(group)
        streams: dict[int, mx.array] = {}
        taken: list[Step] = []

        def keep(layer: int, hidden: mx.array, where: Positions) -> mx.array:
            if layer in self.layers:
                streams[layer] = hidden
            return hidden

        with building:
            cache = branching_cache(self.network)
            if group.length > 0:
                prefixes = mx.array([list(answer.ids[: group.length]) for answer in answers[:: self.ends]])
                with self.stream.prompt(_ends(answers[:: self.ends])), steps(self.stream, taken):
                    self.network(prefixes, cache=cache)
            kept = held(cache)
            with self.stream.tapped(keep):
                last, logits = self._last(answers, group.length, self._branched(cache, group.length, self.ends), taken)
        evaluate(taken, [*kept, *streams.values(), last], worked)
        return Base(group, answers, cache, streams, self.read_unsteered(answers, logits()))

    def steered(self, base: Base[V], layer: int, rows: Sequence[int], worked: Worked) -> Values:
        """What is read with what each of ``rows`` adds at ``layer``: ``(rows, ...)``."""
        width = max(len(answer.ids) for answer in base.answers) - base.group.length
        size = max(1, self.most // (len(base.answers) * width))
        batches = [rows[i : i + size] for i in range(0, len(rows), size)]
        part = 1 / len(batches)
        return np.concatenate([self._batch(base, layer, each, lambda share: worked(part * share)) for each in batches])

    def _batch(self, base: Base[V], layer: int, rows: Sequence[int], worked: Worked = _ignored) -> Values:
        return self.read(base, rows, self.steered_logits(base, layer, rows, worked))

    def steered_logits(self, base: Base[V], layer: int, rows: Sequence[int], worked: Worked = _ignored) -> Logits:
        """The logits that are read of each answer, its ``rows`` side by side, evaluated."""
        n, deltas = len(rows), self._deltas(layer, rows)
        answers = [answer for answer in base.answers for _ in range(n)]
        taken: list[Step] = []

        def add(at: int, hidden: mx.array, where: Positions) -> mx.array:
            if at != layer:
                return hidden
            return added(hidden, mx.tile(mx.array(deltas), (len(base.answers), 1))[:, None], self.positions, where)

        with building:
            cache = self._branched(base.cache, base.group.length, self.ends * n)
            hidden = mx.repeat(base.streams[layer], n, axis=0)
            with entered(self.model, layer, hidden), self.stream.tapped(add):
                last, logits = self._last(answers, base.group.length, cache, taken)
            del cache, hidden
        evaluate(taken, last, worked)
        return logits()

    def _branched(self, cache: list[Any], length: int, copies: int) -> list[Any]:
        # An empty cache has no rows yet, and some would share what they write into.
        return branched(cache, copies) if length > 0 else branching_cache(self.network)

    def _last(self, answers: Sequence[Answer], length: int, cache: list[Any], taken: list[Step]) -> _Last:
        """What the answers need, from after ``length`` tokens on, not yet evaluated: logits float32 ``(answers,
        positions, vocabulary)``, or where those are many the stream that they are made of. Where an answer needs fewer
        positions its last is repeated."""
        width = max(len(answer.ids) for answer in answers) - length
        self.widest = max(self.widest, len(answers) * width, len(answers) // self.ends * length)
        tokens = mx.array([[*answer.ids[length:], *[0] * (width - len(answer.ids) + length)] for answer in answers])
        positions = range(max(len(answer.ids) - answer.first for answer in answers))
        places = mx.array([[min(a.first + i, len(a.ids) - 1) - length for i in positions] for a in answers])
        rows, n = mx.arange(len(answers))[:, None], self.model.n_layers
        few = places.size <= rows_of_logits(self.stream)
        gathered: list[mx.array] = []

        def gather(layer: int, hidden: mx.array, where: Positions) -> mx.array:
            if layer < n - 1:
                return hidden
            gathered.append(hidden[rows, places])
            return gathered[0] if few else gathered[0][:, :1]

        with self.stream.prompt(_ends(answers)), steps(self.stream, taken, n), self.stream.tapped(gather):
            logits: mx.array = self.network(tokens, cache=cache).astype(mx.float32)
        if few:
            return logits, lambda: logits
        return gathered[0], lambda: logits_behind(self.model, gathered[0])
