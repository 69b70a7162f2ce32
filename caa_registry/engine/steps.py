"""Long computations on a CPU, evaluated in steps.

MLX queues about fifty operations, those of all streams counted together. Who has more waits until there are fewer, and
two threads that wait so keep each other's core idle, a fifth of the time where this was measured. Short queues wait
for nobody. They also hold less memory, and what a step has written is still in the processor's caches for the next.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from caa_registry.models.stream import Positions, ResidualStream
from caa_registry.models.weights import on_cpu
from caa_registry.mx import mx
from caa_registry.mx_thread import check

_thread = threading.local()


Step = tuple[mx.array, ...]
"""What is evaluated together."""


def step(*arrays: mx.array) -> None:
    """Have ``arrays`` evaluated together before what is made of them, where this thread records steps."""
    recorded: list[Step] | None = getattr(_thread, "recorded", None)
    if recorded is not None:
        recorded.append(arrays)


@contextmanager
def steps(stream: ResidualStream, highest: int, taken: list[Step]) -> Iterator[None]:
    """Add to ``taken`` the steps of a network called inside, in order, as far as the input of block ``highest``: what
    of that block is needed, only the caller knows. None on a GPU, which is best left to run ahead."""
    recorded: list[Step] = []

    def boundary(layer: int, hidden: mx.array, positions: Positions) -> mx.array:
        if layer < highest:
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


def evaluate(taken: list[Step], result: mx.array | list[mx.array]) -> None:
    """Evaluate the steps ``taken`` one after the other, then ``result``. The list is emptied: a step is given up once
    it is used. Raises ``Stopped`` where nobody waits for the result any more."""
    taken.reverse()
    while taken:
        check()
        mx.eval(taken.pop())
    check()
    mx.eval(result)
