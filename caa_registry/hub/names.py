"""What names a place on the hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from caa_registry.errors import UsageError, without_secrets

RepoKind = Literal["dataset", "model"]

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_SOURCE = re.compile(rf"hf:({_PART}/{_PART})(?:@(refs/[^/@]+/[^/@]+|[^/@]+))?(?:/(.+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubSource:
    """A parsed ``hf:`` source. ``revision`` is a branch, tag or commit, ``None`` the default branch."""

    repo: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf:{self.repo}{revision}{'/' + self.file if self.file else ''}"


def parse_hub(source: str) -> HubSource:
    """The parts of ``hf:ORG/NAME[@REVISION][/FILE]``.

    A revision ends at the next slash, except in ``refs/KIND/NAME``; write ``%2F`` for a slash in a branch name.
    Raises ``UsageError``.
    """
    match = _SOURCE.fullmatch(source)
    file = match[3] if match else None
    if not match or (file and not all(part.strip(".") for part in file.split("/"))):
        raise UsageError(f"{without_secrets(source)!r} is not a hub source", "Write hf:ORG/NAME[@REVISION][/FILE].")
    return HubSource(match[1], unquote(match[2]) if match[2] else None, file)


def parse_branch(target: str) -> tuple[str, str]:
    """Repository and branch of ``hf:ORG/NAME[@BRANCH]``, where something is to be pushed. Raises ``UsageError``."""
    hint = "Write hf:ORG/NAME[@BRANCH]."
    if not target.startswith("hf:"):
        raise UsageError(f"{without_secrets(target)!r} is not a place on the hub", hint)
    place = parse_hub(target)
    if place.file is not None and place.revision is None:
        raise UsageError(f"{target!r} names a file", hint)
    # Nothing stands behind the branch, so a slash is part of its name.
    return place.repo, "/".join(part for part in (place.revision, place.file) if part) or "main"


def is_commit(revision: str | None) -> bool:
    """Whether ``revision`` is a commit: 40 hex digits."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None
