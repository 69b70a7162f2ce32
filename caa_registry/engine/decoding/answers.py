"""Which answers are decoded together, and how that is checked.

An architecture whose caches join takes prompts of all lengths into one batch: rows that end leave it, and others take
their place. Any other takes prompts of one length at a time. The rows of the longest prompt and of the shortest come
first, and their first tokens are compared with those of answers decoded alone before anything is handed out. Where they
differ, only prompts of one length go together, or none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from caa_registry.engine.checks import DifferentError, tolerance
from caa_registry.engine.decoding.batch import COMPARED, Batch
from caa_registry.engine.decoding.prompts import Prompts
from caa_registry.engine.decoding.request import Place, Request, Row
from caa_registry.engine.kernels import fast_kernels
from caa_registry.engine.plan import PASS
from caa_registry.engine.schedule import managed_memory
from caa_registry.engine.steps import Meter
from caa_registry.models.memory import allowed_memory
from caa_registry.progress import Progress, silent

Way = Literal["any lengths", "one length", "alone"]

# Rows of one batch: more do not make a token cheaper, and each has its tokens in the cache and logits of its own.
_ROWS = 32
_CACHED_TOKENS = 8192
# A cache is copied where rows join or leave. Of a token's logits there are a few arrays.
_CACHES, _LOGITS = 2.5, 16
# Rows leave and join when so many of them have ended, as a share of the batch: each time copies its cache.
_CHANGE = 8

# Where padding changes what is computed only later than the tokens that are compared, by the names of mlx-lm's modules.
_ONE_LENGTH = {"minimax_m3_vl"}

_DIFFERS: dict[Way, str] = {
    "any lengths": "%s computes differently in a batch of several lengths, so prompts of one length go together.",
    "one length": "%s computes differently in a batch, so answers are generated one at a time.",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Unit:
    """A prompt and the strengths at which it is answered side by side."""

    prompt: int
    strengths: tuple[int, ...]

    @property
    def places(self) -> list[Place]:
        return [(self.prompt, strength) for strength in self.strengths]


def decoded(request: Request, progress: Progress = silent) -> Iterator[list[Row]]:
    """Every prompt at every strength, some at a time, as they end. Nothing stays open in between.

    ``progress`` counts work in tokens of prompts; one of an answer counts as many as take about as long.
    A warning says where an architecture computes something else in a batch. Raises ``ModelError`` where values are not
    finite.
    """
    left = {(prompt, strength) for prompt in range(len(request.prompts)) for strength in range(len(request.strengths))}
    if not left:
        return
    work = _Work(request, progress)
    for way in _ways(request, len(left)):
        try:
            for rows in _Decoder(request, way, sorted(left), work).ended():
                left -= {row.place for row in rows}
                if not left:
                    work.finish()
                yield rows
            return
        except DifferentError:
            _log.warning(_DIFFERS[way], request.model.info.architecture)


def _ways(request: Request, answers: int) -> list[Way]:
    """In the order in which they are tried."""
    if answers == 1:
        return ["alone"]
    network = request.model.network
    mixed = Prompts(request).join and type(network).__module__.rpartition(".")[2] not in _ONE_LENGTH
    return ["any lengths", "one length", "alone"] if mixed else ["one length", "alone"]


class _Work:
    """The work of a request as it is done."""

    def __init__(self, request: Request, progress: Progress) -> None:
        self._request = request
        places = len(request.prompts) * len(request.strengths)
        # One step reads all weights, for however many rows.
        self._token = PASS / min(places, _ROWS)
        tokens = sum(map(request.room, range(len(request.prompts)))) * len(request.strengths)
        self._prompts = set(range(len(request.prompts)))
        ends = [request.end(prompt) for prompt in self._prompts]
        compared = sum(map(self._alone, {max(ends), min(ends)})) if places > 1 else 0
        self._meter = Meter(progress, 0, self._token * tokens + sum(ends) + compared)
        self._running = 0

    def prompts(self, prompts: Iterable[int]) -> None:
        """From now on these are run; what was run before is done."""
        self._meter.add(self._running)
        new = self._prompts & set(prompts)
        self._prompts -= new
        self._running = self._tokens_of(new)

    def prompt_tokens(self, tokens: int) -> None:
        """So many tokens of prompts were run. Padding and what is run again do not count."""
        done = min(tokens, self._running)
        self._running -= done
        self._meter.add(done)

    def answer_tokens(self, tokens: int) -> None:
        """Answers have so many more tokens, or will not have them."""
        self._meter.add(self._token * tokens)

    def compared(self, prompt: int) -> None:
        """An answer was decoded alone too."""
        self._meter.add(self._alone(self._request.end(prompt)))

    def finish(self) -> None:
        """All is done, also what took less than was expected."""
        self._meter.finish()

    @staticmethod
    def _alone(tokens: int) -> int:
        return tokens + COMPARED * PASS

    def _tokens_of(self, prompts: Iterable[int]) -> int:
        return sum(map(self._request.end, prompts))


class _Decoder:
    """Answers that are decoded in one way. ``pending``: what no batch has yet, in the order of its turns."""

    def __init__(self, request: Request, way: Way, places: Sequence[Place], work: _Work) -> None:
        self.request = request
        self.way = way
        self.work = work
        self.prompts = Prompts(request, work.prompt_tokens)
        # The other half is for the prompts that are run.
        self.memory = allowed_memory() // 2
        if way == "any lengths":
            self.prompts.share(sorted({prompt for prompt, _ in places}))
        self.batch = Batch(request, work.answer_tokens)
        self.pending = self._ordered(self._units(places))
        # The first prompts, the longest and the shortest, where they are steered most.
        self.compared = set() if way == "alone" else {self._strongest(unit) for unit in self.pending[:2]}

    def ended(self) -> Iterator[list[Row]]:
        """The answers as they end. Raises ``DifferentError`` where those to come do not come out as they do alone."""
        while self.pending or self.batch.rows:
            with managed_memory(), fast_kernels():
                rows = self._next()
            yield rows

    def _next(self) -> list[Row]:
        try:
            self._admit()
            rows = len(self.batch.rows)
            compared = [row for row in self.batch.rows if row.compared]
            if compared:
                self.batch.run(rows, COMPARED)
                for row in compared:
                    self._compare(row)
            self.batch.run(max(1, rows // _CHANGE) if self.way == "any lengths" else rows)
            return self.batch.leave()
        except (AttributeError, TypeError, ValueError, IndexError) as error:
            if self.way == "alone":
                raise
            raise DifferentError("a cache does not branch or join") from error

    def _admit(self) -> None:
        """Put into the batch what it has room for and what can be run with it."""
        lengths = [len(self.request.prompts[unit.prompt]) for unit in self.pending]
        rows, tokens = len(self.batch.rows), max((self._tokens(row.place[0]) for row in self.batch.rows), default=0)
        admitted: list[int] = []
        for i, unit in enumerate(self.pending):
            if self.way != "any lengths" and admitted and lengths[i] != lengths[admitted[0]]:
                continue
            rows, tokens = rows + len(unit.strengths), max(tokens, self._tokens(unit.prompt))
            if rows > self._most(tokens):
                break
            admitted.append(i)
        places = [place for i in admitted for place in self.pending[i].places]
        self.pending = [unit for i, unit in enumerate(self.pending) if i not in set(admitted)]
        if places:
            self.work.prompts(prompt for prompt, _ in places)
            self.batch.join([self._row(place) for place in places], self._cache(places))
            self.work.prompts(())

    def _cache(self, places: Sequence[Place]) -> list[Any]:
        if self.way == "alone":
            return self.prompts.alone(places[0])
        return self.prompts.joined(places) if self.way == "any lengths" else self.prompts.equal(places)

    def _row(self, place: Place) -> Row:
        token, room = self.request.prompts[place[0]][-1], self.request.room(place[0])
        return Row(place, token, room, self.request.draws(place), place in self.compared)

    def _compare(self, row: Row) -> None:
        """Raise ``DifferentError`` where the first tokens of ``row`` are not as probable as they are alone."""
        row.compared = False
        alone = replace(self._row(row.place), compared=True)
        batch = Batch(self.request)
        batch.join([alone], self.prompts.alone(row.place))
        batch.run(1, COMPARED)
        self.work.compared(row.place[0])
        if not _alike(row, alone, self.request.model.dtype):
            raise DifferentError("an answer in a batch is not that alone")

    def _units(self, places: Sequence[Place]) -> list[_Unit]:
        units = []
        for prompt in dict.fromkeys(prompt for prompt, _ in places):
            strengths = [strength for of, strength in places if of == prompt]
            most = self._most(self._tokens(prompt))
            units += [_Unit(prompt, tuple(strengths[i : i + most])) for i in range(0, len(strengths), most)]
        return units

    def _ordered(self, units: Sequence[_Unit]) -> list[_Unit]:
        """The longest prompt, the shortest, then head by head from the longest to the shortest: what joins a batch is
        rarely longer than what is in it."""
        if not units:
            return []
        prompts, heads = self.request.prompts, self.prompts.heads
        shortest, *others = sorted(units, key=lambda unit: len(prompts[unit.prompt]))
        first = [others.pop(), shortest] if others else [shortest]

        def turn(unit: _Unit) -> tuple[tuple[int, ...], int]:
            ids = prompts[unit.prompt]
            return ids[: heads.get(unit.prompt, 0)], -len(ids)

        return [*first, *sorted(others, key=turn)]

    def _strongest(self, unit: _Unit) -> Place:
        return unit.prompt, max(unit.strengths, key=lambda i: abs(self.request.strengths[i].multiplier))

    def _tokens(self, prompt: int) -> int:
        """How many an answered prompt may have in the cache."""
        return len(self.request.prompts[prompt]) + self.request.room(prompt)

    def _most(self, tokens: int) -> int:
        """Rows of at most so many tokens that one batch may have."""
        model = self.request.model
        row = int(_CACHES * model.shapes.cached(tokens)) + _LOGITS * model.stream.vocabulary
        return 1 if self.way == "alone" else max(1, min(_ROWS, _CACHED_TOKENS // tokens, self.memory // row))


def _alike(row: Row, alone: Row, dtype: str) -> bool:
    for i, (log_p, log_p_alone) in enumerate(zip(row.log_p, alone.log_p, strict=False)):
        if row.ids[:i] != alone.ids[:i]:
            break  # of two tokens nearly as probable each took another
        if not _close(log_p, log_p_alone, dtype):
            return False
    return True


def _close(log_p: NDArray[np.float32], expected: NDArray[np.float32], dtype: str) -> bool:
    # A token that a model never gives has log-probability -inf.
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(log_p)):
        return False
    return bool(np.abs(log_p[finite] - expected[finite]).max() <= tolerance(dtype, expected[finite]))
