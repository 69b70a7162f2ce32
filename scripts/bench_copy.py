"""What copying a whole registry takes: from SQLite to PostgreSQL, back, and to another SQLite file.

    python scripts/bench_copy.py          # 10,000 versions of 4 x 64 numbers; some minutes
    python scripts/bench_copy.py --quick  # 500 versions
    python scripts/bench_copy.py --json   # one flat JSON object of figures on stdout

Each copy says what the first registry says: every row of every table has the same cells and numbers, and ``fsck`` finds
nothing in the last. Where that does not hold the exit code is 1, and no figure is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fault_server import Server
from logical_dump import logical_dump
from many_vectors import fill
from rich.console import Console

import caa_registry as caa

LAYERS, WIDTH = 4, 64


class Wrong(Exception):
    """A copy is not what was copied."""


def measure(folder: Path, server: Server, versions: int) -> Iterator[tuple[str, float, str]]:
    """Figures by name, with what they say."""
    first = folder / "first.db"
    begun = time.perf_counter()
    with caa.open(str(first)) as registry:
        fill(registry, versions, layers=LAYERS, width=WIDTH)
    yield "filled_s", time.perf_counter() - begun, f"s to store {versions:,} versions of {LAYERS} x {WIDTH}"
    yield "megabytes", first.stat().st_size / 1e6, "MB in the file"
    said = logical_dump(f"sqlite:///{first}")
    yield "rows", float(sum(map(len, said.values()))), "rows"
    places = {
        "to_postgres": (str(first), server.empty()),
        "back": (server.url, str(folder / "back.db")),
        "to_sqlite": (str(first), str(folder / "second.db")),
    }
    taken = {}
    for name, (source, target) in places.items():
        begun = time.perf_counter()
        caa.copy(source, target).close()
        taken[name] = time.perf_counter() - begun
        now = logical_dump(target if "://" in target else f"sqlite:///{target}")
        if now != said:
            raise Wrong(f"{name}: {', '.join(table for table in said if now[table] != said[table])}")
    with caa.open(str(folder / "back.db")) as registry:
        if faults := registry.fsck().faults:
            raise Wrong(f"fsck found {len(faults)} faults, the first {faults[0]}")
    yield "to_postgres_s", taken["to_postgres"], "s from SQLite to PostgreSQL"
    yield "back_s", taken["back"], "s back"
    yield "there_and_back_s", taken["to_postgres"] + taken["back"], "s there and back"
    yield "to_sqlite_s", taken["to_sqlite"], "s from SQLite to SQLite"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=10_000, help="how many (default 10,000)")
    parser.add_argument("--quick", action="store_true", help="500 versions")
    parser.add_argument("--json", action="store_true", help="one flat JSON object of figures on stdout")
    arguments = parser.parse_args()
    console = Console(stderr=arguments.json)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name, value, words in measure(Path(folder), Server(), 500 if arguments.quick else arguments.versions):
                figures[name] = value
                console.print(f"{value:12.2f} {words}")
        except Wrong as error:
            console.print(f"WRONG: {error}")
            sys.exit(1)
    if arguments.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
