"""Whether long commands stop soon after Ctrl-C, and whether the next call repeats nothing of what was kept.

    python scripts/check_interrupts.py                   # ten points of each command; about 15 minutes on 2 cores
    python scripts/check_interrupts.py --points 3        # fewer
    python scripts/check_interrupts.py --json            # one JSON object of figures on stdout

The model is a random llama as wide as one of a billion parameters (``bench_scale``), with 4 of its 16 layers. Each
command is started again and again, goes on where the one before it stopped, and is sent SIGINT at later and later
points of its work. What counts is the time from the signal to the end of the process: at most ``LIMIT`` seconds. Then
it is left to finish. The evaluations' files of what was measured are read after every interruption: no part may stand
in one twice.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench_scale import QUICK, write_data
from rich.console import Console
from rich.table import Column, Table

LIMIT = 3.0
# Seconds from the start of a command to its first interruption, and from there to the next.
START, STEP = 2.0, 0.75
LAYERS = 4
COUNTS = {"pairs": 192, "questions": 12, "passages": 8}


def commands(folder: Path, text: Path) -> dict[str, list[str]]:
    model = str(folder / "model")
    return {
        "compute": ["vector", "compute", "scale", "--dataset", "scale", "--model", model],
        "propensity": ["eval", "propensity", "scale", "--model", model, "--multipliers", "-1,0,1"],
        "side-effects": ["eval", "side-effects", "scale", "--model", model, "--text", str(text)],
        "open-ended": ["eval", "open-ended", "scale", "--dataset", "scale", "--model", model, "--layer", "2"],
        "generate": ["generate", "--model", model, "--vector", "scale", "--layer", "2", "--max-tokens", "60", "Why?"],
    }


def started(command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "caa_registry", *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def interrupted(command: Sequence[str], seconds: float, environment: dict[str, str]) -> tuple[float | None, str]:
    """How long the command took to end after it was interrupted, and what it wrote; ``None`` where it was done."""
    process = started(command, environment)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        start = time.perf_counter()
        _, errors = process.communicate()
        return time.perf_counter() - start, errors
    return None, process.communicate()[1]


def repeated(home: Path) -> int:
    """How many parts stand more than once in what evaluations have kept."""
    again = 0
    for path in (home / "cache" / "unfinished").glob("*.parts"):
        places = []
        for line in path.read_text(encoding="utf-8").splitlines():
            kept = json.loads(line.partition(" ")[2])
            if "kept" not in kept:
                continue  # the first line says what the file is of
            part = kept["kept"]
            for each in part.get("questions", [part.get("text", part.get("question"))]):
                places.append((kept["condition"], part.get("layer"), part.get("multiplier"), each))
        again += len(places) - len(set(places))
    return again


def checked(name: str, command: Sequence[str], points: int, environment: dict[str, str]) -> dict[str, Any]:
    """A command interrupted at so many points, later and later, and then left to finish."""
    took: list[float] = []
    twice = 0
    for point in range(points):
        seconds, errors = interrupted(command, START + STEP * point, environment)
        if "Traceback" in errors:
            raise RuntimeError(f"{name}: {errors}")
        if seconds is None:
            break
        took.append(seconds)
        twice += repeated(Path(environment["CAA_HOME"]))
    process = started(command, environment)
    _, errors = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"{name} ended with {process.returncode}: {errors}")
    return {"interruptions": len(took), "longest": max(took, default=0.0), "repeated": twice}


def main() -> int:
    parser = argparse.ArgumentParser(description="Interrupt long commands at many points.")
    parser.add_argument("--points", type=int, default=10, help="interruptions of each command (default 10)")
    parser.add_argument("--json", action="store_true", help="one JSON object of figures on stdout")
    options = parser.parse_args()
    console = Console(stderr=options.json)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        text, sources = write_data(folder, replace(QUICK, **COUNTS))
        scale = str(Path(__file__).with_name("bench_scale.py"))
        subprocess.run([sys.executable, scale, "--write", str(folder / "model"), "bf16", str(LAYERS)], check=True)
        environment = {**os.environ, "CAA_HOME": str(folder / "home"), "CAA_REGISTRY": str(folder / "registry.db")}
        splits = [word for split, path in sources.items() for word in ("--split", f"{split}={path}")]
        for command in (["init"], ["dataset", "import", *splits, "--name", "scale"]):
            subprocess.run([sys.executable, "-m", "caa_registry", *command], env=environment, check=True)
        figures = {}
        for name, command in commands(folder, text).items():
            figures[name] = checked(name, command, options.points, environment)
            console.print(f"{name}: {figures[name]}")
    table = Table(Column("command", no_wrap=True), "interruptions", "longest", "parts repeated")
    for name, figure in figures.items():
        table.add_row(name, str(figure["interruptions"]), f"{figure['longest']:.2f} s", str(figure["repeated"]))
    console.print(table)
    if options.json:
        print(json.dumps({f"{name}_{key}": value for name, each in figures.items() for key, value in each.items()}))
    wrong = [name for name, figure in figures.items() if figure["longest"] > LIMIT or figure["repeated"]]
    if wrong:
        print(f"more than {LIMIT:g} s, or parts repeated: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
