"""The grammar of names and references, in one place.

A reference is written as OCI writes it: ``name`` (newest version), ``name:v3``, ``name:<alias>``,
``name@sha256:<prefix>``, and ``name:v3@sha256:<prefix>`` where both must agree. ``dataset:`` or ``vector:`` in
front says which kind is meant where both are possible.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from caa_registry.errors import UsageError

Kind = Literal["dataset", "vector"]

NAME = re.compile(r"[a-z0-9._-]+(?:/[a-z0-9._-]+)*")
ALIAS = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
VERSION = re.compile(r"v([1-9][0-9]{0,8})")
DIGEST_PREFIX = re.compile(r"sha256:([0-9a-f]{8,64})")
MAX_NAME = 229

_KINDS: tuple[Kind, ...] = ("dataset", "vector")


@dataclass(frozen=True)
class Reference:
    """A parsed reference. At most one of ``version`` and ``alias`` is set; neither means the newest version."""

    name: str
    kind: Kind | None = None
    version: int | None = None
    alias: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        text = f"{self.kind}:{self.name}" if self.kind else self.name
        if self.version is not None:
            text += f":v{self.version}"
        elif self.alias is not None:
            text += f":{self.alias}"
        return f"{text}@{self.digest}" if self.digest else text


def check_name(name: str) -> str:
    """``name`` if it fits the grammar, else ``UsageError``."""
    parts_ok = NAME.fullmatch(name) and not any(set(part) <= {"."} for part in name.split("/"))
    if not parts_ok or len(name) > MAX_NAME:
        raise UsageError(
            f"{name!r} is not a name",
            f"Use lower-case letters, digits, '.', '_' and '-', with '/' between parts "
            f"(at most {MAX_NAME} characters): team/sycophancy",
        )
    return name


def check_new_name(name: str) -> str:
    """``name`` if something new may have it, else ``UsageError``. What has an older name can still be used.

    No part of it begins with ``-``, which a command would take for an option, or begins or ends with ``.``, which makes
    a hidden file or none.
    """
    check_name(name)
    for part in name.split("/"):
        if part.startswith(("-", ".")) or part.endswith("."):
            raise UsageError(
                f"{name!r} cannot be the name of something new: {part!r} begins with '-' or '.', or ends with '.'",
                "Begin each part with a letter or a digit: team/sycophancy",
            )
    return name


def check_alias(alias: str) -> str:
    """``alias`` if it may be an alias, else ``UsageError``."""
    if not ALIAS.fullmatch(alias):
        raise UsageError(f"{alias!r} is not an alias", "Use letters, digits, '.', '_' and '-': best")
    if VERSION.fullmatch(alias) or re.fullmatch(r"v[0-9]+", alias) or alias == "latest":
        raise UsageError(f"{alias!r} cannot be an alias", "Version numbers (v3) and 'latest' are reserved.")
    return alias


def parse(text: str) -> Reference:
    """Parse a reference.

    Raises ``UsageError`` when ``text`` does not fit the grammar.
    """
    rest = text
    kind: Kind | None = None
    for candidate in _KINDS:
        if rest.startswith(candidate + ":"):
            kind, rest = candidate, rest[len(candidate) + 1 :]
            break
    rest, at, digest_text = rest.partition("@")
    digest = None
    if at:
        if not DIGEST_PREFIX.fullmatch(digest_text):
            raise UsageError(
                f"{text!r} is not a reference: {digest_text!r} is not a digest",
                "Write name@sha256: and at least 8 hex digits.",
            )
        digest = digest_text
    name, colon, tag = rest.partition(":")
    check_name(name)
    if tag == "latest" and digest:
        raise UsageError(f"{text!r} means two versions: 'latest' moves, a digest does not", "Give one of the two.")
    if not colon or tag == "latest":
        return Reference(name, kind, None, None, digest)
    numbered = VERSION.fullmatch(tag)
    if numbered:
        return Reference(name, kind, int(numbered[1]), None, digest)
    return Reference(name, kind, None, check_alias(tag), digest)
