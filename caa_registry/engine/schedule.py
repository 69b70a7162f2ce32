"""Several computations at a time on a CPU.

MLX computes one operation after another on a CPU, and only matrix products use more than one core. Two computations
on two threads keep two cores busy with all the rest: exponentials, norms, copies. The BLAS works with as many threads
as remain for each. How many those are depends on the work alone and never on who ends first, since the last digits of a
product do: the same work gives the same bits. A GPU is kept busy by one computation alone.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from typing import TypeVar

from caa_registry import blas
from caa_registry.models.memory import allowed_memory
from caa_registry.models.weights import on_cpu
from caa_registry.mx import mx
from caa_registry.mx_thread import on_pool

T = TypeVar("T")

# Measured on 2 cores with a llama of 100 million parameters: what is more leaves the processor's caches.
_CPU_TOKENS = 640
_GPU_TOKENS = 2048
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # from malloc.h


def workers() -> int:
    """How many computations to run at a time: 1 on a GPU, else one for each core that the BLAS would use."""
    if not on_cpu():
        return 1
    if blas.status().library is not None:
        return blas.threads()
    # MLX's own BLAS on Linux has one thread.
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


def tokens_at_a_time() -> int:
    """How many tokens one computation runs together where memory allows."""
    return _CPU_TOKENS if on_cpu() else _GPU_TOKENS


def side_by_side(
    tasks: Iterable[Callable[[], T]], at_a_time: int, stopped: threading.Event | None = None
) -> Generator[T]:
    """The results of ``tasks`` as they come, ``at_a_time`` computed together. Tasks are asked for in rounds of as many,
    when their turn comes. A last round that is smaller begins once all others have ended, and has all cores.

    A task returns nothing that is still to be evaluated: arrays belong to the thread that made them until then. When
    the caller needs no more, after an interruption for instance, what is being computed ends first; ``stopped`` is set
    then, for long tasks to look at.
    """
    if at_a_time <= 1:
        for task in tasks:
            yield task()
        return
    with blas.shared(at_a_time) as among:
        pending: set[Future[T]] = set()
        sharing, rest = at_a_time, _rounds(tasks, at_a_time)
        following = next(rest, None)
        try:
            while pending or following is not None:
                # No more under way than are computed, so that results wait for nobody and take no room.
                while following is not None and len(pending) < at_a_time:
                    task, together = following
                    if together != sharing:
                        if pending:
                            break
                        among(sharing := together)
                    pending.add(on_pool(task, at_a_time))
                    following = next(rest, None)
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            if stopped is not None:
                stopped.set()
            for future in pending:
                future.cancel()
            wait(pending)


def _rounds(tasks: Iterable[Callable[[], T]], size: int) -> Iterator[tuple[Callable[[], T], int]]:
    """The tasks in rounds of ``size``, each with how many its round has: fewer in the last."""
    coming = iter(tasks)
    while together := list(itertools.islice(coming, size)):
        yield from ((task, len(together)) for task in together)


@contextmanager
def managed_memory() -> Iterator[None]:
    """What is freed while the context lasts is kept for what comes next, within the memory that may be used; in the end
    MLX gives it back. With Metal the GPU's memory is wired meanwhile, as mlx-lm does for its own generation."""
    _keep_freed_memory()
    before = mx.set_cache_limit(limit := allowed_memory())
    mx.set_cache_limit(min(before, limit))
    wired = None
    if mx.metal.is_available():
        wired = mx.set_wired_limit(int(mx.device_info()["max_recommended_working_set_size"]))
    try:
        yield
    finally:
        if wired is not None:
            mx.synchronize()
            mx.set_wired_limit(wired)
        mx.set_cache_limit(before)
        mx.clear_cache()


def _keep_freed_memory() -> None:
    """Have this process keep up to 1 GiB of what it frees for what it needs next, where that is glibc's to decide.

    By default what MLX frees after each operation goes back to the system, which clears it page by page when the next
    one asks: 6 % of the time of a forward pass on a CPU. The setting is the process's and stays.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 2**30)
        mallopt(_TRIM_THRESHOLD, 2**30)
