"""What it costs to look into a large registry: SQL statements and CPU seconds of listings, leaderboards and lineage.

    python scripts/bench_registry.py                     # 100, 1,000 and 10,000 vector versions; about two minutes
    python scripts/bench_registry.py --quick             # 100 and 1,000, within a minute
    python scripts/bench_registry.py --json              # one flat JSON object of figures on stdout

Each size is a registry of its own (``registry_rows``), with an evaluation, scores and runs to every vector version and
three recalls. What each call gives is checked against what was written: where it is something else, no figure is
printed and the exit code is 1. The number of statements has to be the same at every size, else the exit code is 1 too.

Then ``caa vector ls`` on the smallest registry beside ``python -c "import click, sqlalchemy.orm"``, in turn, each a
process of its own: CPU seconds, and the median of their ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry_rows import DIAMONDS, SHARED, TOP, Filled, counted, fill
from rich.console import Console
from rich.table import Table

from caa_registry.registry.opening import open as open_registry
from caa_registry.registry.registry import Registry

SIZES = (100, 1000, 10_000)
QUICK = (100, 1000)
STARTS, QUICK_STARTS = 11, 3
# Of the leaderboard of a behavior at 10,000 versions, CPU seconds on two cores; of a listing, CPU beside its imports.
LEADERBOARD = 1.0
START_RATIO = 1.6
IMPORTS = "import click, sqlalchemy.orm"


@dataclass(frozen=True)
class Cost:
    """SQL statements, BEGIN among them, and CPU seconds of one call."""

    statements: int
    seconds: float


class Wrong(Exception):
    """A call gave something else than was written."""


def check(what: str, got: object, written: object) -> None:
    """Raise ``Wrong`` where a call gave something else than was written."""
    if got != written:
        raise Wrong(f"{what}: {got}, not {written}")


def calls(registry: Registry) -> dict[str, Callable[[], Any]]:
    """What is measured, by name."""
    vectors, evaluations = registry.vectors, registry.evaluations
    return {
        "vectors": vectors.ls,
        "vectors_page": lambda: vectors.ls(limit=50),
        "vectors_behavior": lambda: vectors.ls(behavior="behavior1", all_versions=True),
        "vectors_model": lambda: vectors.ls(model="model-1"),
        "models": registry.models.ls,
        "aliases": registry.aliases.ls,
        "datasets": registry.datasets.ls,
        "evaluations": evaluations.ls,
        "leaderboard": evaluations.leaderboard,
        "leaderboard_behavior": lambda: evaluations.leaderboard(behavior="behavior1"),
        "lineage": lambda: registry.lineage(f"dataset:{SHARED}"),
        "lineage_diamonds": lambda: registry.lineage(f"dataset:{TOP}"),
    }


def verify(results: dict[str, Any], filled: Filled) -> None:
    """Hold what the calls gave against what was written."""
    for name in ("vectors", "vectors_model", "aliases"):
        check(name, len(results[name]), filled.names)
    check("vectors on a model", {v.number for v in results["vectors_model"]}, {2})
    page = results["vectors_page"]
    check("the page", (len(page), page.total), (min(50, filled.names), filled.names))
    check("vectors of a behavior", len(results["vectors_behavior"]), filled.of_behavior)
    check("behaviors", {v.behavior for v in results["vectors_behavior"]}, {"behavior1"})
    check("vectors of a model", sum(m.vectors for m in results["models"]), filled.versions)
    check("evaluations", len(results["evaluations"]), filled.versions)
    check("quarantined", sum(bool(e.quarantined) for e in results["evaluations"]), filled.quarantined)
    check("evidence", len(results["leaderboard"]), filled.versions)
    best = results["leaderboard_behavior"]
    check("evidence of a behavior", len(best), filled.of_behavior)
    # Version i has log-odds of i at layer 2.
    values = {(s.evidence.score.layer, s.evidence.score.value) for s in best}
    check("values of the evidence", values, {(2, s.evidence.evaluation.id - 1) for s in best})
    check("lineage", len(results["lineage"].nodes), filled.nodes)
    check("diamonds", len(results["lineage_diamonds"].nodes), 3 * DIAMONDS + 1)


def measure(versions: int, folder: Path) -> tuple[Path, dict[str, Cost]]:
    """A new registry of that size, and what each call costs on it, checked."""
    path = folder / f"registry-{versions}.db"
    costs: dict[str, Cost] = {}
    results: dict[str, Any] = {}
    with open_registry(str(path), actor="bench") as registry:
        filled = fill(registry, versions)
        for name, call in calls(registry).items():
            with counted() as statements:
                start = time.process_time()
                results[name] = call()
                seconds = time.process_time() - start
            costs[name] = Cost(len(statements), seconds)
    verify(results, filled)
    return path, costs


def cpu_of(command: Sequence[str], bytecode: Path) -> float:
    """CPU seconds of a process that finds compiled modules in ``bytecode``, as those of an installed package are.
    Raises ``Wrong`` where it fails."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(bytecode)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise Wrong(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def start_up(registry: Path, times: int) -> tuple[float, float, float]:
    """CPU seconds of the bare imports and of ``caa vector ls``, and the median of their ratio. The first of each is
    left out: it compiles."""
    bare = (sys.executable, "-c", IMPORTS)
    listing = (sys.executable, "-m", "caa_registry", "--registry", str(registry), "vector", "ls")
    bytecode = registry.parent / "bytecode"
    pairs = [(cpu_of(bare, bytecode), cpu_of(listing, bytecode)) for _ in range(times + 1)][1:]
    medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
    return medians[0], medians[1], statistics.median(ours / theirs for theirs, ours in pairs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100 and 1,000 vector versions")
    parser.add_argument("--json", action="store_true", help="one flat JSON object of figures on stdout")
    options = parser.parse_args()
    sizes = QUICK if options.quick else SIZES
    console = Console(stderr=options.json)
    costs: dict[int, dict[str, Cost]] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            paths = {}
            for size in sizes:
                paths[size], costs[size] = measure(size, Path(folder))
            bare, listing, ratio = start_up(paths[sizes[0]], QUICK_STARTS if options.quick else STARTS)
    except Wrong as error:
        print(error, file=sys.stderr)
        return 1
    figures: dict[str, float] = {"imports_seconds": bare, "vector_ls_seconds": listing, "vector_ls_ratio": ratio}
    table = Table("call", *(f"{size:,}" for size in sizes), title="statements, CPU seconds by vector versions")
    growing = []
    for name in costs[sizes[0]]:
        by_size = [costs[size][name] for size in sizes]
        table.add_row(name, *(f"{cost.statements}  {cost.seconds:.3f} s" for cost in by_size))
        if len({cost.statements for cost in by_size}) > 1:
            growing.append(name)
        for size, cost in zip(sizes, by_size, strict=True):
            figures |= {f"{name}_{size}_statements": cost.statements, f"{name}_{size}_seconds": cost.seconds}
    console.print(table)
    if growing:
        console.print(f"The number of statements grows with the registry: {', '.join(growing)}.")
    else:
        console.print("The number of statements is the same at all sizes.")
    if not options.quick:
        seconds = costs[sizes[-1]]["leaderboard_behavior"].seconds
        console.print(f"Leaderboard of a behavior at {sizes[-1]:,}: {seconds:.2f} s of CPU (limit {LEADERBOARD:g} s).")
    console.print(
        f"caa vector ls: {listing:.3f} s of CPU, {ratio:.2f} times that of {IMPORTS!r}, {bare:.3f} s "
        f"(limit {START_RATIO:g} times)."
    )
    if options.json:
        print(json.dumps(figures))
    return 1 if growing else 0


if __name__ == "__main__":
    sys.exit(main())
