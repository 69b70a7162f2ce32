"""Printing: one JSON document or tables that fit a terminal on stdout; messages and progress on stderr."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from caa_registry.cli import layout
from caa_registry.progress import shows_phases, silent
from caa_registry.wire.plain import plain

if TYPE_CHECKING:
    from rich.console import RenderableType

    from caa_registry.progress import Progress
    from caa_registry.registry.records import Score

# Where stdout is no terminal, lines are not broken for one.
_WIDE = 160
_WHOLE = {"version", "digest", "fingerprint"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    # Where stdout cannot carry all of Unicode, JSON's own escapes do.
    narrow = not (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    click.echo(json.dumps(value, indent=2, ensure_ascii=narrow, allow_nan=False, default=plain))


def message(text: str) -> None:
    """A message for a person, on stderr."""
    click.echo(visible(text), err=True)


def paragraph(text: str) -> None:
    """A message of some length, in lines that fit 80 columns."""
    message("\n".join(layout.folded(text, 80)))


def rich(renderable: RenderableType) -> None:
    """Something of ``rich`` on stdout."""
    from rich.console import Console

    console = Console(highlight=False, width=_room(), force_terminal=sys.stdout.isatty())
    with console.capture() as capture:
        console.print(renderable, soft_wrap=not sys.stdout.isatty())
    # By click, which drops colours off a terminal and where NO_COLOR is set.
    click.echo(capture.get(), nl=False)


def _room() -> int:
    """How wide stdout is. Off a terminal it is wide, so that pipes get whole lines."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDE


def visible(text: str) -> str:
    """``text`` with control characters written out: stored text must not steer the reader's terminal."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """A plain table; numbers flush right. Without rows the message ``empty`` goes to stderr."""
    if not rows:
        message(empty)
        return
    # A column that is empty in every row only takes room from the others.
    shown = [i for i in range(len(columns)) if any(row[i] not in (None, "") for row in rows)]
    right = [all(isinstance(row[i], int | float) for row in rows) for i in shown]
    # The name, digests and figures stay whole where room is short; the rest folds.
    whole = [place == 0 or right[place] or columns[i] in _WHOLE for place, i in enumerate(shown)]
    cells = [[columns[i] for i in shown], *([_cell(row[i]) for i in shown] for row in rows)]
    header, *lines = layout.rows(cells, whole, right, _room())
    for line in header:
        click.secho(line, bold=True)
    click.echo("\n".join(line for row in lines for line in row))


def figure(value: float | None) -> str:
    """A score with three decimals."""
    return "" if value is None else f"{value:.3f}"


def interval(score: Score | None) -> str:
    """The range of a score: ``0.12 .. 0.34``."""
    if score is None or score.ci_low is None or score.ci_high is None:
        return ""
    # 0.0 is added so that nothing is written -0.00.
    return f"{round(score.ci_low, 2) + 0.0:.2f} .. {round(score.ci_high, 2) + 0.0:.2f}"


def strength(multiplier: float | None) -> str:
    """A multiplier with its sign: ``-1``, ``0``, ``+1.5``."""
    return f"{multiplier:+g}" if multiplier else "0"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}" if value == round(value, 2) else f"{value:.3f}"
    return "" if value is None else visible(str(value))


def fields(values: Mapping[str, object]) -> None:
    """Names and values, one below the other."""
    cells = {name: _cell(value) for name, value in values.items() if value not in (None, "", ())}
    left = max(map(layout.width, cells)) + 2
    for name, text in cells.items():
        first, *others = layout.folded(text, max(_room() - left, 20))
        padding = " " * (left - layout.width(name))
        click.echo(click.style(name, bold=True) + padding + first)
        for line in others:
            click.echo(" " * left + line)


@contextmanager
def progress(label: str) -> Iterator[Progress]:
    """A progress bar on stderr while the context lasts, from the beginning on, and one for each phase before the work
    (loading, hashing). Off a terminal there is none."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    phases = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Bar(*phases, console=console, transient=True) as before, Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        def show(label: str) -> Progress:
            part = before.add_task(label, total=None)
            return lambda done, total: before.update(part, completed=done, total=total, visible=done < total)

        with shows_phases(show):
            yield report
