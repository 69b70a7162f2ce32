"""What the responses of an OpenAI-compatible endpoint mean, in words for people. The key appears in none of them."""

from __future__ import annotations

import json
import math
import os
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from caa_registry.errors import JudgeError, UsageError

if TYPE_CHECKING:
    import httpx2

KEYS = ("CAA_JUDGE_KEY", "OPENAI_API_KEY")
_SHOWN = 200


def key() -> tuple[str, str]:
    """The key and the environment variable that holds it, or twice ``""``. ``UsageError`` for one that cannot be."""
    for name in KEYS:
        value = os.environ.get(name, "").strip()
        if value:
            if not (value.isascii() and value.isprintable()):
                raise UsageError(f"{name} holds characters that a key cannot have", "Set it again.")
            return value, name
    return "", ""


def reply_of(response: httpx2.Response, judge: str) -> str:
    """The text of a chat completion; ``""`` where the model returned nothing. ``judge`` is what messages call it."""
    try:
        choice = response.json()["choices"][0]
        content = choice["message"]["content"]
    except (ValueError, LookupError, TypeError):
        raise JudgeError(
            f"{judge} answered, but not as an OpenAI-compatible endpoint does: {_quoted(response.text) or 'nothing'}",
            "Check the base URL; it ends with /v1 as a rule.",
        ) from None
    return content if isinstance(content, str) else ""


def refusal(response: httpx2.Response, judge: str) -> JudgeError:
    """The error for a response that is not a success."""
    status = response.status_code
    if status in (401, 403):
        # The text of such a response may repeat the key.
        name = key()[1]
        hint = f"It was given {name}." if name else f"Set {KEYS[0]}."
        return JudgeError(f"{judge} refused access (HTTP {status})", hint)
    detail = _message(response)
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
        where = _quoted(response.headers.get("Location", ""))
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
        except ValueError:
            return otherwise
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        seconds = (date - datetime.now(UTC)).total_seconds()
    return otherwise if math.isnan(seconds) else max(0.0, seconds)


def _message(response: httpx2.Response) -> str:
    """The message in an error's JSON, whose form differs between servers, or the beginning of what there is."""
    try:
        body: Any = json.loads(response.text)
    except ValueError:
        return _quoted(response.text)
    while isinstance(body, dict):
        body = next((body[name] for name in ("error", "message", "detail") if body.get(name)), "")
    return _quoted(body if isinstance(body, str) else response.text)


def _quoted(text: str) -> str:
    secret = key()[0]
    text = text.replace(secret, "[key]") if secret else text
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return f"{text[:_SHOWN]} ..." if len(text) > _SHOWN else text
