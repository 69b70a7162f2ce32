"""A judge's endpoint that means harm: what it writes is raw bytes, told by the path of the base URL.

with HostileJudge() as server:
    judge = EndpointJudge(server.base_url("gzip"), "judge", rubric)
"""

from __future__ import annotations

import functools
import gzip
import json
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from support.limited import measured
from support.loopback import LoopbackHandler, LoopbackServer

Written = Callable[[threading.Event], Iterator[bytes]]
LEAKED = "sk-leaked-4711-4711"


def completion(content: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()


def reply(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def _once(data: bytes) -> Written:
    return lambda closing: iter([data])


@functools.cache
def _zeros(kind: int) -> bytes:
    """400 MB of zeros, as zlib (15) or gzip (31)."""
    packer = zlib.compressobj(1, zlib.DEFLATED, kind)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(400)) + packer.flush()


def _bomb(kind: int, *headers: str, layers: int = 1, status: str = "200 OK") -> Written:
    def written(closing: threading.Event) -> Iterator[bytes]:
        data = _zeros(kind)
        for _ in range(layers - 1):
            data = gzip.compress(data)
        yield reply(data, *headers, status=status)

    return written


def _endless(head: bytes, piece: bytes) -> Written:
    def written(closing: threading.Event) -> Iterator[bytes]:
        yield head
        while not closing.is_set():
            yield piece

    return written


def _drip(head: bytes, piece: bytes) -> Written:
    """A little at a time, for as long as somebody listens."""

    def written(closing: threading.Event) -> Iterator[bytes]:
        yield head
        while not closing.wait(0.02):
            yield piece

    return written


_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"

# name -> what is written, and a part of the error's sentence, or "rated" for a reply that only gives no rating.
HOSTILE: dict[str, tuple[Written, str]] = {
    "gzip": (_bomb(31, "Content-Encoding: gzip"), "more than 1,000,000 bytes"),
    "deflate": (_bomb(15, "Content-Encoding: deflate"), "more than 1,000,000 bytes"),
    "layers": (_bomb(31, "Content-Encoding: gzip, gzip", layers=2), "encoding that was not asked for"),
    "brotli": (_once(reply(b"x" * 1000, "Content-Encoding: br")), "encoding that was not asked for"),
    "zstd": (_once(reply(b"x" * 1000, "Content-Encoding: zstd")), "encoding that was not asked for"),
    "broken-gzip": (_once(reply(b"\x1f\x8b\x08nonsense", "Content-Encoding: gzip")), "cannot be decompressed"),
    "error-bomb": (_bomb(31, "Content-Encoding: gzip", status="400 No"), "does not take the request"),
    "long": (_once(reply(completion("7" * 1_000_001))), "more than 1,000,000 bytes"),
    "endless-chunks": (_endless(_CHUNKED, b"1000\r\n" + b"7" * 4096 + b"\r\n"), "more than 1,000,000 bytes"),
    "endless-no-length": (_endless(_OK + b"\r\n", b"7" * 4096), "more than 1,000,000 bytes"),
    "endless-headers": (_endless(_OK, b"X-A: " + b"a" * 4000 + b"\r\n"), "cannot be reached"),
    "endless-header": (_endless(_OK + b"X-A: ", b"a" * 4000), "cannot be reached"),
    "endless-status": (_endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), "does not finish its reply"),
    "drip-body": (_drip(_CHUNKED, b"1\r\n7\r\n"), "does not finish its reply"),
    "drip-header": (_drip(_OK + b"X-A: ", b"a"), "does not finish its reply"),
    "silent": (_drip(b"", b""), "does not finish its reply"),
    "short-length": (_once(reply(completion("7"), length=10)), "not as an OpenAI-compatible endpoint"),
    "long-length": (_once(reply(completion("7"), length=10_000)), "cannot be reached"),
    "huge-length": (_once(reply(b"{}", length=10**30)), "cannot be reached"),
    "no-http": (_once(b"\x00\x01\x02 hello\r\n\r\n"), "cannot be reached"),
    "deep": (_once(reply(b"[" * 900_000)), "not as an OpenAI-compatible endpoint"),
    "deep-error": (_once(reply(b'{"error":' * 90_000, status="400 No")), "does not take the request"),
    "huge-number": (_once(reply(b'{"choices": ' + b"9" * 900_000 + b"}")), "not as an OpenAI-compatible endpoint"),
    "no-utf8": (_once(reply(b"\xff\xfe\x80" * 1000)), "not as an OpenAI-compatible endpoint"),
    "charset": (_bomb(15, "Content-Type: text/plain; charset=zlib_codec"), "more than 1,000,000 bytes"),
    "surrogates": (_once(reply(b'{"choices":[{"message":{"content":"\\ud800 no \\u0000"}}]}')), "rated"),
    "parts": (_once(reply(completion([{"type": "text", "text": "no "}, {"type": "image"}]))), "rated"),
    "odd-parts": (_once(reply(completion([{"type": "text"}, 7]))), "not as an OpenAI-compatible endpoint"),
    "repeats-key": (_once(reply(completion(f"your key is {LEAKED}"))), "rated"),
    "retry-date": (
        _once(reply(b"", "Retry-After: Mon, 01 Jan 2024 00:00:00 +99999999999", status="429 Slow")),
        "asks for a pause",
    ),
    "redirect": (_once(reply(b"", "Location: http://127.0.0.1:9/v1", status="307 Moved")), "has moved"),
}


class HostileJudge(LoopbackServer):
    """Serves until the ``with`` block ends; ``seen`` are the requests' headers."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = threading.Event()
        self.seen: list[dict[str, str]] = []

    def base_url(self, name: str) -> str:
        return f"{self.url}/{name}"

    def __exit__(self, *raised: Any) -> None:
        self.closing.set()
        super().__exit__(*raised)


class _Handler(LoopbackHandler):
    owner: HostileJudge

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.owner.seen.append(dict(self.headers))
        self.close_connection = True
        try:
            for piece in HOSTILE[self.path.split("/")[1]][0](self.owner.closing):
                self.wfile.write(piece)
        except OSError:
            return  # the other side has had enough


HostileJudge.handler = _Handler


def outcome(base_url: str) -> str:
    """What a judge there comes to: ``rated`` and the reply, or the error's sentence."""
    from caa_registry.errors import JudgeError
    from caa_registry.evaluation.open_ended.endpoint import DEADLINE, EndpointJudge
    from caa_registry.evaluation.open_ended.judging import Answered
    from caa_registry.evaluation.open_ended.rubrics import find_rubric

    slow = "does not finish" in HOSTILE[base_url.rpartition("/")[2]][1]
    deadline = 1.0 if slow else DEADLINE
    judge = EndpointJudge(base_url, "judge", find_rubric("sycophancy"), pause=lambda seconds: None, deadline=deadline)
    try:
        (rating,) = judge.ratings([Answered("Question?", "Answer.")])
    except JudgeError as error:
        assert error.hint
        return error.message
    rating.reply.encode()
    return f"rated {rating.reply}"


def report(url: str) -> None:
    """In a child: every hostile reply, after a harmless one."""
    names = [name for name in HOSTILE if name != "short-length"]
    measured(
        lambda: outcome(f"{url}/short-length"),
        {name: lambda name=name: outcome(f"{url}/{name}") for name in names},  # type: ignore[misc]
    )
