"""Rules about the characters of a text: template markers, invisible characters, texts with nothing visible."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from caa_registry.pairs.lint.findings import Finding
from caa_registry.pairs.lint.rows import Subject

# Of the templates of Llama 2 and 3, Mistral, Qwen and other ChatML models, Gemma, Phi, Zephyr, DeepSeek, Command R,
# Granite, OLMo, GPT-2.
_MARKER = re.compile(
    r"\[/?INST\]|<</?SYS>>|</?s>|<\|[a-z][a-z0-9_]{1,40}\|>|</?(?:start|end)_of_turn>|<bos>|<eos>|<pad>|<unk>"
    r"|<｜[^｜\n]{1,40}｜>|<\|(?:START|END|USER|CHATBOT|SYSTEM)[A-Z_]{0,40}\|>|\[/?(?:AVAILABLE_TOOLS|TOOL_CALLS|SYSTEM_PROMPT)\]"
)
# Besides controls: what has no width, turns the direction of writing, or stands for what could not be decoded.
_INVISIBLE = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufffc\ufffd]"
)
_PARTS = ("prompt", "positive", "negative")


def texts(subject: Subject) -> Iterator[Finding]:
    """Template markers, invisible characters, and texts with nothing visible."""
    for row in subject.rows:
        pair = row.pair
        earlier = {f"turn {number}": turn.text for number, turn in enumerate(pair.turns, 1)}
        parts = {"system": pair.system, **earlier, **{name: getattr(pair, name) for name in _PARTS}}
        for name, text in parts.items():
            marker = _MARKER.search(text)
            if marker:
                yield row.finding("template-marker", f"the {name} text holds {marker[0]!r}")
                break
        for name, text in parts.items():
            hidden = _INVISIBLE.search(text)
            if hidden:
                code = f"U+{ord(hidden[0]):04X}"
                yield row.finding("invisible-character", f"the {name} text holds {_name(hidden[0])} ({code})")
                break
        for name, text in parts.items():
            if text and not _shows(text):
                yield row.finding("nothing-visible", f"the {name} text shows nothing")
                break


def _shows(text: str) -> bool:
    return any(unicodedata.category(char)[0] not in "CZ" for char in text)


def _name(char: str) -> str:
    names = {"\r": "a carriage return", "\x1b": "an escape character", "\ufffd": "a replacement character"}
    return names.get(char) or unicodedata.name(char, "a control character").lower()
