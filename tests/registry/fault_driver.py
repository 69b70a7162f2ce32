"""Runs commands that compute in processes that die at a chosen moment, or that all start at once.

    fault_driver.py kill REGISTRY_TEMPLATE FOLDER ARGUMENT...      one JSON object: {"points": [...], "codes": [...]}
    fault_driver.py together PROCESSES ARGUMENT...                 one JSON list: what each printed

This process imports all that is slow and then forks, so that each attempt costs little. It computes nothing itself:
MLX's threads do not survive a fork.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from caa_registry import blas

bind_blas, blas.bind = blas.bind, lambda: None  # it multiplies to see that it does it right, so each fork does it

# ruff: noqa: E402
import mlx_lm.models.llama  # noqa: F401 - imported here, so that the forks have it
import rich.progress  # noqa: F401
from sqlalchemy import event
from sqlalchemy.engine import Engine
from transformers import AutoTokenizer

from caa_registry.blobs.database import DatabaseBlobStore
from caa_registry.cli import evaluation, output, vector  # noqa: F401
from caa_registry.cli import main as command_line
from caa_registry.evaluation import statistics, sweep, unfinished  # noqa: F401
from caa_registry.extraction import activations, compute  # noqa: F401
from caa_registry.formats import format as format_module  # noqa: F401
from caa_registry.models import model  # noqa: F401


class Points:
    """The moments at which something is about to be done. The ``last``-th one is the end."""

    def __init__(self, last: int) -> None:
        self.names: list[str] = []
        self._last = last

    def __call__(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) == self._last:
            os.kill(os.getpid(), signal.SIGKILL)


def watch(points: Points) -> None:
    """Make every statement that writes, commit, stored blob and tenth of the work a point."""

    @event.listens_for(Engine, "before_cursor_execute")
    def before(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if not statement.startswith(("SELECT", "PRAGMA")):
            points(f"before {statement.split('(')[0].strip()[:40]}")

    event.listen(Engine, "commit", lambda connection: points("before COMMIT"))

    put = DatabaseBlobStore.put

    def put_and_tell(self: DatabaseBlobStore, data: bytes) -> str:
        digest = put(self, data)
        points("blob stored")
        return digest

    DatabaseBlobStore.put = put_and_tell  # type: ignore[method-assign]
    progress = output.progress

    def progress_and_tell(label: str) -> Any:
        context = progress(label)
        enter = context.__enter__

        def entered() -> Callable[[int, int], None]:
            report, tenths = enter(), -1

            def told(done: int, total: int) -> None:
                nonlocal tenths
                report(done, total)
                if tenths != (tenths := 10 * done // max(total, 1)):
                    points(f"progress {10 * tenths} %")

            return told

        context.__enter__ = entered  # type: ignore[method-assign]
        return _Context(entered, context.__exit__)

    output.progress = progress_and_tell  # type: ignore[assignment]


class _Context:
    def __init__(self, enter: Callable[[], Any], leave: Callable[..., Any]) -> None:
        self._enter, self._leave = enter, leave

    def __enter__(self) -> Any:
        return self._enter()

    def __exit__(self, *error: Any) -> Any:
        return self._leave(*error)


def run(arguments: list[str]) -> tuple[int, str, str]:
    bind_blas()
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["caa", *arguments]
    with redirect_stdout(out), redirect_stderr(err):
        try:
            command_line.main()
        except SystemExit as end:
            return int(end.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def attempt(last: int, arguments: list[str], names: Path) -> int:
    """The command in a fork that dies at its ``last``-th point; how it ended (negative: the signal)."""
    child = os.fork()
    if child == 0:
        points = Points(last)
        watch(points)
        code, _, err = run(arguments)
        names.write_text(json.dumps({"names": points.names, "err": err}))
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill(template: Path, folder: Path, arguments: list[str]) -> None:
    whole = folder / "whole.db"
    shutil.copy(template, whole)
    told = folder / "points.json"
    os.environ["CAA_HOME"] = str(folder / "home")
    assert attempt(0, ["--registry", str(whole), *arguments], told) == 0, told.read_text()
    points = json.loads(told.read_text())["names"]
    codes = []
    for last in range(1, len(points) + 1):
        path = folder / f"{last}.db"
        shutil.copy(template, path)
        # Each attempt with activations of its own: none finds those of the one before.
        os.environ["CAA_HOME"] = str(folder / f"home-{last}")
        codes.append(attempt(last, ["--registry", str(path), *arguments], told))
    print(json.dumps({"points": points, "codes": codes}))


def _worker(barrier: Any, results: Any, arguments: list[str]) -> None:
    barrier.wait()
    results.put(run(arguments))


def together(processes: int, arguments: list[str]) -> None:
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(processes), context.Queue()
    started = [context.Process(target=_worker, args=(barrier, results, arguments)) for _ in range(processes)]
    for process in started:
        process.start()
    answers = [results.get(timeout=120) for _ in started]
    for process in started:
        process.join(timeout=60)
    print(json.dumps(answers))


if __name__ == "__main__":
    mode, *rest = sys.argv[1:]
    if "--model" in rest:
        AutoTokenizer.from_pretrained(rest[rest.index("--model") + 1])  # it imports what it needs when first used
    if mode == "kill":
        kill(Path(rest[0]), Path(rest[1]), rest[2:])
    else:
        together(int(rest[0]), rest[1:])
