"""Numbers of things as a person would write them."""

from __future__ import annotations

from collections.abc import Sequence


def count(n: int, noun: str, plural: str = "") -> str:
    """``1 pair``, ``2 pairs``. ``plural`` where it is not ``noun`` with an s."""
    return f"{n} {noun if n == 1 else plural or noun + 's'}"


def with_article(noun: str) -> str:
    """``a pair``, ``an evaluation``."""
    return f"{'an' if noun[:1].lower() in 'aeio' else 'a'} {noun}"


def subject(n: int, noun: str, singular: str = "is", plural: str = "are") -> str:
    """``1 pair is``, ``2 pairs are``: the subject of a sentence with its verb."""
    return f"{count(n, noun)} {singular if n == 1 else plural}"


def ranges(numbers: Sequence[int]) -> str:
    """``0-3, 7``: numbers as a person would list them."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)


def named_layers(numbers: Sequence[int]) -> str:
    """``layer 4``, ``layers 0-3, 7``."""
    return f"layer{'s' * (len(numbers) != 1)} {ranges(numbers)}"
