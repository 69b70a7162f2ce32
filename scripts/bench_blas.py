"""How fast MLX multiplies matrices on a Linux CPU with each BLAS that ``CAA_BLAS`` can name.

    python scripts/bench_blas.py                         # MLX's own and scipy's
    python scripts/bench_blas.py /usr/lib/libblas.so     # and others, by path or soname
    python scripts/bench_blas.py --debian                # and Debian's OpenBLAS, fetched and unpacked aside
    python scripts/bench_blas.py --json                  # one flat JSON object of figures on stdout

Each library has its own process, which waits while another is timed; they take turns and run equally often, the best
time of each counts. Rows of 1, 16, 128 and 512 are multiplied by a float32 matrix of 2048 x 2048 in both layouts: as a
linear layer does it, whose weights have a row for each output (``x @ w.T``), and as attention multiplies by its values
(``x @ w``). Products are compared with numpy's in float64 in every turn: where one differs by more than 1e-5 of the
largest, no figure is printed and the exit code is 1. ``--quick`` takes two turns in place of seven.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench_peers import Worker, serve
from rich.console import Console
from rich.table import Column, Table

ROWS = (1, 16, 128, 512)
WIDTH = 2048
LAYOUTS = {"linear": "x @ w.T", "values": "x @ w"}
TOLERANCE = 1e-5
DEBIAN = ("libopenblas0-pthread", "libgfortran5", "libquadmath0")
OWN, SCIPY, DEBIANS = "MLX's own", "scipy's", "Debian's"


def measure() -> dict[str, Any]:
    """GFLOP/s by layout and rows, the largest error relative to the largest value, and which library it was."""
    import numpy as np

    from caa_registry import blas
    from caa_registry.mx import mx

    draw = np.random.default_rng(0)
    right = draw.standard_normal((WIDTH, WIDTH)).astype(np.float32)
    matrix = mx.array(right)
    # At least a few milliseconds of work at a time; MLX's own is a hundred times slower.
    most = 512 if blas.status().library else 16
    speeds: dict[str, dict[str, float]] = {layout: {} for layout in LAYOUTS}
    worst = 0.0
    for rows in ROWS:
        left = draw.standard_normal((rows, WIDTH)).astype(np.float32)
        operand = mx.array(left)
        for layout in LAYOUTS:
            turned = matrix.T if layout == "linear" else matrix
            mx.eval(operand, matrix, operand @ turned)
            seconds = []
            repeats = max(1, most // rows)
            for _ in range(3):
                start = time.perf_counter()
                for _ in range(repeats):
                    product = operand @ turned
                    mx.eval(product)
                seconds.append((time.perf_counter() - start) / repeats)
            speeds[layout][str(rows)] = 2 * rows * WIDTH * WIDTH / min(seconds) / 1e9
            exact = left.astype(np.float64) @ (right.T if layout == "linear" else right).astype(np.float64)
            worst = max(worst, float(np.abs(np.array(product) - exact).max() / np.abs(exact).max()))
    used = blas.status()
    about = {"library": used.library, "version": used.version, "why_not": used.why_not, "threads": blas.threads()}
    return {"speeds": speeds, "worst": worst, **about}


def unpacked(folder: Path) -> Path:
    """Debian's OpenBLAS and what it needs, fetched and unpacked in ``folder``; the path of the library."""
    subprocess.run(["apt-get", "download", *DEBIAN], cwd=folder, check=True, stdout=sys.stderr)
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)
    return next(folder.rglob("libopenblas*.so.0"))


def key_of(name: str) -> str:
    """What the figures of a library begin with."""
    return name.split("'")[0].lower() if name in (OWN, SCIPY, DEBIANS) else Path(name).name


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare the BLAS libraries that MLX can multiply with.")
    parser.add_argument("libraries", nargs="*", help="libraries to compare with, by path or soname")
    parser.add_argument("--debian", action="store_true", help="fetch Debian's OpenBLAS and unpack it aside")
    parser.add_argument("--quick", action="store_true", help="two turns in place of seven")
    parser.add_argument("--json", action="store_true", help="figures as one flat JSON object on stdout")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main() -> int:
    options = parse()
    if options.serve:
        serve({"measure": measure})
        return 0
    console = Console(stderr=options.json)
    with ExitStack() as stack:
        libraries: dict[str, Mapping[str, str]] = {OWN: {"CAA_BLAS": "none"}, SCIPY: {"CAA_BLAS": ""}}
        for name in options.libraries:
            libraries[name] = {"CAA_BLAS": name}
        if options.debian:
            path = unpacked(Path(stack.enter_context(tempfile.TemporaryDirectory())))
            folders = sorted({str(file.parent) for file in path.parents[4].rglob("*.so.*")})
            paths = os.pathsep.join([*folders, os.environ.get("LD_LIBRARY_PATH", "")])
            libraries[DEBIANS] = {"CAA_BLAS": str(path), "LD_LIBRARY_PATH": paths}
        workers = {
            name: Worker([sys.executable, __file__, "--serve"], environment) for name, environment in libraries.items()
        }
        for worker in workers.values():
            stack.callback(worker.close)
        answers: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
        names = list(workers)
        for turn in range(2 if options.quick else 7):
            for place in range(len(names)):
                name = names[(place + turn) % len(names)]
                answers[name].append(workers[name].ask("measure"))
    figures: dict[str, float | str] = {}
    for name, runs in answers.items():
        about, worst = runs[0], max(run["worst"] for run in runs)
        if worst > TOLERANCE:
            print(f"{name}: products differ by {worst:.1e}, more than {TOLERANCE}", file=sys.stderr)
            return 1
        if (about["library"] is None) != (name == OWN):
            print(f"{name}: {about['why_not']}", file=sys.stderr)
            return 1
        key = key_of(name)
        figures |= {f"{key}_version": about["version"], f"{key}_threads": about["threads"], f"{key}_error": worst}
    for layout, formula in LAYOUTS.items():
        table = Table(Column("library", no_wrap=True), *(f"{rows} rows" for rows in ROWS), "threads", "error")
        table.title = f"GFLOP/s of {formula}"
        for name, runs in answers.items():
            best = {rows: max(run["speeds"][layout][str(rows)] for run in runs) for rows in ROWS}
            key = key_of(name)
            figures |= {f"{key}_{layout}_{rows}_rows_gflops": speed for rows, speed in best.items()}
            figures_of = (f"{speed:.1f}" for speed in best.values())
            table.add_row(name, *figures_of, str(runs[0]["threads"]), f"{figures[f'{key}_error']:.1e}")
        console.print(table)
    if options.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
