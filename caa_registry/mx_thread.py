"""The thread that all of MLX runs on, and the pool of threads that compute for it.

MLX keeps caches for each thread, which hold Python objects: a process whose thread dies with them may abort while it
ends. It also never frees the system's thread behind a stream. So one thread does everything, from the first call to
the end of the process, and a few more compute beside it where several cores are to be kept busy. Any thread may ask:
``run`` waits for the answer, ``each`` is ``run`` for every item of a generator.

What is asked runs in a copy of the asking thread's context (``contextvars``), so that what a thread has said of a
model, how it is steered for instance, holds for its own requests and for no other's. An interruption of the thread that
waits stops the work at the next ``check``; the thread goes on to serve.

The threads outlive everything that may still ask: at the end of the process they serve threads that the interpreter
waits for, stop what others have asked, and end one after the other, each giving up its streams last.
"""

from __future__ import annotations

import contextvars
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_END: Any = object()
# How often who waits looks for a signal that came just before it began to wait, which Python would not notice; and how
# often the thread looks, once the main thread has ended, whether those that it still serves have too.
_LOOK_SECONDS = 0.2

_stop: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("_stop", default=None)
_calls: contextvars.ContextVar[SimpleQueue[Any] | None] = contextvars.ContextVar("_calls", default=None)
_own = threading.local()


class Stopped(BaseException):
    """Raised where work is under way that nobody waits for any more."""


def run(function: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """What ``function`` returns or raises, called on the thread; on the thread or its pool it is simply called.

    ``KeyboardInterrupt``, or whatever a function behind ``at_caller`` raises, stops the work and is raised when it has
    stopped. A second interruption does not wait. Raises ``RuntimeError`` while the process ends, where the asking
    thread is not one that the interpreter waits for.
    """
    if inside():
        token = _calls.set(None)
        try:
            return function(*args, **named)
        finally:
            _calls.reset(token)
    task = _Task(functools.partial(function, *args, **named))
    try:
        _thread.submit(task)
        while (call := task.next_call()) is not None:
            call()
    except BaseException:
        task.stop.set()
        if not task.future.cancel():
            wait([task.future])
        raise
    try:
        result: T = task.future.result()
        return result
    finally:
        del task  # an error's traceback leads here, and would be kept with all that it leads to


def each(function: Callable[P, Iterator[T]], *args: P.args, **named: P.kwargs) -> Iterator[T]:
    """The items of the generator that ``function`` returns, each made on the thread. The generator leaves nothing open
    between items that other work could meet. One that is abandoned is closed on the thread."""
    items = run(function, *args, **named)
    try:
        while (item := run(next, items, _END)) is not _END:
            yield item
    finally:
        # Not waited for: an abandoned generator may be collected on any thread, also on one that is waited for.
        _thread.post(getattr(items, "close", _nothing))


def at_caller(function: Callable[P, object]) -> Callable[P, None]:
    """``function`` as the thread that waits for the work calls it, in order, before ``run`` returns. The work does not
    wait for it."""

    def call(*args: P.args, **named: P.kwargs) -> None:
        calls = _calls.get()
        if calls is None:
            function(*args, **named)
        else:
            calls.put(functools.partial(function, *args, **named))

    return call


def check() -> None:
    """Raise ``Stopped`` where nobody waits for this work any more."""
    stop = _stop.get()
    if stop is not None and stop.is_set():
        raise Stopped


def inside() -> bool:
    """Whether this is the thread or one of its pool."""
    return getattr(_own, "inside", False)


def on_pool(function: Callable[[], T], size: int) -> Future[T]:
    """``function`` called on one of ``size`` threads of the pool or more, in a copy of this thread's context."""
    return _thread.on_pool(function, size)


def _nothing() -> None:
    pass


class _Task:
    """Something to call, and who waits for it."""

    def __init__(self, function: Callable[[], Any], calls: SimpleQueue[Any] | None = None) -> None:
        self.function = function
        self.calls: SimpleQueue[Any] = calls or SimpleQueue()
        self.context = contextvars.copy_context()
        self.future: Future[Any] = Future()
        self.stop = threading.Event()
        self.asker = threading.current_thread()

    def next_call(self) -> Callable[[], object] | None:
        """What the thread that waits is to call next, ``None`` once the work has ended."""
        while True:
            try:
                call: Callable[[], object] | None = self.calls.get(timeout=_LOOK_SECONDS)
                return call
            except Empty:
                continue

    @property
    def waited_for(self) -> bool:
        """Whether the interpreter, once its main thread has ended, waits for the thread that asked."""
        return self.asker is not threading.main_thread() and not self.asker.daemon

    def execute(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        self.context.run(_stop.set, self.stop)
        self.context.run(_calls.set, self.calls)
        _execute(self.context, self.function, self.future)
        self.calls.put(None)
        del self  # an error's traceback leads here

    def cancel(self) -> None:
        self.stop.set()
        if self.future.cancel():
            self.calls.put(None)


def _execute(context: contextvars.Context, function: Callable[[], Any], future: Future[Any]) -> None:
    try:
        result = context.run(function)
    except BaseException as error:  # noqa: BLE001 (it is raised where the result is waited for)
        future.set_exception(error)
    else:
        future.set_result(result)
    del future  # an error's traceback leads here


class _MxThread:
    """The thread and its pool, which start when they are first asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._pooled: SimpleQueue[Any] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pool: list[threading.Thread] = []
        self._running: _Task | None = None
        self._ending = self._ended = False

    def submit(self, task: _Task) -> None:
        with self._lock:
            if self._ended or (self._ending and not task.waited_for):
                raise RuntimeError("MLX cannot be used any more: the process is ending")
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="mlx")
                self._thread.start()
                threading._register_atexit(self._end)  # type: ignore[attr-defined]
            self._tasks.put(task)

    def post(self, function: Callable[[], Any]) -> None:
        """Have ``function`` called, and do not wait. Where the threads have ended there is nothing to call."""
        with self._lock:
            if self._thread is not None and not self._ended:
                self._tasks.put(_Task(function))

    def on_pool(self, function: Callable[[], T], size: int) -> Future[T]:
        future: Future[T] = Future()
        with self._lock:
            while len(self._pool) < size:
                self._pool.append(threading.Thread(target=self._compute, name=f"mlx-{len(self._pool)}"))
                self._pool[-1].start()
        self._pooled.put((contextvars.copy_context(), function, future))
        return future

    def _serve(self) -> None:
        _own.inside = True
        while not self._finished():
            try:
                task = self._tasks.get(timeout=_LOOK_SECONDS if self._ending else None)
            except Empty:
                continue
            if task is not None:
                with self._lock:
                    self._running = task
                    if self._ending and not task.waited_for:
                        task.cancel()
                task.execute()
                self._running = None
            del task
        for _ in self._pool:
            self._pooled.put(None)
        for thread in self._pool:
            thread.join()
        _give_up_streams()

    def _compute(self) -> None:
        _own.inside = True
        while (work := self._pooled.get()) is not None:
            context, function, future = work
            if future.set_running_or_notify_cancel():
                _execute(context, function, future)
            del work, context, function, future
        _give_up_streams()

    def _end(self) -> None:
        """The main thread ends: serve only whom the interpreter waits for from now on."""
        with self._lock:
            self._ending = True
            if self._running is not None and not self._running.waited_for:
                self._running.cancel()
        self._tasks.put(None)

    def _finished(self) -> bool:
        """Whether nobody can ask any more. From then on nobody may."""
        if not self._ending:
            return False
        ours = {threading.main_thread(), self._thread, *self._pool}
        if any(not thread.daemon and thread not in ours for thread in threading.enumerate()):
            return False
        with self._lock:
            self._ended = True
            while not self._tasks.empty():
                task = self._tasks.get()
                if task is not None:
                    task.cancel()
        return True


def _give_up_streams() -> None:
    """A thread's last act: what MLX keeps for it is freed while it may still hold Python's lock."""
    if "caa_registry.mx" in sys.modules:
        from caa_registry.mx import mx

        mx.synchronize()
        mx.clear_streams()


def _start_anew() -> None:
    global _thread
    _thread = _MxThread()
    _own.inside = False


_thread = _MxThread()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)  # a child has none of its parent's threads
