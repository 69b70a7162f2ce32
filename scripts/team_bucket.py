"""A bucket whose server fails as servers and networks fail, in the process that asks for it."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from team_look import Bucket

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support import s3_server
from support.s3_server import Fault, S3Server

# What becomes of requests, how often, and how often in a row at most.
_GET = ("GET",)
_ANY = ("GET", "HEAD", "PUT", "POST", "DELETE")
_FAULTS: Sequence[tuple[int | str, str, tuple[str, ...], int, int]] = (
    (500, "InternalError", _ANY, 6, 6),
    (503, "SlowDown", _ANY, 6, 6),
    (429, "TooManyRequests", _ANY, 2, 6),
    (403, "AccessDenied", _ANY, 1, 1),
    (404, "NoSuchKey", ("GET", "HEAD"), 4, 2),
    ("refuse", "", _ANY, 4, 6),
    ("drop", "", _ANY, 6, 6),
    ("hang", "", _ANY, 2, 1),
    ("late", "", ("PUT", "POST", "DELETE"), 12, 2),
    ("cut", "", _GET, 4, 6),
    ("short", "", _GET, 2, 1),
    ("flip", "", _GET, 2, 1),
    ("other", "", _GET, 2, 1),
)


class FailingServer(S3Server):
    """A server of a bucket at which a share ``rate`` of requests goes wrong, one in eight of these several times in a
    row. ``injected``: how often, by what."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign] # who was killed takes no answer
        self.rate = 0.0
        self.injected: Counter[str] = Counter()
        self._chance = random.Random(seed)

    def fault(self, method: str, path: str) -> Fault | None:
        found = super().fault(method, path)
        with self.lock:
            if found is None and self._chance.random() < self.rate:
                able = [each for each in _FAULTS if method in each[2]]
                kind, code, _, _, most = self._chance.choices(able, [each[3] for each in able])[0]
                found = Fault(method, kind, code)
                if most > 1 and self._chance.random() < 1 / 8:
                    part = path.partition("?")[0]
                    self.faults.append(replace(found, part=part, times=self._chance.randrange(1, most)))
            if found is not None:
                self.injected[f"{found.kind} {found.code}".strip()] += 1
        return found

    def environment(self) -> dict[str, str]:
        """What tells a process where the bucket is."""
        return s3_server.environment(self.url)

    def direct(self, prefix: str) -> Bucket:
        """The bucket past all that fails. ``prefix``: of the paths of all blobs."""
        return Bucket(*s3_server._moto(), prefix)
