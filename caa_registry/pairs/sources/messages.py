"""Chat messages as data sets write them: lists of objects, such lists as JSON text, and transcripts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from caa_registry.digests import composed
from caa_registry.errors import InputError
from caa_registry.pairs.sources.json_values import UnusableJson, has_many_parts, json_value, too_many_parts

MessageRole = Literal["system", "user", "assistant"]
Bad = Callable[[str, str], InputError]
"""Makes the error for a message and a hint: it knows source, row and field."""

_ROLES: Mapping[str, MessageRole] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
# The keys of a message: who speaks, and what is said.
_KEYS = (("role", "content"), ("from", "value"))
_SHAPE = 'A message is {"role": "user", "content": "..."}.'
# A list as Python prints it, which pandas writes into CSV.
_PYTHON = re.compile(r"\[?\s*\{\s*'(?:role|content|from|value)'\s*:")
_SPEAKER = re.compile(r"(?:^|\r?\n\r?\n)(Human|Assistant):[ \t]*")
_ANSWER = re.compile(r"\r?\n\r?\nAssistant:")
# A mark within a text, with or without an empty line before it.
_INSIDE = re.compile(r"\n(?:Human|Assistant):")


@dataclass(frozen=True)
class Message:
    """One message: who speaks, and the text."""

    role: MessageRole
    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", composed(self.text))


def may_speak(value: Any) -> bool:
    """Whether ``value`` may be messages or a transcript: a quick look, which other values may pass too."""
    if isinstance(value, str):
        return value.lstrip()[:1] in ("[", "{") or "Human:" in value or "Assistant:" in value
    return isinstance(value, list | dict)


def messages_in(value: Any, bad: Bad) -> list[Message] | None:
    """The messages that a column holds, or ``None`` where it holds something else, such as a plain text.

    A list of objects is one of messages, an object with a role is one message, and so is a text that is the JSON of
    either. Raises what ``bad`` makes for a message that is more than a role and a text: nothing is dropped.
    """
    if isinstance(value, str):
        if _PYTHON.match(value.lstrip()):
            raise bad(
                "a list of messages as Python prints it, not as JSON",
                "Write the rows as JSON lines or Parquet: frame.to_json(FILE, orient='records', lines=True).",
            )
        if value.lstrip()[:1] in ("[", "{") and has_many_parts(value):
            raise bad(str(too_many_parts()), "Leave the row out.")
        value = _from_json(value, bad)
    if isinstance(value, dict) and _speaks(value):
        value = [value]
    if not isinstance(value, list) or not any(isinstance(entry, dict) for entry in value):
        return None
    return [_message(entry, i, bad) for i, entry in enumerate(value, 1)]


def transcript_in(text: str) -> list[Message] | None:
    """The messages of ``\\n\\nHuman: ...\\n\\nAssistant: ...``, or ``None`` where ``text`` is no such transcript.

    White space around what is said is dropped, and so is an ``Assistant:`` at the end that says nothing.
    """
    text = text.strip()
    if not text.startswith("Human:") or _ANSWER.search(text) is None:
        return None
    _, *parts = _SPEAKER.split(text)
    said = [(speaker, words.strip()) for speaker, words in zip(parts[::2], parts[1::2], strict=True)]
    if said[-1] == ("Assistant", ""):
        said.pop()
    return [Message("user" if speaker == "Human" else "assistant", words) for speaker, words in said]


def speaks_inside(text: str) -> bool:
    """Whether a text that is no transcript holds the marks of one."""
    return _INSIDE.search(text) is not None


def parting(one: Sequence[Message], other: Sequence[Message]) -> str:
    """Where two conversations part, in words; empty where one is the beginning of the other."""
    for i, (a, b) in enumerate(zip(one, other, strict=False), 1):
        if a != b:
            return f"at message {i}: {_quoted(a)} against {_quoted(b)}"
    return ""


def _quoted(message: Message) -> str:
    return f"{message.role} {message.text[:60]!r}"


def holds_messages(value: Any) -> bool:
    """Whether ``value`` is a list of messages, or the JSON of one."""
    if isinstance(value, str):
        value = None if has_many_parts(value) else _read_json(value, json.loads)
    return isinstance(value, list) and any(isinstance(entry, dict) and _speaks(entry) for entry in value)


def _from_json(text: str, bad: Bad) -> Any:
    """The messages that ``text`` is the JSON of, else ``None``. Raises what ``bad`` makes where a key stands twice or a
    number cannot be kept."""
    try:
        return _read_json(text, json_value)
    except UnusableJson as error:
        # In JSON that is no list of messages, and so is what is said, it does not matter.
        if _read_json(text, json.loads) is None:
            return None
        raise bad(f"{error} (key {error.key!r})", error.hint) from None


def _read_json(text: str, read: Callable[[str], Any]) -> Any:
    """The messages that ``text`` is the JSON of, as ``read`` gives it, else ``None``: other JSON may well be what is
    said. Raises ``UnusableJson`` where ``read`` does."""
    start = text.lstrip()[:80]
    if not start.startswith(("[", "{")) or "{" not in start:
        return None
    try:
        value = read(text)
    except UnusableJson:
        raise
    except (ValueError, RecursionError):
        return None
    listed = value if isinstance(value, list) else [value]
    if not listed or not all(isinstance(entry, dict) for entry in listed):
        return None
    return value if any(_speaks(entry) for entry in listed) else None


def _speaks(entry: Mapping[str, Any]) -> bool:
    return any(set(keys) <= set(entry) for keys in _KEYS)


def _message(entry: Any, number: int, bad: Bad) -> Message:
    def refuse(message: str, hint: str = _SHAPE) -> NoReturn:
        raise bad(f"message {number} {message}", hint)

    if not isinstance(entry, dict):
        refuse("is not an object with a role and a text")
    # Tables give every message the columns of all: those without a value are none.
    held = {key: value for key, value in entry.items() if value is not None and value != [] and value != {}}
    keys = next((keys for keys in _KEYS if keys[0] in held), None)
    if keys is None:
        refuse("says no role")
    role, content = held.pop(keys[0]), held.pop(keys[1], None)
    known = _ROLES.get(role.strip().lower()) if isinstance(role, str) else None
    if known is None:
        refuse(
            f"has the role {str(role)[:40]!r}, which is not read",
            "Roles are system, user and assistant. Leave out rows with tools.",
        )
    if held:
        refuse(
            f"has more than a role and a text: {_names(held)}",
            "It is not dropped unasked: take it out of the messages, or leave the row out.",
        )
    if content is None:
        refuse("has no text")
    return Message(known, _text(content, refuse))


def _text(content: Any, refuse: Callable[[str], NoReturn]) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        refuse(f"has no text but {type(content).__name__}")
    texts = []
    for part in content:
        held = {key: value for key, value in part.items() if value is not None} if isinstance(part, dict) else {}
        if held.pop("type", None) != "text" or not isinstance(text := held.pop("text", None), str):
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            refuse(f"has a part that is no text: {str(kind)[:40]!r}")
        if held:
            refuse(f"has a part with more than a text: {_names(held)}")
        texts.append(text)
    return "".join(texts)


def _names(held: Mapping[Any, Any]) -> str:
    return ", ".join(repr(str(key)[:40]) for key in held)
