"""What was said before a pair's prompt: the earlier turns of a conversation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from caa_registry.digests import composed
from caa_registry.display.records import Record

Role = Literal["user", "assistant"]
ROLES: tuple[Role, ...] = ("user", "assistant")


@dataclass(frozen=True)
class Turn(Record):
    """One message of a conversation before the prompt. ``text`` is held in NFC, as a pair's texts are."""

    role: Role
    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", composed(self.text))


def turns_json(turns: Iterable[Turn]) -> list[dict[str, str]]:
    """``turns`` as chat messages: ``[{"role": "user", "content": "Hello"}, ...]``."""
    return [{"role": turn.role, "content": turn.text} for turn in turns]


def is_turns_json(value: Any) -> bool:
    """Whether ``value`` is what ``turns_json`` gives."""
    return isinstance(value, list) and all(
        isinstance(message, dict)
        and set(message) == {"role", "content"}
        and message["role"] in ROLES
        and isinstance(message["content"], str)
        for message in value
    )


def turns_of(value: Sequence[Mapping[str, Any]] | None) -> tuple[Turn, ...]:
    """The turns of what ``turns_json`` gave; none of ``None``."""
    return tuple(Turn(message["role"], message["content"]) for message in value or ())


def turns_text(turns: Iterable[Turn]) -> str:
    """``turns`` for a person to read: each behind its role, an empty line between them; empty where there are none."""
    return "\n\n".join(f"{turn.role}: {turn.text}" for turn in turns)
