"""A judge behind an OpenAI-compatible endpoint.

The key comes from ``CAA_JUDGE_KEY``, else ``OPENAI_API_KEY``, when a request is made; it is kept and shown nowhere.
Without one, as local servers allow, requests carry none.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from caa_registry.errors import JudgeError, UsageError
from caa_registry.evaluation.open_ended.endpoint_replies import KEYS, key, pause_asked_for, refusal, reply_of
from caa_registry.evaluation.open_ended.judging import INSTRUCTIONS, Answered, JudgeIdentity, Rating, judged_text, rated
from caa_registry.evaluation.open_ended.rubrics import Rubric

if TYPE_CHECKING:
    import httpx2

REPLY_TOKENS = 16
ATTEMPTS = 6
# Seconds. A judge that asks for a longer pause is given up; a model that is loaded on demand may take its time.
LONGEST_PAUSE = 120.0
_CONNECT, _REPLY = 10.0, 120.0


@dataclass(frozen=True)
class EndpointJudge:
    """The model ``name`` at ``base_url`` (which ends with ``/v1`` as a rule) as a judge by ``rubric``.

    Temperature 0, ``at_a_time`` requests under way. Where it asks for a pause (HTTP 429), fails (5xx) or is not
    reached, it is asked up to ``ATTEMPTS`` times, after the time that it names (``Retry-After``) or 1, 2, 4 ...
    seconds. ``pause`` waits for a number of seconds; the default ends early when no more ratings are wanted.

    Raises ``UsageError`` for a base URL that is none, or that holds a user name or a password.
    """

    base_url: str
    name: str
    rubric: Rubric
    at_a_time: int = 4
    pause: Callable[[float], object] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _check_url(self.base_url)
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

        Raises ``JudgeError`` where the endpoint refuses, cannot be reached or answers in another form.
        """
        import httpx2

        stopped = threading.Event()
        timeout = httpx2.Timeout(_REPLY, connect=_CONNECT)
        with httpx2.Client(timeout=timeout) as client, ThreadPoolExecutor(self.at_a_time) as pool:
            asking = _Asking(self, client, stopped)
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
    client: httpx2.Client
    stopped: threading.Event

    def rating(self, index: int, answered: Answered) -> Rating:
        messages = [
            {"role": "system", "content": INSTRUCTIONS},
            {"role": "user", "content": judged_text(self.judge.rubric, answered)},
        ]
        request = {"model": self.judge.name, "messages": messages, **self.judge.identity.sampling}
        return rated(index, reply_of(self._response(request), self._named))

    @property
    def _named(self) -> str:
        return f"the judge {self.judge.name} at {self.judge.base_url}"

    def _response(self, request: dict[str, Any]) -> httpx2.Response:
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

    def _asked_once(self, request: dict[str, Any], otherwise: float) -> httpx2.Response | _Failed:
        """The response, or what went wrong where asking again after a pause may help; else ``JudgeError``."""
        import httpx2

        secret, _ = key()
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        try:
            response = self.client.post(self.judge.url, json=request, headers=headers)
        except httpx2.RequestError as error:
            reason = type(error).__name__
            return _Failed(
                JudgeError(f"{self._named} cannot be reached ({reason})", "Check the base URL and the network."),
                otherwise,
            )
        status = response.status_code
        if status == 200:
            return response
        refused = refusal(response, self._named)
        if status == 429 or status >= 500:
            return _Failed(refused, pause_asked_for(response.headers.get("Retry-After"), otherwise))
        raise refused


@dataclass(frozen=True)
class _Failed:
    """An attempt that may succeed after ``pause`` seconds."""

    error: JudgeError
    pause: float


def _check_url(url: str) -> None:
    if "@" in url:
        # Not shown, since this is what it holds.
        raise UsageError("the judge's URL holds a user name or a password", f"Leave it out, and set {KEYS[0]}.")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or not url.isprintable() or " " in url:
        raise UsageError(
            f"{url!r} is not the base URL of a judge",
            "Give one like https://api.openai.com/v1 or http://127.0.0.1:8080/v1.",
        )
