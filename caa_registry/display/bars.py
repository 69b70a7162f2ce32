"""How far long work is, shown as bars: by tqdm in a notebook, by rich in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from caa_registry.errors import UsageError, one_line, visible
from caa_registry.progress import Progress, shows_phases, silent

ProgressOption = Progress | bool | None
"""What a caller gives as ``progress``: ``True`` shows a bar, a function is called with (done, total), nothing is
silent."""


class Bars(Protocol):
    """Where bars are shown."""

    def bar(self, label: str, *, passing: bool = False) -> Progress:
        """A new bar, seen once there is something to tell; one that is ``passing`` goes when it is full."""
        ...


@contextmanager
def shown(**asked: ProgressOption) -> Iterator[tuple[Progress, ...]]:
    """What is told of each part of the work, by its label: ``shown(activations=progress, layers=measuring)``.

    What is left out (``None``) is as the first: with ``progress=True`` alone every part has its bar. The bars are
    closed when the context ends, however it does. Raises ``UsageError`` for what is neither a function nor a bool.
    """
    first = next(iter(asked.values()))
    wanted = {label: first is True if given is None else given for label, given in asked.items()}
    for given in wanted.values():
        if not (isinstance(given, bool) or callable(given)):
            raise UsageError(
                f"progress cannot be {one_line(repr(given), 60)}",
                "Give True for a bar, False for none, or a function that takes (done, total).",
            )
    if True not in wanted.values():
        yield tuple(given if callable(given) else silent for given in wanted.values())
        return
    with bars() as display:
        yield tuple(
            display.bar(label) if given is True else given if callable(given) else silent
            for label, given in wanted.items()
        )


@contextmanager
def bars() -> Iterator[Bars]:
    """Bars for as long as the context lasts, also for each phase before the work (loading, hashing). Contexts that are
    nested share the display."""
    display = _open.get()
    if display is not None:
        yield display
        return
    with _notebook() if in_notebook() else _terminal() as display:
        token = _open.set(display)
        try:
            with shows_phases(lambda label: display.bar(label, passing=True)):
                yield display
        finally:
            _open.reset(token)


def in_notebook() -> bool:
    """Whether the program runs in the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class _Rich:
    def __init__(self, display: Any) -> None:
        self._display = display
        self._told: dict[Any, int] = {}
        self._starting = display.add_task("starting", total=None, count="")

    def bar(self, label: str, *, passing: bool = False) -> Progress:
        task = self._display.add_task(visible(label), total=None, visible=False, count="")

        def told(done: int, total: int) -> None:
            self._display.update(self._starting, visible=False)
            self._told[task] = total
            seen = not passing or done < total
            self._display.update(task, completed=done, total=total, count=f"{done / max(total, 1):.0%}", visible=seen)

        return told

    def fill(self) -> None:
        """Show as done what was told of: all of the work is, however much of it was there before."""
        self._display.update(self._starting, visible=False)
        for task, total in self._told.items():
            self._display.update(task, completed=total, count="100%")


@contextmanager
def _terminal() -> Iterator[Bars]:
    """Until the first bar has something to tell, a moving one shows that the work has begun."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), TextColumn("{task.fields[count]}"), TimeRemainingColumn())
    # Off a terminal nothing moves, and each bar is written once, at the end.
    with Progress(*columns, console=console, transient=console.is_terminal) as display:
        work = _Rich(display)
        yield work
        work.fill()


class _Tqdm:
    def __init__(self, kind: Callable[..., Any]) -> None:
        self._kind = kind
        self._bars: list[Any] = []

    def bar(self, label: str, *, passing: bool = False) -> Progress:
        made: list[Any] = []

        def told(done: int, total: int) -> None:
            if not made:
                if passing and done >= total:
                    return
                text = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
                made.append(self._kind(desc=visible(label), total=1.0, leave=not passing, bar_format=text))
                self._bars.append(made[0])
            bar, share = made[0], done / max(total, 1)
            if share < bar.n:
                bar.reset()  # the next step has begun, and its speed has to show
            bar.update(share - bar.n)
            if passing and done >= total:
                bar.close()

        return told

    def close(self, *, whole: bool) -> None:
        """End all bars; where the work is ``whole``, full ones, however much of it was there before."""
        for bar in self._bars:
            if whole and not bar.disable:
                bar.update(1.0 - bar.n)
            bar.close()


@contextmanager
def _notebook() -> Iterator[Bars]:
    display = _Tqdm(_tqdm())
    whole = False
    try:
        yield display
        whole = True
    finally:
        display.close(whole=whole)


def _tqdm() -> Callable[..., Any]:
    """The bar of ipywidgets where they are there, else one of text."""
    from tqdm import notebook, std

    kind: Callable[..., Any] = notebook.tqdm if notebook.IProgress is not None else std.tqdm
    return kind


_open: ContextVar[Bars | None] = ContextVar("_open", default=None)
