"""What looking after a large registry costs: one layer, fsck beside sha256sum, backup beside cp, gc beside readers.

    python scripts/bench_maintenance.py                  # 1,000 versions of 26 x 2,048 numbers, 230 MB; a minute
    python scripts/bench_maintenance.py --versions 10000 # 2.3 GB; about eight minutes
    python scripts/bench_maintenance.py --json           # one flat JSON object of figures on stdout

- one layer of a vector whose record is at hand, of random vectors in turn, milliseconds (median);
- ``Registry.fsck``, which must find nothing, beside ``sha256sum`` of the file, in turn: the ratio of their times;
- ``Registry.backup``, beside ``cp`` of the file, in turn, while another process sets aliases: the copy is a registry in
  which fsck finds nothing, and the writer went on;
- ``Registry.gc`` of half of the versions, while a process reads vectors: seconds, the longest that a reader waited, and
  the bytes that went; fsck finds nothing afterwards.

The exit code is 1 where something is not as it should be; then no figure of it is printed.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from many_vectors import LAYERS, WIDTH, fill
from rich.console import Console

import caa_registry as caa
from caa_registry.registry.registry import Registry

VERSIONS = 1000
TURNS = 3
READS = 200

_WRITER = """
import sys, time
import caa_registry as caa
with caa.open(sys.argv[1], actor="writer", create=False) as registry:
    print("ready", flush=True)
    for number in range(10**9):
        registry.aliases.set("bench/template:v1", f"a{number % 50}")
        print(number, flush=True)
        time.sleep(0.01)
"""
_READER = """
import sys, time
import caa_registry as caa
longest = 0.0
with caa.open(sys.argv[1], create=False) as registry:
    registry.vectors.layer("bench/v1", 3)
    print("ready", flush=True)
    while True:
        begun = time.perf_counter()
        registry.vectors.layer("bench/v1", 3)
        longest = max(longest, time.perf_counter() - begun)
        print(longest, flush=True)
"""


class Wrong(Exception):
    """Something is not as it should be."""


@contextmanager
def beside(code: str, path: Path) -> Iterator[Callable[[], list[str]]]:
    """A process that works on the registry while the context lasts; gives the lines that it has printed so far."""
    with tempfile.TemporaryFile("w+") as out:

        def lines() -> list[str]:
            out.seek(0)
            return out.read().split("\n")[:-1]

        process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=out)
        try:
            while not lines():
                if process.poll() is not None:
                    raise Wrong("the process beside ended")
                time.sleep(0.05)
            yield lambda: lines()[1:]
        finally:
            process.kill()
            process.wait()


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def ratio(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float, float]:
    """Median seconds of both, in turn, and the median of the ratios of theirs to ours."""
    pairs = []
    for turn in range(TURNS):
        order = (ours, theirs) if turn % 2 else (theirs, ours)
        taken = {work: seconds(work) for work in order}
        pairs.append((taken[ours], taken[theirs]))
    return (
        statistics.median(own for own, _ in pairs),
        statistics.median(other for _, other in pairs),
        statistics.median(other / own for own, other in pairs),
    )


def check_whole(registry: Registry) -> None:
    faults = registry.fsck().faults
    if faults:
        raise Wrong(f"fsck found {len(faults)} faults, the first {faults[0]}")


def measure(registry: Registry, path: Path, versions: int) -> Iterator[tuple[str, float, str]]:
    """Figures by name, with what they say."""
    chance = random.Random(0)
    records = [registry.vectors.get(f"bench/v{chance.randrange(versions)}") for _ in range(READS)]
    taken = [seconds(lambda r=record: registry.vectors.layer(r, chance.randrange(LAYERS))) for record in records]  # type: ignore[misc]
    yield "layer_ms", statistics.median(taken) * 1000, "ms for one layer, its record at hand"
    registry.close()  # folds the log in, so that the file is all there is
    size = path.stat().st_size
    yield "megabytes", size / 1e6, "MB in the file"
    quiet = {"stdout": subprocess.DEVNULL, "check": True}
    ours, theirs, quotient = ratio(lambda: check_whole(registry), lambda: subprocess.run(["sha256sum", path], **quiet))  # type: ignore[call-overload]
    yield "fsck_s", ours, "s for fsck"
    yield "sha256sum_s", theirs, "s for sha256sum"
    yield "fsck_speed", quotient, "times the speed of sha256sum"
    copies = path.parent / "copies"
    copies.mkdir()
    made: list[Path] = []

    def back_up() -> None:
        for old in made:
            old.unlink()
        made[:] = [registry.backup(copies).path]

    def copy() -> None:
        (copies / "cp.db").unlink(missing_ok=True)
        subprocess.run(["cp", path, copies / "cp.db"], check=True)

    with beside(_WRITER, path) as written:
        ours, theirs, quotient = ratio(back_up, copy)
        # A small registry is copied before the writer has had its turn.
        for _ in range(100):
            if written():
                break
            back_up()
        else:
            raise Wrong("the writer did not go on while the registry was backed up")
    with caa.open(str(made[0]), read_only=True) as backup:
        check_whole(backup)
    yield "backup_s", ours, "s for backup, while another process writes"
    yield "cp_s", theirs, "s for cp"
    yield "backup_speed", quotient, "times the speed of cp"
    for file in copies.iterdir():
        file.unlink()
    for number in range(versions // 2, versions):
        registry.delete(f"bench/v{number}")
    with beside(_READER, path) as waited:
        begun = time.perf_counter()
        collected = registry.gc(grace=timedelta(0))
        took = time.perf_counter() - begun
        reads = waited()
    if collected.blobs != versions - versions // 2:
        raise Wrong(f"gc removed {collected.blobs} blobs")
    check_whole(registry)
    yield "gc_s", took, f"s for gc of {collected.blobs:,} versions, {collected.bytes / 1e6:,.0f} MB"
    yield (
        "reader_waited_s",
        float(reads[-1]) if reads else 0.0,
        f"s is the longest that a reader waited, of {len(reads):,} reads",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=VERSIONS, help=f"how many (default {VERSIONS:,})")
    parser.add_argument("--json", action="store_true", help="one flat JSON object of figures on stdout")
    arguments = parser.parse_args()
    console = Console(stderr=arguments.json)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "registry.db"
        with caa.open(str(path)) as registry:
            taken = seconds(lambda: fill(registry, arguments.versions))
            console.print(f"{arguments.versions:,} versions of {LAYERS} x {WIDTH:,} written in {taken:.0f} s")
            try:
                for name, value, words in measure(registry, path, arguments.versions):
                    figures[name] = value
                    console.print(f"{value:10.3f} {words}")
            except Wrong as error:
                console.print(f"WRONG: {error}")
                sys.exit(1)
    if arguments.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
