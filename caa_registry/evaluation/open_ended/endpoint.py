"""A judge behind an OpenAI-compatible endpoint.

``endpoint_key.py`` says which key goes where; it is kept and shown nowhere. What comes back is read to
``MOST_BYTES``, and a reply as a whole has ``DEADLINE`` seconds: the server may be anybody's.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from caa_registry.display.records import Record
from caa_registry.errors import JudgeError, UsageError
from caa_registry.evaluation.open_ended.endpoint_key import JudgeKey, judge_key
from caa_registry.evaluation.open_ended.endpoint_replies import Response, pause_asked_for, refusal, reply_of
from caa_registry.evaluation.open_ended.judging import INSTRUCTIONS, Answered, JudgeIdentity, Rating, judged_text, rated
from caa_registry.evaluation.open_ended.rubrics import Rubric

if TYPE_CHECKING:
    import httpx2
    from anyio.from_thread import BlockingPortal

REPLY_TOKENS = 16
ATTEMPTS = 6
# Seconds. A judge that asks for a longer pause is given up; a model that is loaded on demand may take its time.
LONGEST_PAUSE = 120.0
_CONNECT, _REPLY = 10.0, 120.0
# Of a reply with its headers, however many bytes keep coming.
DEADLINE = 300.0
# Of a body, decoded. A completion of a few tokens is a thousandth of it.
MOST_BYTES = 1_000_000
# These are decoded in small pieces. Nothing else is asked for, and several layers are bombs.
_ENCODINGS = {"", "identity", "gzip", "x-gzip", "deflate"}


@dataclass(frozen=True)
class EndpointJudge(Record):
    """The model ``name`` at ``base_url`` (which ends with ``/v1`` as a rule) as a judge by ``rubric``.

    Temperature 0, ``at_a_time`` requests under way. Where it asks for a pause (HTTP 429), fails (5xx) or is not
    reached, it is asked up to ``ATTEMPTS`` times, after the time that it names (``Retry-After``) or 1, 2, 4 ...
    seconds. ``pause`` waits for a number of seconds; the default ends early when no more ratings are wanted.
    ``key_env`` names the environment variable with the key for this endpoint; see ``endpoint_key.py`` for what is sent
    without it. A reply is given up after ``deadline`` seconds.

    Raises ``UsageError`` for a base URL that is none, or that holds a user name or a password, and where a key would
    go over plain http to another machine.
    """

    base_url: str
    name: str
    rubric: Rubric
    at_a_time: int = 4
    pause: Callable[[float], object] | None = field(default=None, repr=False)
    key_env: str | None = None
    deadline: float = DEADLINE

    def __post_init__(self) -> None:
        # Now as well as before each pass, so that answers are not generated first.
        judge_key(self.base_url, self.key_env)
        if not self.name.strip():
            raise UsageError("the judge's model has no name", "Name the model that the endpoint serves.")
        if self.at_a_time < 1:
            raise UsageError(f"{self.at_a_time} requests at a time get nothing done", "Allow at least one.")

    @property
    def url(self) -> str:
        return f"{self.base_url.rstrip('/')}/chat/completions"

    @property
    def identity(self) -> JudgeIdentity:
        sampling = {"temperature": 0, "max_tokens": REPLY_TOKENS}
        return JudgeIdentity("endpoint", self.name, self.rubric.digest, self.base_url.rstrip("/"), sampling)

    def ratings(self, answers: Sequence[Answered]) -> Iterator[Rating]:
        """A rating of each answer, in the order the replies come.

        Raises ``JudgeError`` where the endpoint refuses, cannot be reached or answers in another form, or with too
        much, or too slowly; ``UsageError`` where the key may not be sent.
        """
        import httpx2
        from anyio.from_thread import start_blocking_portal

        key = judge_key(self.base_url, self.key_env)
        stopped = threading.Event()
        made = httpx2.AsyncClient(
            timeout=httpx2.Timeout(_REPLY, connect=_CONNECT),
            follow_redirects=False,
            # A proxy of the environment must not get to see what is sent to this machine.
            trust_env=not key.loopback,
            headers={"Accept-Encoding": "identity", **key.headers},
        )
        # Asynchronous, since only that can end a request at a time, whatever it waits for.
        with (
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(made) as client,
            ThreadPoolExecutor(self.at_a_time) as pool,
        ):
            asking = _Asking(self, client, portal, key, stopped)
            rest = iter(enumerate(answers))
            pending: set[Future[Rating]] = set()
            try:
                while True:
                    for index, answered in itertools.islice(rest, self.at_a_time - len(pending)):
                        pending.add(pool.submit(asking.rating, index, answered))
                    if not pending:
                        return
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    # What came is handed out before what failed ends it.
                    for future in sorted(done, key=lambda future: future.exception() is not None):
                        yield future.result()
            finally:
                stopped.set()
                pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Asking:
    """How the requests of one call are made. ``stopped`` is set when no more ratings are wanted."""

    judge: EndpointJudge
    client: httpx2.AsyncClient
    portal: BlockingPortal
    key: JudgeKey
    stopped: threading.Event

    def rating(self, index: int, answered: Answered) -> Rating:
        messages = [
            {"role": "system", "content": INSTRUCTIONS},
            {"role": "user", "content": judged_text(self.judge.rubric, answered)},
        ]
        request = {"model": self.judge.name, "messages": messages, **self.judge.identity.sampling}
        return rated(index, reply_of(self._response(request), self._named, self.key))

    @property
    def _named(self) -> str:
        return f"the judge {self.judge.name} at {self.judge.base_url}"

    def _response(self, request: dict[str, Any]) -> Response:
        pause = self.judge.pause or self.stopped.wait
        attempt = 0
        while True:
            attempt += 1
            outcome = self._asked_once(request, otherwise=float(2 ** (attempt - 1)))
            if not isinstance(outcome, _Failed):
                return outcome
            if attempt == ATTEMPTS or outcome.pause > LONGEST_PAUSE:
                raise outcome.error
            pause(outcome.pause)
            if self.stopped.is_set():
                raise outcome.error

    def _asked_once(self, request: dict[str, Any], otherwise: float) -> Response | _Failed:
        """The response, or what went wrong where asking again after a pause may help; else ``JudgeError``."""
        import httpx2

        try:
            response: Response = self.portal.call(self._posted, request)
        except TimeoutError:
            raise JudgeError(
                f"{self._named} does not finish its reply within {self.judge.deadline:g} seconds",
                "Look at the server, or choose another judge.",
            ) from None
        except httpx2.DecodingError:
            raise JudgeError(
                f"{self._named} sends a reply that cannot be decompressed", "Look at the server, or at its proxy."
            ) from None
        except httpx2.RequestError as error:
            reason = type(error).__name__
            return _Failed(
                JudgeError(f"{self._named} cannot be reached ({reason})", "Check the base URL and the network."),
                otherwise,
            )
        if response.status == 200:
            return response
        refused = refusal(response, self._named, self.key)
        if response.status == 429 or response.status >= 500:
            return _Failed(refused, pause_asked_for(response.retry_after, otherwise))
        raise refused

    async def _posted(self, request: dict[str, Any]) -> Response:
        """The reply, its body at most ``MOST_BYTES``. Raises ``TimeoutError`` after the deadline, and ``JudgeError``
        for a completion that is longer or in an encoding that nobody asked for."""
        import anyio

        with anyio.fail_after(self.judge.deadline):
            async with self.client.stream("POST", self.judge.url, json=request) as response:
                completion = response.status_code == 200
                encoding = response.headers.get("Content-Encoding", "").strip().lower()
                body = bytearray()
                if encoding not in _ENCODINGS:
                    if completion:
                        raise JudgeError(
                            f"{self._named} answers in an encoding that was not asked for",
                            "Switch compression off at the server, or at its proxy.",
                        )
                elif response.status_code != 204:
                    async for piece in response.aiter_bytes():
                        body += piece
                        if len(body) > MOST_BYTES:
                            break
                if completion and len(body) > MOST_BYTES:
                    raise JudgeError(
                        f"{self._named} answers with more than {MOST_BYTES:,} bytes",
                        "A judge replies with a number; check the base URL and the name of the model.",
                    )
                headers = response.headers
                return Response(
                    response.status_code, bytes(body), headers.get("Location", ""), headers.get("Retry-After")
                )


@dataclass(frozen=True)
class _Failed:
    """An attempt that may succeed after ``pause`` seconds."""

    error: JudgeError
    pause: float
