"""Kill pushes and pulls at random moments, and look whether both registries hold the union in the end, once.

    python scripts/check_transfers.py                          # 200 versions each, 50 kills
    python scripts/check_transfers.py --versions 40 --kills 10
    python scripts/check_transfers.py --json                   # figures as one flat JSON object on stdout

A SQLite registry and one on PostgreSQL whose bytes are in a bucket of S3 have versions of their own, some of them of
names that both have. One pushes all that it has and pulls all that the other has, in processes that are killed
(SIGKILL) at random moments and begun anew. Afterwards both hold every version, each once under its name, numbers have
no gaps, and fsck finds nothing but orphan blobs.
"""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select

import caa_registry as caa
from caa_registry.catalog import models as t

SPAWN = multiprocessing.get_context("spawn")

Content = tuple[str, str, str]
"""Kind, name and digest of a version."""


def make(url: str, who: str, versions: int, blobs: str | None) -> None:
    """Make a registry with ``versions`` versions: pairs, a vector of them with scores, and vectors combined of it and
    of each other. Every second name is one that another registry has too."""
    with caa.open(url, actor=who, blobs=blobs) as registry:
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


def exchange(here: str, there: str, seed: int, begun: Any) -> None:
    """Push all that one has and pull all that the other has, in either order. ``begun`` is set when that begins."""
    chosen = random.Random(seed)
    sent, taken = references(here), references(there)
    begun.set()
    with caa.open(here, actor="ada") as registry:
        ways = [lambda: registry.push(*sent, to=there), lambda: registry.pull(*taken, source=there)]
        chosen.shuffle(ways)
        for way in ways:
            way()


def killed(here: str, there: str, seed: int, after: float | None) -> int:
    """Exchange in a process of its own, killed so many seconds after it began; how it ended.

    Not a fork: a client of a bucket does not survive one.
    """
    begun = SPAWN.Event()
    process = SPAWN.Process(target=exchange, args=(here, there, seed, begun))
    process.start()
    begun.wait(600)
    process.join(after)
    if process.exitcode is None:
        process.kill()
        process.join()
    return int(process.exitcode or 0)


def in_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """What ``work`` gives, in a process of its own."""
    with SPAWN.Pool(1) as pool:
        return pool.apply(work, arguments)


@contextmanager
def bucket() -> Iterator[str]:
    """The URL of a bucket on a server of moto's, to which the environment points."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "campaign",
        "AWS_SECRET_ACCESS_KEY": "campaign",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    connection = http.client.HTTPConnection(host, port)
    connection.request("PUT", "/campaign")
    assert connection.getresponse().status == 200
    connection.close()
    try:
        yield "s3://campaign/caa"
    finally:
        server.stop()


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
    parser.add_argument("--longest", type=float, default=2.0, help="seconds before a kill at most (default 2)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--json", action="store_true", help="figures as one flat JSON object on stdout")
    options = parser.parse_args()
    chosen = random.Random(options.seed)
    from fault_server import Server

    with tempfile.TemporaryDirectory(prefix="caa-transfers-") as folder, bucket() as blobs:
        os.environ["CAA_HOME"] = str(Path(folder) / "home")
        here, there = str(Path(folder) / "here.db"), Server().empty()
        in_process(make, here, "ada", options.versions, None)
        in_process(make, there, "bob", options.versions, blobs)
        ours, theirs = in_process(contents, here), in_process(contents, there)
        union = set(ours) | set(theirs)
        begun = time.monotonic()
        figures: Counter[str] = Counter()
        while figures["killed"] < options.kills and figures["done"] <= options.kills and not figures["failed"]:
            status = killed(here, there, chosen.randrange(2**31), chosen.uniform(0, options.longest))
            figures["killed" if status == -signal.SIGKILL else "done" if status == 0 else "failed"] += 1
        last = killed(here, there, 0, None)
        problems = in_process(check, here, there, union)
        problems += [f"the last exchange ended with {last}"] * (last != 0)
        result = {
            **figures,
            "versions_here": len(ours),
            "versions_there": len(theirs),
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
