"""What a source's convention does to its texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def verbatim(text: str) -> str:
    """``text`` unchanged."""
    return text


@dataclass(frozen=True)
class Cleaning:
    """How prompts and answers are cleaned. With ``first_of_list`` an answer that is a list is its first element.

    ``name`` is the format it belongs to, empty where texts are kept verbatim.
    """

    name: str = ""
    prompt: Callable[[str], str] = verbatim
    answer: Callable[[str], str] = verbatim
    first_of_list: bool = False


VERBATIM = Cleaning()
