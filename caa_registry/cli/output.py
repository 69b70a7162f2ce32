"""Printing: one JSON document or tables that fit a terminal on stdout; messages and progress on stderr."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from caa_registry.progress import Progress
    from caa_registry.registry.records import DatasetVersion, Evaluation, ModelRecord, Score, VectorVersion

# Where stdout is no terminal, lines are not broken for one.
_WIDE = 160
_WHOLE = {"version", "digest", "fingerprint"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    # Where stdout cannot carry all of Unicode, JSON's own escapes do.
    narrow = not (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    click.echo(json.dumps(value, indent=2, ensure_ascii=narrow, allow_nan=False, default=_plain))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.repr}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def message(text: str) -> None:
    """A message for a person, on stderr."""
    click.echo(visible(text), err=True)


def stdout() -> Console:
    """A console on stdout. Off a terminal it is wide, so that pipes get whole lines."""
    from rich.console import Console

    plain = bool(os.environ.get("NO_COLOR")) or not sys.stdout.isatty()
    return Console(
        highlight=False,
        width=None if sys.stdout.isatty() else _WIDE,
        color_system=None if plain else "auto",
    )


def visible(text: str) -> str:
    """``text`` with control characters written out: stored text must not steer the reader's terminal."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """A plain table; numbers to the right. ``empty`` is said on stderr where there is no row."""
    if not rows:
        message(empty)
        return
    from rich.table import Table
    from rich.text import Text

    # A column that is empty in every row only takes room from the others.
    shown = [i for i in range(len(columns)) if any(row[i] not in (None, "") for row in rows)]
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for place, i in enumerate(shown):
        right = all(isinstance(row[i], int | float) for row in rows)
        # The name, digests and figures stay whole where room is short; the rest folds.
        whole = place == 0 or right or columns[i] in _WHOLE
        grid.add_column(columns[i], justify="right" if right else "left", overflow="fold", no_wrap=whole)
    for row in rows:
        grid.add_row(*(Text(_cell(row[i])) for i in shown))
    stdout().print(grid)


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
    """Name and value, one a line."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, show_header=False)
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in values.items():
        if value not in (None, "", ()):
            grid.add_row(Text(name), Text(_cell(value)))
    stdout().print(grid)


@contextmanager
def progress(label: str) -> Iterator[Progress]:
    """A progress bar on stderr while the context lasts. Off a terminal it says nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=None, visible=False)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        yield report


def dataset_json(version: DatasetVersion) -> dict[str, Any]:
    """A dataset version as its listings carry it."""
    return {
        "name": version.name,
        "version": version.number,
        "reference": version.reference,
        "digest": version.digest,
        "kind": version.kind,
        "behavior": version.behavior,
        "pairs": version.n_items,
        "splits": dict(version.splits),
        "parent": version.parent,
        "licence": version.licence,
        "message": version.message,
        "aliases": list(version.aliases),
        "recalled": version.recalled,
        "created_at": version.created_at.isoformat(),
        "source": dict(version.source),
    }


def model_json(record: ModelRecord) -> dict[str, Any]:
    """A model as its listings carry it."""
    info = record.info
    return {
        "name": info.name,
        "fingerprint": info.fingerprint.digest,
        "weights": info.fingerprint.weights,
        "config": info.fingerprint.config,
        "tokenizer": info.fingerprint.tokenizer,
        "chat_template": info.fingerprint.chat_template,
        "architecture": info.architecture,
        "n_layers": info.n_layers,
        "d_model": info.d_model,
        "context_length": info.context_length,
        "quantization": info.quantization,
        "repo_id": info.repo_id,
        "revision": info.revision,
        "path": info.path,
        "vectors": record.vectors,
        "created_at": record.created_at.isoformat(),
    }


def vector_json(version: VectorVersion) -> dict[str, Any]:
    """A vector version as its listings carry it."""
    return {
        "name": version.name,
        "version": version.number,
        "reference": version.reference,
        "digest": version.digest,
        "tensor_digest": version.tensor_digest,
        "dataset": version.dataset,
        "dataset_digest": version.dataset_digest,
        "behavior": version.behavior,
        "model": version.model.name,
        "fingerprint": version.model.fingerprint.digest,
        "layers": version.layer_numbers,
        "d_model": version.d_model,
        "recipe": version.recipe.to_json(),
        "norms": [
            {"layer": layer.layer, "norm": layer.norm, "residual_norm": layer.residual_norm} for layer in version.layers
        ],
        "quality": [{"layer": layer.layer, **layer.quality.as_json()} for layer in version.layers if layer.quality],
        "aliases": list(version.aliases),
        "quarantined": version.quarantined,
        "created_at": version.created_at.isoformat(),
    }


def evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as its listings carry it."""
    return {
        "evaluation": evaluation.id,
        "kind": evaluation.kind,
        "vector": evaluation.vector,
        "dataset": evaluation.dataset,
        "behavior": evaluation.behavior,
        "split": evaluation.split,
        "model": evaluation.model.name,
        "fingerprint": evaluation.model.fingerprint.digest,
        "metric": evaluation.metric,
        "positions": evaluation.positions,
        "template": evaluation.template,
        "parameters": dict(evaluation.parameters),
        "leaked": evaluation.leaked,
        "quarantined": evaluation.quarantined,
        "created_at": evaluation.created_at.isoformat(),
        "scores": [dataclasses.asdict(score) for score in evaluation.scores],
    }
