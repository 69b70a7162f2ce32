"""Long computations on a CPU, evaluated in steps.

MLX queues about fifty operations, those of all streams counted together. Who has more waits until there are fewer, and
two threads that wait so keep each other's core idle, a fifth of the time where this was measured. Short queues wait
for nobody. They also hold less memory, and what a step has written is still in the processor's caches for the next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from caa_registry.models.stream import Positions, ResidualStream
from caa_registry.models.weights import on_cpu
from caa_registry.mx import mx
from caa_registry.mx_thread import check
from caa_registry.progress import Progress

# Operations of one product on a CPU: what takes longer cannot be interrupted soon enough.
_STEP = 1.2e11

_thread = threading.local()

building = threading.RLock()
"""Held while a network is called, since a network may keep what it makes. MLX computes nothing until something is
evaluated, which needs no lock."""


Step = tuple[mx.array, ...]
"""What is evaluated together."""


def step(*arrays: mx.array) -> None:
    """Have ``arrays`` evaluated together before what is made of them, where this thread records steps."""
    recorded: list[Step] | None = getattr(_thread, "recorded", None)
    if recorded is not None:
        recorded.append(arrays)


@contextmanager
def steps(stream: ResidualStream, taken: list[Step], blocks: int | None = None) -> Iterator[None]:
    """Add to ``taken`` the steps of a network called inside, in order. ``blocks``: of how many; by default all but the
    last, of which a cache needs only the beginning. On a GPU, which is best left to run ahead, there are none."""
    recorded: list[Step] = []

    def boundary(layer: int, hidden: mx.array, positions: Positions) -> mx.array:
        if layer < (stream.n_layers - 1 if blocks is None else blocks):
            taken.extend([*recorded, (hidden,)])
            recorded.clear()
        return hidden

    if not on_cpu():
        yield
        return
    _thread.recorded = recorded
    try:
        with stream.tapped(boundary):
            yield
    finally:
        _thread.recorded = None


Worked = Callable[[float], None]
"""Told which share of a piece of work, of 1, was done since it was told last."""


class Meter:
    """Work as it is done, on whatever thread: ``progress`` is told of every half percent. ``done`` and ``total`` are
    in token-blocks: one token run through one block."""

    def __init__(self, progress: Progress, done: float, total: float) -> None:
        self._progress = progress
        self._done, self._total = done, total
        self._told = -1
        self._lock = threading.Lock()
        self.add(0)

    def add(self, amount: float) -> None:
        with self._lock:
            self._done += amount
            told = min(round(self._done), round(self._total))
            if told == round(self._total) or told - self._told >= self._total / 200 or self._told < 0:
                self._told = told
                self._progress(told, round(self._total))

    def finish(self) -> None:
        """All is done, also what took less than was expected."""
        self.add(max(0.0, self._total - self._done))

    def of(self, amount: float) -> Worked:
        """Adds ``amount`` share by share."""
        return lambda share: self.add(amount * share)


def head_cost(stream: ResidualStream) -> float:
    """What one row of logits costs, in token-blocks. A block has about twelve weights for each pair of its stream's
    numbers (four of attention and eight behind it), the LM head as many as words for each number."""
    return stream.vocabulary / (12 * stream.d_model)


def rows_of_logits(stream: ResidualStream) -> int:
    """How many rows of logits are computed in one step. A GPU is fast enough for any number."""
    return max(1, int(_STEP / (2 * stream.vocabulary * stream.d_model))) if on_cpu() else 2**62


def stepped(
    stream: ResidualStream, call: Callable[[], mx.array], needed: Callable[[], list[mx.array]] | None = None
) -> mx.array:
    """What ``call``, which calls the network, gives, evaluated step by step. ``needed``: what is evaluated instead."""
    taken: list[Step] = []
    with building, steps(stream, taken, None if needed else stream.n_layers):
        result = call()
    evaluate(taken, needed() if needed else result)
    return result


def evaluate(taken: list[Step], result: mx.array | list[mx.array], worked: Worked = lambda share: None) -> None:
    """Evaluate the steps ``taken`` one after the other, then ``result``. The list is emptied: a step is given up once
    it is used. Raises ``Stopped`` where nobody waits for the result any more."""
    share = 1 / (len(taken) + 1)
    taken.reverse()
    while taken:
        check()
        mx.eval(taken.pop())
        worked(share)
    check()
    mx.eval(result)
    worked(share)
