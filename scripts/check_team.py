"""Have a team work on a registry on PostgreSQL and a bucket while everything fails, and look whether anything is lost.

    python scripts/check_team.py                                   # 8 clients, 2,000 operations; about 10 minutes
    python scripts/check_team.py --operations 100 --clients 3 --kills 4 --ended 2
    python scripts/check_team.py --seed 7
    python scripts/check_team.py --json                            # figures as one flat JSON object on stdout

Clients, each a process, import, register, compute, combine, evaluate, set and move aliases, tag, describe, delete,
undelete, collect, pull from another registry, push to it and read. Requests to the bucket fail in ways that servers and
networks fail; connections to the database are ended; clients are killed (SIGKILL) amid what they do, and others take
their places. Each keeps a journal of what it was told.

In the end fsck finds nothing but orphan blobs, the versions of each name are 1 to n, what was told to be stored is
there, with its number, its digest and its bytes, unless it was told to be deleted, and aliases, tags and texts are what
was told last. What is refused is refused in words. Linux, since all processes have to share a clock.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from team_client import work
from team_history import lines
from team_operations import BASE, SECOND, WAYS, Place

SPAWN = multiprocessing.get_context("spawn")
_EVERY = 0.05
# As long as nothing takes.
_STUCK = 180.0


class Seat:
    """One client after the other, which do ``kinds``. ``begun``: how many of these; ``busy``: whether one is under
    way; ``killed``: how many clients were. ``journals``: of each client, with the moment at which it was gone."""

    def __init__(self, place: Place, who: str, kinds: Sequence[str], chance: random.Random) -> None:
        self.who, self.begun, self.busy, self.killed = who, 0, False, 0
        self.journals: list[tuple[Path, float]] = []
        self._place, self._kinds, self._chance = place, kinds, chance
        self._start()

    def _start(self) -> None:
        self._before, self._seen, self.heard = self.begun, 0, time.monotonic()
        self._journal = self._place.home.parent / f"{self.who}-{len(self.journals)}.jsonl"
        left = self._kinds[self.begun :]
        seed = self._chance.randrange(2**31)
        self.process = SPAWN.Process(target=work, args=(self._place, self.who, left, seed, self._journal))
        self.process.start()

    def listen(self) -> bool:
        """Take in what its client has written; whether there is one. Another one takes the place of one that is
        gone, unless all is done."""
        exit_code = self.process.exitcode
        size = self._journal.stat().st_size if self._journal.exists() else 0
        if size != self._seen:
            said = list(lines(self._journal))
            self._seen, self.heard = size, time.monotonic()
            self.begun = self._before + sum("do" in line for line in said)
            self.busy = bool(said) and "do" in said[-1]
        if exit_code is None:
            return True
        self.busy = False
        self.killed += exit_code == -signal.SIGKILL
        self.journals.append((self._journal, time.monotonic()))
        if exit_code == -signal.SIGKILL and self.begun < len(self._kinds):
            self._start()
            return True
        return False


def deck(operations: int, chance: random.Random) -> list[str]:
    """What is done, as often as ``WAYS`` says, in any order."""
    whole = [kind for kind, (weight, _) in WAYS.items() for _ in range(weight)]
    chosen = [*WAYS, *(kind for _ in range(operations // len(whole) + 1) for kind in chance.sample(whole, len(whole)))]
    chosen = chosen[:operations]
    chance.shuffle(chosen)
    return chosen


def play(seats: Sequence[Seat], options: argparse.Namespace, server: Any, chance: random.Random) -> Counter[str]:
    """Let all clients work, and kill them and end connections at random moments."""
    counts: Counter[str] = Counter()
    due = {what: moments(number, options.operations, chance) for what, number in
           (("kill", options.kills), ("end", options.ended))}  # fmt: skip
    working = list(seats)
    while working:
        time.sleep(_EVERY * chance.random() * 2)
        working = [seat for seat in working if seat.listen()]
        begun = sum(seat.begun for seat in seats)
        busy = [seat for seat in working if seat.busy]
        if due["kill"] and due["kill"][0] <= begun and busy:
            due["kill"].popleft()
            chance.choice(busy).process.kill()
        if due["end"] and due["end"][0] <= begun:
            due["end"].popleft()
            counts["connections ended"] += server.terminate(server.url, chance.randrange(1, 4))
        for seat in working:
            if time.monotonic() - seat.heard > _STUCK:
                counts["stuck"] += 1
                seat.process.kill()
    return counts


def moments(number: int, operations: int, chance: random.Random) -> deque[int]:
    """When as many operations were begun, so many times something happens."""
    return deque(sorted(chance.sample(range(1, operations), min(number, operations - 1))))


def prepare(url: str, blobs: str, second: str) -> Mapping[str, Sequence[tuple[str, str, str]]]:
    """Make both registries; what the second one gives, and what comes along with each: kind, name and digest."""
    import caa_registry as caa
    from caa_registry.registry.lookup import find_version
    from caa_registry.registry.transfer.outline import outline

    layers = (1, 2)
    with caa.open(url, actor="ada", blobs=blobs) as registry:
        pairs = registry.datasets.import_("seed:demo-sycophancy", name=f"{BASE}/pairs")
        registry.vectors.compute(f"{BASE}/demo", dataset=pairs, model="demo", layers=layers)
    references = []
    with caa.open(second, actor="eve") as registry:
        pairs = registry.datasets.import_("seed:demo-sentiment", name=f"{SECOND}/pairs")
        first = registry.vectors.compute(f"{SECOND}/demo", dataset=pairs, model="demo", layers=layers)
        settings = caa.PropensitySettings(draws=19)
        registry.evaluations.propensity(first, model="demo", layers=[2], multipliers=[-1, 1], settings=settings)
        for place in range(8):
            rows = [(f"Is {place} of {row} good?", "Yes", "No") for row in range(3)]
            owner = SECOND if place < 5 else "team"
            pairs = registry.datasets.add(f"{owner}/d{place % 4}", pairs=rows, split="all")
            vector = registry.vectors.compute(f"{owner}/v{place % 4}", dataset=pairs, model="demo", layers=layers)
            mixed = registry.vectors.combine(f"{owner}/m", [(vector, 1.0), (first, 0.5)], behavior="mixed")
            references += [f"dataset:{pairs.reference}", f"vector:{vector.reference}", f"vector:{mixed.reference}"]
            first = vector
        source = {}
        with registry.database.read() as session:
            for reference in references:
                kind: Any = reference.partition(":")[0]
                row = find_version(session, reference.partition(":")[2], kind)
                whole = outline(session, (kind, row.id))
                keys = [key for thing, key in whole.keys.items() if thing != whole.root]
                along = [(k.kind, k.name, k.digest) for k in keys if k.kind in ("dataset", "vector")]
                root = whole.keys[whole.root]
                source[reference] = [*along, (root.kind, root.name, root.digest)]
    return source


def look(journals: Sequence[tuple[Path, float]], url: str, second: str, bucket: Any) -> tuple[Any, ...]:
    """What is wrong in the end, and what there was. In a process of its own."""
    from team_history import History
    from team_look import look

    history = History()
    for journal, died in journals:
        history.read(journal, died)
    history.close()
    problems, looked = look(history, url, second, bucket)
    told = sum(write.told for writes in history.writes.values() for write in writes)
    return history.problems + problems, {**history.counts, **looked, "told": told}, history.refusals.most_common()


def in_process(function: Any, *arguments: Any) -> Any:
    """What ``function`` gives, in a process of its own."""
    with SPAWN.Pool(1) as pool:
        return pool.apply(function, arguments)


def run(options: argparse.Namespace, root: Path, server: Any) -> int:
    from team_bucket import FailingServer

    chance, begun = random.Random(options.seed), time.monotonic()
    with FailingServer(options.seed) as bucket:
        os.environ |= {**bucket.environment(), "CAA_HOME": str(root / "home")}
        name, second, url = bucket.new_bucket("campaign"), str(root / "second.db"), server.empty()
        source = in_process(prepare, url, f"s3://{name}/caa", second)
        kinds = deck(options.operations, chance)
        bucket.rate = options.faults
        prepared = time.monotonic()
        seats = [
            Seat(Place(url, second, source, root / f"w{n}"), f"w{n}", kinds[n :: options.clients], chance)
            for n in range(options.clients)
        ]
        counts = play(seats, options, server, chance)
        played = time.monotonic()
        bucket.rate = 0
        bucket.faults.clear()
        journals = [journal for seat in seats for journal in seat.journals]
        problems, looked, refusals = in_process(look, journals, url, second, bucket.direct(f"/{name}/caa"))
        problems += [
            f"a client of {seat.who} ended with {seat.process.exitcode}" for seat in seats if seat.process.exitcode
            not in (0, -signal.SIGKILL)
        ]  # fmt: skip
    if counts["stuck"]:
        problems.append(f"{counts['stuck']} clients did nothing for {_STUCK:.0f} seconds")
    figures = {
        "operations": sum(seat.begun for seat in seats),
        "clients killed": sum(seat.killed for seat in seats),
        **counts,
        "requests": len(bucket.requests),
        "requests that failed": bucket.injected.total(),
        **{f"failed by {kind}": count for kind, count in sorted(bucket.injected.items())},
        **looked,
        "problems": len(problems),
        "seconds": round(time.monotonic() - begun),
        "seconds of work": round(played - prepared),
    }
    for words, count in refusals:
        print(f"{count:6} {words}", file=sys.stderr)
    for problem in problems[:40]:
        print(f"PROBLEM {problem}", file=sys.stderr)
    print(json.dumps(figures) if options.json else table(figures))
    return 1 if problems else 0


def table(figures: Mapping[str, int]) -> str:
    """The figures as people read them, what was done in a table."""
    outcomes = ("done", "refused", "failed", "killed")
    rows = [(kind, *(figures.get(f"{kind}: {outcome}", 0) for outcome in outcomes)) for kind in WAYS]
    rows.append(("all", *(sum(row[place] for row in rows) for place in range(1, 5))))
    done = "\n".join(f"{row[0]:18}" + "".join(f"{count:>9}" for count in row[1:]) for row in (("", *outcomes), *rows))
    others = "\n".join(f"{value:6} {name}" for name, value in figures.items() if ": " not in name)
    return f"{done}\n\n{others}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--operations", type=int, default=2000, help="what all clients together do (default 2000)")
    parser.add_argument("--clients", type=int, default=8, help="how many at a time (default 8)")
    parser.add_argument("--kills", type=int, default=60, help="how many clients are killed (default 60)")
    parser.add_argument("--ended", type=int, default=60, help="how often connections are ended (default 60)")
    parser.add_argument("--faults", type=float, default=0.1, help="share of requests that go wrong (default 0.1)")
    parser.add_argument("--seed", type=int, default=0, help="of what is done, and when (default 0)")
    parser.add_argument("--json", action="store_true", help="figures as one flat JSON object on stdout")
    options = parser.parse_args()
    from fault_server import Server

    with tempfile.TemporaryDirectory(prefix="caa-team-") as folder:
        return run(options, Path(folder), Server())


if __name__ == "__main__":
    sys.exit(main())
