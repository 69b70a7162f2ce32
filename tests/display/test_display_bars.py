"""Long work shows how far it is: bars where ``True`` is given, the caller's function, or nothing."""

from __future__ import annotations

import inspect
import io
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console
from tqdm import std

import caa_registry as caa
from caa_registry.display import bars
from caa_registry.display.bars import shown
from caa_registry.errors import UsageError
from caa_registry.progress import phase, silent


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is sent to a terminal."""
    screen = io.StringIO()

    def console(*, stderr: bool) -> Console:
        assert stderr
        return Console(file=screen, force_terminal=True, width=100)

    monkeypatch.setattr("rich.console.Console", console)
    return screen


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[std.tqdm[Any]]]:
    """As in a kernel without widgets; the bars that were made."""
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    made: list[std.tqdm[Any]] = []

    def bar(**options: Any) -> std.tqdm[Any]:
        made.append(std.tqdm(file=io.StringIO(), mininterval=0, **options))
        return made[-1]

    monkeypatch.setattr(bars, "_tqdm", lambda: bar)
    yield made


@pytest.mark.parametrize("nothing", [None, False])
def test_nothing_is_silent(terminal: io.StringIO, nothing: bool | None) -> None:
    with shown(work=nothing) as (told,):
        assert told is silent
        phase("loading")(1, 2)
    assert terminal.getvalue() == ""


def test_a_function_is_called_as_it_is(terminal: io.StringIO) -> None:
    calls: list[tuple[int, int]] = []
    with shown(work=lambda done, total: calls.append((done, total)), more=None) as (told, other):
        told(1, 2)
        assert other is silent
    assert calls == [(1, 2)] and terminal.getvalue() == ""


def test_true_gives_every_part_a_bar_unless_it_is_told_otherwise(terminal: io.StringIO) -> None:
    with shown(activations=True, layers=None, scores=False) as (first, second, third):
        first(1, 2)
        second(3, 4)
        assert third is silent
    screen = terminal.getvalue()
    assert "activations" in screen and "layers" in screen and "scores" not in screen


def test_a_part_alone_can_have_a_bar(terminal: io.StringIO) -> None:
    with shown(activations=None, layers=True) as (first, second):
        second(1, 1)
        assert first is silent
    assert "layers" in terminal.getvalue()


def test_a_log_gets_each_bar_once(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr("rich.console.Console", lambda stderr: Console(file=log, force_terminal=False, width=80))
    with shown(activations=True, layers=None) as (first, second):
        for done in range(3):
            first(done, 4)
        second(4, 4)
    lines = log.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["activations", "layers"]
    assert all("100%" in line for line in lines) and "\x1b" not in log.getvalue()


@pytest.mark.parametrize("given", [5, "yes", object()])
def test_what_is_no_progress_is_refused(given: Any) -> None:
    with pytest.raises(UsageError, match="progress cannot be") as caught, shown(layers=given):
        pass
    assert "Give True for a bar" in caught.value.hint


def test_phases_before_the_work_have_bars_and_names_cannot_steer_the_terminal(terminal: io.StringIO) -> None:
    with shown(work=True) as (told,):
        phase("loading \x1b]0;x")(1, 2)
        told(1, 1)
    assert "loading \\x1b]0;x" in terminal.getvalue()


@pytest.mark.parametrize("end", [None, KeyboardInterrupt, ValueError])
def test_a_terminal_is_left_as_it_was(terminal: io.StringIO, end: type[BaseException] | None) -> None:
    def work() -> None:
        with shown(work=True) as (told,), shown(inner=True) as (inner,):
            told(1, 2)
            inner(1, 2)
            if end is not None:
                raise end

    if end is None:
        work()
    else:
        with pytest.raises(end):
            work()
    screen = terminal.getvalue()
    hidden, seen = screen.rindex("\x1b[?25l"), screen.rindex("\x1b[?25h")
    assert hidden < seen and screen.count("\x1b[?25l") == screen.count("\x1b[?25h") == 1
    assert ("50%" if end else "100%") in screen and bars._open.get() is None


def test_a_notebook_has_bars_of_tqdm(notebook: list[std.tqdm[Any]], terminal: io.StringIO) -> None:
    with shown(activations=True, layers=None) as (first, second):
        phase("loading")(1, 2)
        phase("hashing")(2, 2)  # done before there was anything to see
        first(1, 4)
        second(1, 2)
        assert [bar.desc for bar in notebook] == ["loading", "activations", "layers"]
        assert [bar.n for bar in notebook] == [0.5, 0.25, 0.5]
        first(2, 4)
        first(1, 8)  # the next step
        assert notebook[1].n == 0.125
    assert all(bar.disable for bar in notebook) and notebook[1].n == notebook[2].n == 1
    assert "\x1b[?25l" not in terminal.getvalue()


def test_an_interrupted_bar_is_closed_where_it_was(notebook: list[std.tqdm[Any]]) -> None:
    with pytest.raises(KeyboardInterrupt), shown(work=True) as (told,):
        told(1, 4)
        raise KeyboardInterrupt
    (bar,) = notebook
    assert bar.disable and bar.n == 0.25


def test_a_notebook_without_widgets_has_bars_of_text(monkeypatch: pytest.MonkeyPatch) -> None:
    from tqdm import notebook

    monkeypatch.setattr(notebook, "IProgress", None)
    assert bars._tqdm() is std.tqdm
    monkeypatch.setattr(notebook, "IProgress", object)
    assert bars._tqdm() is notebook.tqdm


def test_whatever_tells_its_progress_takes_true(tmp_path: Any) -> None:
    taking = []
    with caa.open(str(tmp_path / "r.db")) as registry:
        nouns = [registry, *(getattr(registry, noun) for noun in ("datasets", "models", "vectors", "evaluations"))]
        nouns += [getattr(registry, noun) for noun in ("plans", "reports", "aliases", "audit", "runs")]
        methods = [getattr(noun, name) for noun in nouns for name in dir(type(noun)) if not name.startswith("_")]
        for method in [caa.restore, *filter(callable, methods)]:
            for parameter in inspect.signature(method).parameters.values():
                if parameter.name in ("progress", "measuring", "reading"):
                    taking.append(method.__name__)
                    assert (parameter.annotation, parameter.default) == ("ProgressOption", None), method
    assert len(taking) >= 18 and {"compute", "propensity", "fsck", "restore", "lint", "run"} <= set(taking)


def test_a_real_call_shows_its_bars(terminal: io.StringIO, tmp_path: Any) -> None:
    with caa.open(str(tmp_path / "r.db")) as registry:
        pairs = registry.datasets.import_("seed:demo-sentiment", name="team/mood")
        registry.vectors.compute("team/mood", dataset=pairs, model="demo", progress=True)
        assert "activations" in terminal.getvalue() and "layers" in terminal.getvalue()
        terminal.truncate(0)
        registry.fsck(progress=True)
        assert "checking" in terminal.getvalue()
