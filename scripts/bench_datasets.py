"""How long the work of a curator takes on a large dataset: import, lint, list, show, compare.

    python scripts/bench_datasets.py                     # 100,000 pairs; about two minutes on two cores
    python scripts/bench_datasets.py --quick             # 10,000 pairs, within a minute
    python scripts/bench_datasets.py --json              # one flat JSON object of figures on stdout

Pairs of random words (about 64 each, from the packaged sets) are written to JSON lines: among them repeated rows,
nearly repeated rows, and questions that stand in both splits. Every step is a ``caa`` process of its own, timed from
its start to its end, with the largest memory that it held; quick ones are run three times and the median is shown. Each
is checked against what was planted: where one says something else, no time is printed and the exit code is 1.

Beside lint, the search for near duplicates alone is compared on the first 5,000 pairs with datasketch used as its
documentation shows: a MinHash filled word triple by word triple, and an index that is asked before each insertion.
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
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from caa_registry.pairs.record import Pair, PairItem
from caa_registry.pairs.repeats.near_duplicates import BANDS, ROWS, THRESHOLD, near_duplicates
from caa_registry.pairs.sources import load, seed_sets

PLANTED = 100
CHANGED = 300
COMPARED = 5000
# Seconds that a step may take on two cores, at full size.
LIMITS = {"import": 30.0, "lint": 120.0, "ls": 1.0, "show": 1.0, "diff": 1.0}

# Runs caa and says on the last line of stderr how much memory it took, in bytes. What getrusage says on Linux includes
# the process that started this one.
PROGRAM = """
import pathlib, re, resource, sys
from caa_registry.cli.main import main
try:
    main()
finally:
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        print(int(re.search(r"VmHWM:\\s*(\\d+)", status.read_text())[1]) * 1024, file=sys.stderr)
    else:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Step:
    """What a ``caa`` process printed, how long it ran and the most memory that it held, in bytes."""

    result: Any
    seconds: float
    memory: int


class Wrong(Exception):
    """A step did not say what was planted."""


def rows(count: int) -> Rows:
    """Pairs of random words, a fifth of them in ``test``. At the end ``PLANTED`` repeated rows, as many that are
    repeated but for a word, and as many questions of the other split with other answers."""
    words = sorted({word for name in seed_sets() for item in load(f"seed:{name.name}").items for word in plain(item)})
    chance = random.Random(20240805)

    def some(n: int) -> str:
        return " ".join(chance.choices(words, k=n))

    made = []
    for i in range(count - 3 * PLANTED):
        split = "test" if i % 5 == 4 else "generate"
        made.append({"prompt": f"{i}: {some(40)}", "positive": some(12), "negative": some(12), "split": split})
    near = [{**row, "positive": row["positive"] + " indeed"} for row in made[PLANTED : 2 * PLANTED]]
    leaks = [
        {**row, "positive": some(12), "negative": some(12), "split": "generate" if row["split"] == "test" else "test"}
        for row in made[2 * PLANTED : 3 * PLANTED]
    ]
    return [*made, *made[:PLANTED], *near, *leaks]


def plain(item: Any) -> Iterator[str]:
    """The words of a pair's prompt that are nothing but letters."""
    return (word for word in item.pair.prompt.split() if word.isalpha())


def write(made: Rows, path: Path) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return str(path)


def caa(registry: Path, *arguments: str) -> Step:
    """One ``caa`` process with ``--json``. Raises ``Wrong`` where it fails."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--registry", str(registry), "--json", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise Wrong(f"caa {' '.join(arguments[:3])} ended with {done.returncode}: {done.stderr[-2000:]}")
    return Step(json.loads(done.stdout), seconds, int(done.stderr.splitlines()[-1]))


def median(registry: Path, *arguments: str) -> Step:
    """Three runs: one result, the median time, the largest memory."""
    steps = [caa(registry, *arguments) for _ in range(3)]
    seconds = statistics.median(step.seconds for step in steps)
    return Step(steps[0].result, seconds, max(step.memory for step in steps))


def check(what: str, found: object, wanted: object) -> None:
    """Raise ``Wrong`` where a step said something else than was planted."""
    if found != wanted:
        raise Wrong(f"{what}: {found}, not {wanted}")


def measure(count: int, folder: Path) -> dict[str, Step]:
    """Every step on ``count`` pairs, checked."""
    registry = folder / "registry.db"
    made = rows(count)
    splits = dict(sorted(Counter(row["split"] for row in made).items()))
    steps = {"import": caa(registry, "dataset", "import", write(made, folder / "one.jsonl"), "--name", "bench/large")}
    check("splits", steps["import"].result["splits"], splits)
    steps["lint"] = caa(registry, "dataset", "lint", "bench/large")
    wanted = {
        "duplicate-pair": PLANTED,
        "near-duplicate": PLANTED,
        "repeated-question": PLANTED,
        "question-in-two-splits": PLANTED,
        "unknown-licence": 1,
    }
    check("lint", steps["lint"].result["summary"]["counts"], wanted)
    edited = [{**row, "negative": f"well {row['negative']}"} for row in made[-PLANTED - CHANGED : -PLANTED]]
    later = [*made[: -PLANTED - CHANGED], *edited, *made[-PLANTED:]]
    caa(registry, "dataset", "import", write(later, folder / "two.jsonl"), "--name", "bench/large")
    caa(registry, "dataset", "import", write(made[: count // 2], folder / "half.jsonl"), "--name", "bench/half")
    steps["ls"] = median(registry, "dataset", "ls")
    check("ls", [d["reference"] for d in steps["ls"].result], ["bench/half:v1", "bench/large:v2"])
    steps["show"] = median(registry, "dataset", "show", "bench/large:v1")
    shown = steps["show"].result["statistics"]
    check("rows shown", {s["split"]: s["rows"] for s in shown["splits"]}, splits)
    check("shared pairs", shown["nearest"], [{"reference": "bench/half:v1", "shared": count // 2}])
    steps["diff"] = median(registry, "dataset", "diff", "bench/large:v1", "bench/large:v2")
    counts = {"added": 0, "removed": 0, "moved": 0, "changed": CHANGED, "unchanged": count - CHANGED}
    check("diff", steps["diff"].result["counts"], counts)
    return steps


def as_documented(pairs: Sequence[Pair]) -> set[int]:
    """Which pairs have a near duplicate before them, by datasketch as its documentation uses it, candidates compared
    exactly."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    sets: list[set[str]] = []
    found = set()
    for i, pair in enumerate(pairs):
        triples = set()
        for text in (pair.prompt, pair.positive, pair.negative):
            words = text.casefold().split()
            triples |= {" ".join(words[k : k + 3]) for k in range(max(1, len(words) - 2))}
        sets.append(triples)
        sketch = MinHash(num_perm=BANDS * ROWS)
        for triple in triples:
            sketch.update(triple.encode())
        if any(len(triples & sets[j]) >= THRESHOLD * len(triples | sets[j]) for j in index.query(sketch)):
            found.add(i)
        index.insert(i, sketch)
    return found


def near_duplicates_beside(made: Rows) -> tuple[float, float]:
    """Seconds of datasketch as documented, and of ours, for the same near duplicates."""
    chosen = [*made[: COMPARED - PLANTED], *made[-2 * PLANTED : -PLANTED]]
    pairs = [PairItem(Pair(row["prompt"], row["positive"], row["negative"])).pair for row in chosen]
    seconds = []
    answers = []
    for search in (as_documented, lambda p: {near.later for near in near_duplicates(p, [0] * len(p))}):
        start = time.perf_counter()
        answers.append(search(pairs))
        seconds.append(time.perf_counter() - start)
    check("near duplicates", answers[1], answers[0])
    check("near duplicates planted", len(answers[0]), PLANTED)
    return seconds[0], seconds[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10,000 pairs")
    parser.add_argument("--json", action="store_true", help="one flat JSON object of figures on stdout")
    parser.add_argument("--pairs", type=int, default=None, help="how many pairs")
    options = parser.parse_args()
    count = options.pairs or (10_000 if options.quick else 100_000)
    console = Console(stderr=options.json)
    try:
        with tempfile.TemporaryDirectory() as folder:
            steps = measure(count, Path(folder))
        documented, ours = near_duplicates_beside(rows(COMPARED + 2 * PLANTED))
    except Wrong as error:
        print(error, file=sys.stderr)
        return 1
    figures: dict[str, float] = {"pairs": count}
    table = Table("step", "seconds", "limit", "memory", title=f"{count} pairs")
    for name, step in steps.items():
        figures |= {f"{name}_seconds": step.seconds, f"{name}_megabytes": step.memory / 1e6}
        limit = f"{LIMITS[name]:g}" if count == 100_000 else ""
        table.add_row(name, f"{step.seconds:.2f}", limit, f"{step.memory / 1e6:.0f} MB")
    console.print(table)
    figures |= {"near_documented_seconds": documented, "near_ours_seconds": ours, "near_ratio": documented / ours}
    console.print(
        f"Near duplicates of {COMPARED} pairs: datasketch as documented {documented:.2f} s, ours {ours:.2f} s, "
        f"{documented / ours:.1f} times as fast, the same found."
    )
    if options.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
