"""A small OpenAI-compatible endpoint on 127.0.0.1: chat completions, and whatever goes wrong with them.

with JudgeServer(lambda request: "7") as server:
    server.queue.append(Reply(429, {"error": {"message": "slow down"}}, {"Retry-After": "2"}))
    judge = EndpointJudge(server.base_url, "judge", rubric)
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from support.loopback import LoopbackHandler, LoopbackServer

Said = Callable[[dict[str, Any]], str | None]


@dataclass(frozen=True)
class Reply:
    """A response in place of a completion: ``body`` is JSON, or text as it is. ``status`` 0 drops the connection."""

    status: int
    body: Any = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What was asked. ``at_once``: how many requests were under way with it."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    at_once: int


class JudgeServer(LoopbackServer):
    """Serves until the ``with`` block ends. Replies in ``queue`` come first; then ``said`` answers each request."""

    def __init__(self, said: Said, together: int = 1) -> None:
        super().__init__()
        self.said = said
        self.queue: list[Reply] = []
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        # Holds requests back until so many are under way.
        self.gate = threading.Barrier(together)
        self.under_way = 0

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"


class _Handler(LoopbackHandler):
    owner: JudgeServer

    def do_POST(self) -> None:
        judge = self.owner
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with judge.lock:
            judge.under_way += 1
            judge.requests.append(Request(self.path, dict(self.headers), body, judge.under_way))
            reply = judge.queue.pop(0) if judge.queue else None
        judge.gate.wait(timeout=20)
        if reply is None:
            content = judge.said(body)
            reply = Reply(200, {"choices": [{"message": {"role": "assistant", "content": content}}]})
        with judge.lock:
            judge.under_way -= 1
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        if reply.status == 0:
            self.close_connection = True
            return
        data = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


JudgeServer.handler = _Handler
