"""The thread that MLX runs on: who is answered, what is stopped, and what is left."""

from __future__ import annotations

import contextlib
import contextvars
import gc
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from caa_registry import mx_thread
from caa_registry.mx_thread import Stopped, at_caller, check, each, inside, on_pool, run

said: contextvars.ContextVar[str] = contextvars.ContextVar("said", default="nothing")


def here() -> int:
    return threading.get_ident()


def until_stopped() -> None:
    while True:
        check()


def test_all_is_done_on_one_thread_whoever_asks() -> None:
    with ThreadPoolExecutor(4) as pool:
        threads = set(pool.map(lambda _: run(here), range(20)))
    assert threads == {run(here)} != {here()}
    assert run(lambda: run(here)) == run(here)
    assert run(inside) and not inside()


def test_the_pool_is_as_large_as_asked_and_stays() -> None:
    begin = threading.Barrier(3)

    def together() -> int:
        begin.wait()
        return run(here)

    threads = [{future.result() for future in [on_pool(together, 3) for _ in range(3)]} for _ in range(2)]
    assert threads[0] == threads[1] and len(threads[0]) == 3
    assert run(here) not in threads[0]


def test_an_error_comes_back_with_its_traceback() -> None:
    def broken() -> None:
        raise OSError("no more")

    with pytest.raises(OSError, match="no more") as caught:
        run(broken)
    assert "in broken" in "".join(traceback.format_exception(caught.value))
    with pytest.raises(SystemExit):
        run(sys.exit)
    assert run(lambda: 1) == 1


def test_what_fails_is_not_kept() -> None:
    class Large:
        pass

    kept: list[object] = []

    def broken(large: Large) -> None:
        raise OSError

    gc.disable()
    try:
        with contextlib.suppress(OSError):
            run(broken, Large())
        kept = [found for found in gc.get_objects() if isinstance(found, Large)]
    finally:
        gc.enable()
    assert kept == []


def test_each_caller_has_a_context_of_its_own() -> None:
    def asked(name: str) -> str:
        said.set(name)
        run(said.set, "something else")
        return run(said.get) + run(lambda: on_pool(said.get, 1).result())

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(asked, "abcd")) == ["aa", "bb", "cc", "dd"]
    assert run(said.get) == "nothing"


def test_callbacks_are_called_by_who_waits_in_order_before_the_end() -> None:
    told: list[tuple[int, int]] = []
    tell = at_caller(lambda n: told.append((n, here())))

    def work() -> int:
        for n in range(3):
            tell(n)
        on_pool(lambda: tell(3), 1).result()
        return len(told)

    run(work)
    assert told == [(n, here()) for n in range(4)]
    # Who asks from within is answered from within.
    assert run(lambda: run(work)) == 8
    assert here() not in {thread for _, thread in told[4:]}
    # Nobody waits: it is simply called.
    tell(9)
    assert told[-1] == (9, here())


def test_a_callback_may_ask_again() -> None:
    assert run(at_caller(lambda: run(here))) is None


def test_a_callback_that_fails_stops_the_work() -> None:
    ended: list[bool] = []

    def refuse() -> None:
        raise OSError("full")

    def work() -> None:
        try:
            at_caller(refuse)()
            until_stopped()
        finally:
            ended.append(True)

    with pytest.raises(OSError, match="full"):
        run(work)
    assert ended == [True]
    assert run(lambda: 1) == 1


@pytest.mark.parametrize("pooled", [False, True])
def test_an_interruption_stops_the_work_and_nothing_else(pooled: bool) -> None:
    ended: list[bool] = []

    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            until_stopped()
        except Stopped:
            ended.append(True)
            raise

    with pytest.raises(KeyboardInterrupt):
        run(lambda: on_pool(work, 1).result() if pooled else work())
    assert ended == [True]
    assert run(lambda: check() or 1) == 1  # type: ignore[func-returns-value]


def test_what_waits_behind_other_work_is_given_up_at_once() -> None:
    """An interruption does not wait for somebody else's work."""
    busy, go_on = threading.Event(), threading.Event()

    def work() -> None:
        busy.set()
        go_on.wait()

    called: list[bool] = []
    other = threading.Thread(target=run, args=(work,))
    other.start()
    busy.wait()
    timer = threading.Thread(target=lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        run(called.append, True)
    go_on.set()
    other.join()
    timer.join()
    run(lambda: None)
    assert called == []


def counted(threads: list[int]) -> Iterator[int]:
    try:
        for n in range(3):
            threads.append(here())
            yield n
    finally:
        threads.append(here())


def test_a_generator_runs_on_the_thread() -> None:
    threads: list[int] = []
    assert list(each(counted, threads)) == [0, 1, 2]
    assert threads == [run(here)] * 4


@pytest.mark.parametrize("end", [lambda items: items.close(), lambda items: None])
def test_an_abandoned_generator_is_closed_on_the_thread(end: Callable[[Iterator[int]], None]) -> None:
    threads: list[int] = []
    items = each(counted, threads)
    assert next(items) == 0
    end(items)
    del items
    assert threads == [run(here)] * 2 or run(lambda: threads) == [run(here)] * 2


def test_a_generator_that_fails_ends() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    items = each(broken)
    assert next(items) == 1
    with pytest.raises(OSError, match="no more"):
        next(items)
    assert list(items) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_has_a_thread_of_its_own() -> None:
    program = """
import os
from caa_registry.mx_thread import run
assert run(lambda: 1) == 1
child = os.fork()
if child == 0:
    os._exit(run(lambda: 7))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_it_brings_in_no_mlx() -> None:
    program = "import sys, caa_registry.mx_thread as m; m.run(int); print('mlx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "False\n")


def test_there_is_one() -> None:
    assert [thread.name for thread in threading.enumerate()].count("mlx") == 1 == len({run(here)})
    assert not mx_thread.inside()
