"""What the responses of an OpenAI-compatible endpoint mean, in words for people. The key appears in none of them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from caa_registry.errors import JudgeError
from caa_registry.evaluation.open_ended.endpoint_key import JudgeKey

_SHOWN = 200


@dataclass(frozen=True)
class Response:
    """What came back: ``body`` is decoded and bounded. ``location`` and ``retry_after`` are headers."""

    status: int
    body: bytes
    location: str = ""
    retry_after: str | None = None

    @property
    def text(self) -> str:
        # Whatever character set the headers name: JSON is UTF-8, and some of Python's codecs decompress.
        return self.body.decode("utf-8-sig", errors="replace")


def reply_of(response: Response, judge: str, key: JudgeKey) -> str:
    """The text of a chat completion; ``""`` where the model returned nothing. ``judge`` is what messages call it.

    Content in parts is the text of its parts. What cannot be stored (NUL, halves of characters) becomes U+FFFD.
    """
    try:
        content = json.loads(response.text)["choices"][0]["message"]["content"]
        if isinstance(content, list):
            content = "".join(part["text"] for part in content if part.get("type") == "text")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise JudgeError(
            f"{judge} answered, but not as an OpenAI-compatible endpoint does: "
            f"{_quoted(response.text, key) or 'nothing'}",
            "Check the base URL; it ends with /v1 as a rule.",
        ) from None
    if not isinstance(content, str):
        return ""
    storable = "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in content)
    return key.hidden_in(storable)


def refusal(response: Response, judge: str, key: JudgeKey) -> JudgeError:
    """The error for a response that is not a success."""
    status = response.status
    if status in (401, 403):
        # The text of such a response may repeat the key.
        return JudgeError(f"{judge} refused access (HTTP {status})", key.hint)
    detail = _message(response, key)
    what = f"HTTP {status}: {detail}" if detail else f"HTTP {status}"
    if status == 404:
        return JudgeError(
            f"{judge} was not found ({what})",
            "Check the base URL, which ends with /v1 as a rule, and the name of the model.",
        )
    if status == 429:
        return JudgeError(f"{judge} asks for a pause ({what})", "Go on later, or with fewer requests at a time.")
    if status >= 500:
        return JudgeError(f"{judge} fails ({what})", "Go on later.")
    if status in range(300, 400):
        where = _quoted(response.location, key)
        return JudgeError(f"{judge} has moved ({what})", f"Give the base URL that it leads to: {where}")
    return JudgeError(
        f"{judge} does not take the request ({what})",
        "The request sets temperature 0 and max_tokens, which some models refuse; choose another.",
    )


def pause_asked_for(header: str | None, otherwise: float) -> float:
    """The seconds that a ``Retry-After`` header asks for, a number or a date; ``otherwise`` without a usable one."""
    if header is None:
        return otherwise
    try:
        seconds = float(header)
    except ValueError:
        try:
            date = parsedate_to_datetime(header)
            date = date if date.tzinfo else date.replace(tzinfo=UTC)
            seconds = (date - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError, LookupError, OverflowError):
            return otherwise
    return otherwise if math.isnan(seconds) else max(0.0, seconds)


def _message(response: Response, key: JudgeKey) -> str:
    """The message in an error's JSON, whose form differs between servers, or the beginning of what there is."""
    try:
        body: Any = json.loads(response.text)
        while isinstance(body, dict):
            body = next((body[name] for name in ("error", "message", "detail") if body.get(name)), "")
    except (ValueError, RecursionError):
        body = None
    return _quoted(body if isinstance(body, str) else response.text, key)


def _quoted(text: str, key: JudgeKey) -> str:
    text = key.hidden_in(text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return f"{text[:_SHOWN]} ..." if len(text) > _SHOWN else text
