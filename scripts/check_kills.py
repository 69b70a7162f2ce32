"""Kill writers at random moments, round after round, and look whether all that they were told is there.

    python scripts/check_kills.py                        # 300 rounds of 3 writers on SQLite; about half an hour
    python scripts/check_kills.py --server --rounds 100 --writers 8   # on PostgreSQL, which also ends connections
    python scripts/check_kills.py --json                 # figures as one flat JSON object on stdout

Writers import, curate, store and compute vectors, move aliases, deprecate, delete, bring back, collect and back up, all
at once. At a random moment one of them or all are killed (SIGKILL); on PostgreSQL some only lose their connection. The
others finish. After each round fsck finds nothing but orphan blobs, every version, alias and deprecation that a writer
was told of is there, and every backup is a whole registry. Every 10 rounds they begin with a new registry.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from faults import forked, import_slow
from kill_writers import Expected, prepare, write

from caa_registry.errors import CaaError

_AFRESH = 10
# What all writers of a round together do, at most.
_MOST = 48
_TOLD = 10


class Round:
    """Writers in forks, and what they have told so far."""

    def __init__(self, url: str, folder: Path, seeds: list[int], most: int) -> None:
        self._text: dict[int, bytes] = {}
        self.pids: dict[int, int] = {}
        self._number: dict[int, int] = {}
        for number, seed in enumerate(seeds):
            reader, writer = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(reader)
                _write(url, folder, number, seed, writer, most)
            os.close(writer)
            self.pids[number], self._number[reader] = pid, number
            self._text[number] = b""

    def listen(self, seconds: float | None) -> bool:
        """Take in what is told for so long, or until there is something; whether anybody may still tell more."""
        if not self._number:
            return False
        for reader in select.select(list(self._number), [], [], seconds)[0]:
            data = os.read(reader, 65536)
            if data:
                self._text[self._number[reader]] += data
            else:
                os.close(reader)
                del self._number[reader]
        return True

    def kill(self, numbers: list[int]) -> None:
        for number in numbers:
            os.kill(self.pids[number], signal.SIGKILL)  # one that has ended was not waited for yet

    def end(self) -> dict[int, int]:
        """Take in the rest; how each writer ended."""
        while self.listen(None):
            pass
        return {number: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for number, pid in self.pids.items()}

    def lines(self, number: int) -> Iterator[dict[str, Any]]:
        # A line that was cut off was not told.
        return (json.loads(line) for line in self._text[number].split(b"\n")[:-1])

    def begun(self) -> int:
        return sum(text.count(b'"begin"') for text in self._text.values())


def _write(url: str, folder: Path, number: int, seed: int, pipe: int, most: int) -> None:
    def tell(what: dict[str, Any]) -> None:
        os.write(pipe, json.dumps(what).encode() + b"\n")

    status = 1
    try:
        write(url, folder, number, seed, tell, most)
        status = 0
    except CaaError as error:  # its connection ended while it opened the registry
        tell({"failed": error.message})
        status = 0
    except BaseException as error:  # noqa: BLE001 - it is told to the parent
        tell({"failed": f"{type(error).__name__}: {error}"})
    os._exit(status)


def rounds(options: argparse.Namespace, root: Path, server: Any = None) -> tuple[Counter[str], list[str]]:
    """Play all rounds; figures, and what was wrong."""
    counts: Counter[str] = Counter()
    problems: list[str] = []
    expected, folder, url = Expected(), root, ""
    for number in range(options.first, options.first + options.rounds):
        chance = random.Random(number)
        if number % _AFRESH == 0 or not url:
            shutil.rmtree(folder, ignore_errors=True)
            folder = root / str(number)
            folder.mkdir(parents=True)
            url = server.empty() if server else f"sqlite:///{folder / 'registry.db'}"
            os.environ["CAA_HOME"] = str(folder / "home")
            made = forked(lambda url=url: prepare(url))
            assert made.status == 0, made.trace
            _count(counts, expected)
            expected = Expected()
        seeds = [chance.randrange(2**31) for _ in range(options.writers)]
        playing = Round(url, folder, seeds, max(_MOST // options.writers, 4))
        wrong = _play(playing, chance, expected, counts, server, url)
        looked = forked(partial(_look, expected, url))
        if looked.value is None:
            wrong.append(f"the look at it failed: {looked.trace}")
        else:
            wrong += looked.value[0]
            expected.states = {about: set(states) for about, states in looked.value[1].items()}
        counts["rounds"] += 1
        for problem in wrong:
            print(f"round {number}: {problem}", file=sys.stderr, flush=True)
        if counts["rounds"] % _TOLD == 0:
            print(f"{counts['rounds']} rounds, {counts['killed']} killed", file=sys.stderr, flush=True)
        problems += wrong
        if wrong:
            url = ""  # begin anew
    _count(counts, expected)
    return counts, problems


def _look(expected: Expected, url: str) -> list[Any]:
    """What is wrong, and what is there. In a fork."""
    return [expected.problems(url), {about: sorted(states) for about, states in expected.states.items()}]


def _count(counts: Counter[str], expected: Expected) -> None:
    counts.update({f"told {kind}": count for kind, count in expected.told.items()})
    counts["told"] += expected.told.total()
    counts["refused"] += expected.refused
    counts["cut off"] += expected.cut
    counts["failed"] += len(expected.failed)


def _play(
    playing: Round, chance: random.Random, expected: Expected, counts: Counter[str], server: Any, url: str
) -> list[str]:
    """Kill when a random number of things were begun, and a random moment later; what should not have happened."""
    enough = chance.randrange(1, _MOST)
    while playing.begun() < enough and playing.listen(5.0):
        pass
    moment = time.monotonic() + chance.random() * 0.05
    while (rest := moment - time.monotonic()) > 0 and playing.listen(rest):
        pass
    everyone = list(playing.pids)
    doomed = everyone if chance.random() < 0.5 else chance.sample(everyone, chance.randrange(1, len(everyone)))
    ended_by_server = server is not None and chance.random() < 0.5
    if ended_by_server:
        ended = server.terminate(url, len(doomed))
        counts["connections ended"] += ended
    else:
        playing.kill(doomed)
    found = []
    for number, status in playing.end().items():
        before = len(expected.failed)
        expected.read(f"w{number}", playing.lines(number))
        counts["killed"] += status == -9
        failed = expected.failed[before:]
        if status not in (0, -9) or (failed and not ended_by_server):
            found.append(f"writer {number} ended with {status}: {'; '.join(failed)}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300, help="how many rounds (default 300)")
    parser.add_argument("--writers", type=int, default=3, help="how many writers (default 3)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first round (default 0)")
    parser.add_argument("--server", action="store_true", help="on PostgreSQL")
    parser.add_argument("--json", action="store_true", help="figures as one flat JSON object on stdout")
    options = parser.parse_args()
    logging.getLogger("caa_registry").setLevel(logging.ERROR)  # that a version is deprecated is no news
    import_slow()
    server = None
    if options.server:
        from fault_server import Server

        server = Server()
    with tempfile.TemporaryDirectory(prefix="caa-kills-") as folder:
        counts, problems = rounds(options, Path(folder) / "rounds", server)
    counts["problems"] = len(problems)
    if options.json:
        print(json.dumps(counts))
    else:
        print(", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
