"""Kill pushes and pulls at random moments, and look whether both registries hold the union in the end, once.

    python scripts/check_transfers.py                          # 200 versions each, SQLite and PostgreSQL, 50 kills
    python scripts/check_transfers.py --versions 40 --kills 10
    python scripts/check_transfers.py --json                   # figures as one flat JSON object on stdout

Two registries have versions of their own, some of them of names that both have. One pushes all that it has and pulls
all that the other has, in processes that are killed (SIGKILL) at random moments and begun anew. Afterwards both hold
every version, each once under its name, numbers have no gaps, and fsck finds nothing but orphan blobs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from faults import import_slow
from sqlalchemy import select

import caa_registry as caa
from caa_registry.catalog import models as t

Content = tuple[str, str, str]
"""Kind, name and digest of a version."""


def make(url: str, who: str, versions: int) -> None:
    """Make a registry with ``versions`` versions: pairs, a vector of them with scores, and vectors combined of it and
    of each other. Every second name is one that another registry has too."""
    with caa.open(url, actor=who) as registry:
        pairs = registry.datasets.import_(
            f"seed:demo-{'sycophancy' if who == 'ada' else 'sentiment'}", name=f"{who}/base"
        )
        base = registry.vectors.compute(f"{who}/base", dataset=pairs, model="demo")
        registry.evaluations.propensity(base, model="demo", layers=[2], settings=caa.PropensitySettings(draws=19))
        made, left = [base], versions - 2
        for place in range(left // 4):
            rows = [(f"{who} asks {place}.{row}", "yes", "no") for row in range(4)]
            registry.datasets.add(f"{'shared' if place % 2 else who}/pairs-{place % 6}", pairs=rows, licence="CC0-1.0")
        for place in range(left - left // 4):
            name = f"{'shared' if place % 2 else who}/vector-{place % 10}"
            terms = [(base, 1 + place / 8)] if place % 8 < 6 else [(made[-1], 1.0), (made[-4], -place / 8)]
            made.append(registry.vectors.combine(name, terms))


def contents(url: str) -> Counter[Content]:
    """What a registry holds, and how often."""
    found: Counter[Content] = Counter()
    with caa.open(url) as registry, registry.database.read() as session:
        for kind, owner, version, column in (
            ("dataset", t.Dataset, t.DatasetVersion, t.DatasetVersion.dataset_id),
            ("vector", t.Vector, t.VectorVersion, t.VectorVersion.vector_id),
        ):
            query = select(owner.name, version.digest).join(owner, owner.id == column)
            found.update((kind, name, digest) for name, digest in session.execute(query))
    return found


def references(url: str) -> list[str]:
    """Every version of a registry."""
    with caa.open(url) as registry, registry.database.read() as session:
        found = []
        for kind, owner, version, column in (
            ("dataset", t.Dataset, t.DatasetVersion, t.DatasetVersion.dataset_id),
            ("vector", t.Vector, t.VectorVersion, t.VectorVersion.vector_id),
        ):
            query = select(owner.name, version.number).join(owner, owner.id == column)
            found += [f"{kind}:{name}:v{number}" for name, number in session.execute(query)]
    return found


def killed(work: Callable[[], object], after: float) -> int:
    """Call ``work`` in a fork and kill that after so many seconds; how it ended."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    ends = time.monotonic() + after
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def check(here: str, there: str, union: set[Content]) -> list[str]:
    problems = []
    for url in (here, there):
        held = contents(url)
        if set(held) != union:
            problems.append(f"{len(union - set(held))} versions are missing, {len(set(held) - union)} too many")
        problems += [f"{content} is there {count} times" for content, count in held.items() if count > 1]
        with caa.open(url) as registry:
            problems += [f"{fault.kind} {fault.what}: {fault.problem}" for fault in registry.fsck().faults]
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--versions", type=int, default=200, help="versions of each registry (default 200)")
    parser.add_argument("--kills", type=int, default=50, help="how often to kill (default 50)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--json", action="store_true", help="figures as one flat JSON object on stdout")
    options = parser.parse_args()
    chosen = random.Random(options.seed)
    import_slow()
    from fault_server import Server

    with tempfile.TemporaryDirectory(prefix="caa-transfers-") as folder:
        os.environ["CAA_HOME"] = str(Path(folder) / "home")
        here, there = str(Path(folder) / "here.db"), Server().empty()
        make(here, "ada", options.versions)
        make(there, "bob", options.versions)
        union = set(contents(here)) | set(contents(there))
        sent, taken = references(here), references(there)
        begun = time.monotonic()

        def work() -> None:
            with caa.open(here, actor="ada") as registry:
                if chosen.random() < 0.5:
                    registry.push(*sent, to=there)
                    registry.pull(*taken, source=there)
                else:
                    registry.pull(*taken, source=there)
                    registry.push(*sent, to=there)

        figures: Counter[str] = Counter()
        while figures["killed"] < options.kills:
            chosen.random()
            status = killed(work, chosen.uniform(0.05, 1.5))
            figures["killed" if status == -signal.SIGKILL else "done" if status == 0 else "failed"] += 1
            if figures["failed"] or figures["done"] > options.kills:
                break
        work()
        problems = check(here, there, union)
        result = {
            **figures,
            "versions_here": len(sent),
            "versions_there": len(taken),
            "union": len(union),
            "problems": len(problems),
            "seconds": round(time.monotonic() - begun),
        }
    for problem in problems[:20]:
        print(problem, file=sys.stderr)
    print(json.dumps(result) if options.json else ", ".join(f"{value} {name}" for name, value in result.items()))
    return 1 if problems or figures["failed"] or figures["killed"] < options.kills else 0


if __name__ == "__main__":
    sys.exit(main())
