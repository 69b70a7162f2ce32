"""Anthropic's model-written evaluations: JSON lines with the field names that CAA kept, before its cleaning."""

from __future__ import annotations

from caa_registry.pairs.sources.cleaning import Cleaning


def clean_question(text: str) -> str:
    """``text`` as the CAA paper prepared it: without ``Question:`` and ``Answer:``, then stripped."""
    return text.replace("Question:", "").replace("Answer:", "").strip()


ANTHROPIC = Cleaning("anthropic", prompt=clean_question, answer=str.strip, first_of_list=True)
"""Some files list several answers; the paper takes the first."""
