"""Anthropic's model-written evaluations: the field names that CAA kept, before its cleaning."""

from __future__ import annotations

import re

from caa_registry.pairs.sources.cleaning import Cleaning


def clean_question(text: str) -> str:
    """``text`` as the CAA paper prepared it: without ``Question:`` at its beginning and ``Answer:`` at its end, then
    stripped. Marks of emphasis may stand around both."""
    text = _QUESTION.sub(r"\1", text, count=1)
    head, answer, tail = text.rpartition("Answer:")
    return (head + tail if answer and not tail.strip(" \t\r\n*_") else text).strip()


_QUESTION = re.compile(r"\A([\s*_#>]*)Question:")

ANTHROPIC = Cleaning("anthropic", prompt=clean_question, answer=str.strip, first_of_list=True, normalizes=True)
"""Some files list several answers; the paper takes the first."""
