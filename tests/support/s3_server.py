"""A bucket server on 127.0.0.1, moto's, behind a proxy that does what goes wrong on the way.

with S3Server() as s3:
    point_at(monkeypatch, s3)
    bucket = s3.new_bucket()
    s3.faults.append(Fault("GET", "drop"))      # the next GET is carried out, and not answered
"""

from __future__ import annotations

import functools
import http.client
import itertools
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support.loopback import LoopbackHandler, LoopbackServer

from caa_registry.blobs import bucket

KEY, SECRET = "AKIDFORTESTSONLY0000", "secret/for+tests/only0000000000000000000"

LATE_SECONDS = 3

_numbers = itertools.count()


@functools.cache
def _moto() -> tuple[str, int]:
    import logging

    server = pytest.importorskip("moto.server", reason="moto[server] is not installed").ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    return server.get_host_and_port()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Fault:
    """What becomes of a request of ``method`` whose path holds ``part``.

    ``kind``: a status to be answered with (and ``code``, as S3 names it) in place of carrying it out; ``refuse``: the
    connection is closed, and it is not carried out; ``late``: it is closed, and carried out seconds later. All others
    carry it out: ``drop`` closes the connection in place of the answer, ``hang`` never answers, ``cut`` closes it amid
    the body, ``short`` gives a body that ends early as if it were whole, ``flip`` one with another byte, ``other``
    quite another one.
    """

    method: str
    kind: int | str
    code: str = ""
    part: str = ""
    times: int = 1


class S3Server(LoopbackServer):
    """Serves until the ``with`` block ends. ``requests`` lists what was asked, as ``METHOD path``. ``gate``: holds
    requests for blobs back until so many are under way."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.gate: threading.Barrier | None = None
        self.lock = threading.Lock()
        self.stopped = threading.Event()

    def __exit__(self, *error: Any) -> None:
        self.stopped.set()
        super().__exit__(*error)

    def new_bucket(self, name: str = "") -> str:
        name = name or f"bucket-{next(_numbers)}"
        assert self.ask("PUT", f"/{name}") == 200
        return name

    def ask(self, method: str, path: str, body: bytes = b"") -> int:
        """Ask the server itself, past all faults; the status."""
        connection = http.client.HTTPConnection(*_moto())
        connection.request(method, path, body)
        status = connection.getresponse().status
        connection.close()
        return status

    def fault(self, method: str, path: str) -> Fault | None:
        """The first that is left for such a request, which is then one less."""
        with self.lock:
            self.requests.append(f"{method} {path}")
            for place, fault in enumerate(self.faults):
                if fault.method in (method, "*") and fault.part in path:
                    left = Fault(fault.method, fault.kind, fault.code, fault.part, fault.times - 1)
                    self.faults[place : place + 1] = [left] if left.times else []
                    return fault
        return None


class _Handler(LoopbackHandler):
    owner: S3Server

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server, fault = self.owner, self.owner.fault(self.command, self.path)
        if server.gate is not None and "/sha256/" in self.path:
            server.gate.wait(timeout=20)
        if fault is not None and isinstance(fault.kind, int):
            text = f"<Error><Code>{fault.code}</Code><Message>{KEY} {SECRET}</Message></Error>"
            self._send(fault.kind, [], text.encode())
            return
        if fault is not None and fault.kind == "refuse":
            self._close()
            return
        if fault is not None and fault.kind == "late":
            self._close()
            server.stopped.wait(timeout=LATE_SECONDS)
        connection = http.client.HTTPConnection(*_moto())
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        skipped = ("connection", "transfer-encoding", "content-length", "server", "date")
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in skipped]
        length = int(answer.headers.get("Content-Length") or 0) if self.command == "HEAD" else None
        kind = fault.kind if fault is not None else ""
        if kind == "late":
            return
        if kind == "drop":
            self._close()
        elif kind == "hang":
            server.stopped.wait(timeout=30)
            self._close()
        elif kind == "cut":
            self._send(answer.status, headers, data[: len(data) // 2], length=len(data))
            self._close()
        else:
            changed = {
                "short": lambda: data[: len(data) // 2],
                "flip": lambda: bytes([data[0] ^ 1]) + data[1:],
                "other": lambda: b"<html>this is a captive portal</html>",
            }
            self._send(answer.status, headers, changed[kind]() if kind else data, length=length)

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _close(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer


S3Server.handler = _Handler


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server that this process finds. A request without an answer is given up soon, and the next comes at once."""
    monkeypatch.setattr(bucket, "_SECONDS", 1)
    monkeypatch.setattr(bucket, "_WAIT_SECONDS", 0)
    with S3Server() as server:
        point_at(monkeypatch, server.url)
        yield server


def environment(url: str) -> dict[str, str]:
    """What tells a process where the bucket is, and the keys."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def point_at(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Have this process find the bucket at ``url``."""
    for name, value in environment(url).items():
        monkeypatch.setenv(name, value)
