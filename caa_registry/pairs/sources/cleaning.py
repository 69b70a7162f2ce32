"""What a source's convention does to its texts, and what it says about its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caa_registry.pairs.record import GENERATE, Pair
from caa_registry.pairs.sources.notes import Sentence


def verbatim(text: str) -> str:
    """``text`` unchanged."""
    return text


def nothing_to_say(pair: Pair, values: Mapping[str, Any]) -> Sequence[Sentence]:
    """No remark."""
    return ()


@dataclass(frozen=True)
class Cleaning:
    """How prompts and answers are cleaned. With ``first_of_list`` an answer that is a list is its first element.

    ``name`` is the format it belongs to, empty where texts are kept verbatim. ``split`` is that of pairs where neither
    the row nor the caller names one. With ``normalizes`` a note counts the rows whose texts are changed. ``remarks``
    says of a pair and its row's values what a person should know.
    """

    name: str = ""
    prompt: Callable[[str], str] = verbatim
    answer: Callable[[str], str] = verbatim
    first_of_list: bool = False
    split: str = GENERATE
    normalizes: bool = False
    remarks: Callable[[Pair, Mapping[str, Any]], Sequence[Sentence]] = nothing_to_say


VERBATIM = Cleaning()
