"""Which key a judge's endpoint gets.

``CAA_JUDGE_KEY`` is for whatever judge is named. ``OPENAI_API_KEY`` belongs to ``https://api.openai.com`` and goes
nowhere else, unless the person names it for this endpoint (``--judge-key-env``). No key goes over plain http to another
machine. Without a key, as local servers allow, requests carry none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from caa_registry.errors import UsageError, without_secrets
from caa_registry.hub.client import is_loopback

ANY_JUDGE = "CAA_JUDGE_KEY"
OPENAI = "OPENAI_API_KEY"
OPTION = "--judge-key-env"
_OPENAI_HOST = "api.openai.com"
# Stand-ins for a key, such as none or 1, also occur in replies.
_LEAST_SECRET = 8


@dataclass(frozen=True)
class JudgeKey:
    """The key for one endpoint, ``""`` for none. ``variable``: where it is from. ``hint``: what a person is told when
    the judge refuses access. ``loopback``: whether the endpoint is on this machine."""

    secret: str = field(repr=False)
    variable: str
    hint: str
    loopback: bool

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.secret}"} if self.secret else {}

    def hidden_in(self, text: str) -> str:
        """``text`` without the key, which a reply may repeat."""
        return text.replace(self.secret, "[key]") if len(self.secret) >= _LEAST_SECRET else text


def judge_key(url: str, variable: str | None = None) -> JudgeKey:
    """The key that the endpoint at ``url`` gets; ``variable`` is the environment variable that was named for it.

    Raises ``UsageError`` for a URL that is none or holds a password, for a variable that is named and not set, for
    characters that a key cannot have, and for a key that would go over plain http to another machine.
    """
    scheme, host, port = _checked(url)
    loopback = is_loopback(host)
    openai = (scheme, host, port or 443) == ("https", _OPENAI_HOST, 443)
    names = (variable,) if variable is not None else (ANY_JUDGE, OPENAI) if openai else (ANY_JUDGE,)
    name, secret = next(((name, value) for name in names if (value := _value(name))), ("", ""))
    if variable is not None and not secret:
        raise UsageError(f"{OPTION} names {variable!r}, which is not set", "Set it, or name another variable.")
    if secret and scheme == "http" and not loopback:
        raise UsageError(
            f"the key in {name} would go to {host} over plain http, where others can read it",
            f"Use an https URL, or a tunnel to this machine (127.0.0.1). Unset {name} if the judge needs no key.",
        )
    return JudgeKey(secret, name, _hint(name, openai), loopback)


def _value(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not (value.isascii() and value.isprintable()):
        raise UsageError(f"{name} holds characters that a key cannot have", "Set it again.")
    return value


def _hint(name: str, openai: bool) -> str:
    if name:
        return f"It was given {name}."
    if not openai and os.environ.get(OPENAI, "").strip():
        return (
            f"It was given no key: {OPENAI} goes to https://{_OPENAI_HOST} only. Set {ANY_JUDGE}, or name the variable "
            f"for this judge: {OPTION} {OPENAI}."
        )
    return f"It was given no key, since none is set. Set {ANY_JUDGE}."


def _checked(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of a base URL, the host as the HTTP library reads it."""
    import httpx2

    if "@" in url:
        # Not shown, since this is what it holds.
        raise UsageError("the judge's URL holds a user name or a password", f"Leave it out, and set {ANY_JUDGE}.")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        read = httpx2.URL(url)
        host = read.raw_host.decode("ascii").lower()
    except (ValueError, httpx2.InvalidURL):
        usable = False
    if not usable or not host or parts.query or parts.fragment or not url.isprintable() or " " in url or "\\" in url:
        raise UsageError(
            f"{without_secrets(url)!r} is not the base URL of a judge",
            "Give one like https://api.openai.com/v1 or http://127.0.0.1:8080/v1.",
        )
    return parts.scheme, host, parts.port
