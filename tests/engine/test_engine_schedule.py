"""Computations on threads of their own."""

from __future__ import annotations

import functools
import threading

import mlx.core as mx
import mlx.nn as nn
import pytest

import caa_registry.blas as blas
from caa_registry.engine import schedule
from caa_registry.engine.kernels import fast_kernels
from caa_registry.engine.schedule import managed_memory, side_by_side, workers


def product(n: int) -> float:
    values = mx.arange(64, dtype=mx.float32).reshape(8, 8) * n
    return float((values @ values).sum().item())


@pytest.mark.parametrize("at_a_time", [1, 2, 3])
def test_every_result_comes_once(at_a_time: int) -> None:
    found = list(side_by_side([lambda n=n: (n, product(n)) for n in range(20)], at_a_time))  # type: ignore[misc]
    assert sorted(found) == [(n, product(n)) for n in range(20)]


def test_how_many_threads_a_task_has_does_not_depend_on_who_ends_first(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, slow = [1], threading.Event()
    monkeypatch.setattr(blas, "_threads", lambda: 6)
    monkeypatch.setattr(blas, "_set_threads", lambda n: threads.append(n))

    def task(n: int) -> tuple[int, int]:
        if n == 3:
            slow.wait(10)  # until all others of the full rounds have ended
        return n, threads[-1]

    found = []
    for n, had in side_by_side([functools.partial(task, n) for n in range(11)], 3):
        found.append((n, had))
        if len(found) == 8:
            slow.set()
    # Three together, and the last two with all that there is; each alone would have had six.
    assert sorted(found) == [(n, 2) for n in range(9)] + [(9, 3), (10, 3)]
    assert list(side_by_side([lambda: threads[-1]], 3)) == [6]


def test_a_task_is_asked_for_when_its_turn_comes() -> None:
    asked: list[int] = []

    def tasks():  # noqa: ANN202
        for n in range(10):
            asked.append(n)
            yield lambda n=n: product(n)

    results = side_by_side(tasks(), 2)
    next(results)
    asked_first = len(asked)
    results.close()
    assert asked_first <= 4 and len(asked) == asked_first


@pytest.mark.parametrize("at_a_time", [1, 2])
def test_what_fails_ends_all_and_restores_everything(at_a_time: int) -> None:
    before, original = blas.threads(), nn.silu

    def fail() -> float:
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"), fast_kernels():
        list(side_by_side([fail, *[lambda: product(1)] * 5], at_a_time))
    assert blas.threads() == before and nn.silu is original
    # Compiled functions are compiled again: a trace is taken once.
    traced: list[int] = []

    @mx.compile
    def counted(x: mx.array) -> mx.array:
        traced.append(1)
        return x + 1

    mx.eval(counted(mx.array(1.0)), counted(mx.array(2.0)))
    assert len(traced) == 1


def test_there_is_at_least_one_worker() -> None:
    assert workers() >= 1


def test_what_mlx_keeps_of_freed_memory_is_limited_while_it_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = mx.set_cache_limit(1 << 24)
    try:
        for allowed, limit in ((1 << 40, 1 << 24), (1 << 20, 1 << 20)):
            monkeypatch.setattr(schedule, "allowed_memory", lambda allowed=allowed: allowed)
            with pytest.raises(KeyboardInterrupt), managed_memory():
                assert mx.set_cache_limit(limit) == limit
                raise KeyboardInterrupt
            assert mx.set_cache_limit(1 << 24) == 1 << 24
    finally:
        mx.set_cache_limit(before)
