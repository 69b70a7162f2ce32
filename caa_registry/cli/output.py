"""Printing: one JSON document or tables that fit a terminal on stdout; messages and progress on stderr."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from caa_registry.cli import layout
from caa_registry.display.bars import bars
from caa_registry.errors import UNSEEN
from caa_registry.errors import visible as visible
from caa_registry.wire.plain import plain

if TYPE_CHECKING:
    from rich.console import RenderableType

    from caa_registry.progress import Progress
    from caa_registry.registry.records import Score

# Where stdout is no terminal, lines are not broken for one.
_WIDE = 160
_WHOLE = {"version", "digest", "fingerprint"}
# What must be done before it is said how long the rest will take.
_LEAST_SHARE, _LEAST_SECONDS = 0.01, 3.0


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    # Where stdout cannot carry all of Unicode, JSON's own escapes do.
    narrow = not (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    text = json.dumps(value, indent=2, ensure_ascii=narrow, allow_nan=False, default=plain)
    # JSON's escapes for what a terminal would act upon. JSON itself wants them for some of it only.
    click.echo(UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def message(text: str) -> None:
    """A message for a person, on stderr."""
    click.echo(visible(text), err=True)


def line(text: str = "", **style: Any) -> None:
    """A line on stdout, in the style of ``click.style``."""
    click.echo(click.style(visible(text), **style) if style else visible(text))


def document(text: str) -> None:
    """Text that is the result itself, such as what a model writes: as it is for a pipe or a file, visible on a
    terminal."""
    click.echo(visible(text) if sys.stdout.isatty() else text, nl=False)


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
    # 0.0 is added so that nothing is written -0.000.
    return "" if value is None else f"{round(value, 3) + 0.0:.3f}"


def interval(score: Score | None) -> str:
    """The range of a score: ``0.123 .. 0.345``."""
    return "" if score is None else between(score.ci_low, score.ci_high)


def between(low: float | None, high: float | None) -> str:
    """``0.123 .. 0.345``; nothing where there is no interval."""
    return "" if low is None or high is None else f"{figure(low)} .. {figure(high)}"


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
    """A progress bar on stderr while the context lasts, and one for each phase before the work (loading, hashing).
    Until the first of them has something to tell, a moving bar shows that the work has begun. Contexts that are nested
    share the display. Off a terminal there is none; there as here, long work says once how long it will take."""
    estimate = _Estimate()
    if not sys.stderr.isatty():
        yield estimate
        return
    with bars() as display:
        show = display.bar(label)

        def told(done: int, total: int) -> None:
            show(done, total)
            estimate(done, total)

        yield told


class _Estimate:
    """Says on stderr how long work will take, once its first part has shown it, where that is more than a minute. Where
    the share that is done falls, another step has begun, whose speed has to show first."""

    def __init__(self) -> None:
        self._begun = 0.0, 1.0
        self._latest = 1.0
        self._said = False

    def __call__(self, done: int, total: int) -> None:
        if not total:
            return
        now, share = time.monotonic(), done / total
        if share < self._latest:
            self._begun, self._said = (now, share), False
        self._latest = share
        if self._said:
            return
        took, part = now - self._begun[0], share - self._begun[1]
        if part < _LEAST_SHARE or took < _LEAST_SECONDS:
            return
        self._said = True
        left = took / part * (1 - share)
        if left > 60:
            message(f"This step takes about {_duration(left)} more on this machine.")


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
