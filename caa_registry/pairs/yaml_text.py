"""YAML that a person wrote: templates, mappings, front matter. It may be a stranger's."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from caa_registry.errors import InputError

MOST_DEPTH = 50
# What aliases may add to what is written: a few lines of them can stand for more than any memory holds.
MOST_REPEATED = 100_000
# Numbers of more digits than this take long to read, and none is meant.
_MOST_DIGITS = 1000
_NUMERIC = re.compile(r"[-+]?[0-9.][0-9a-fA-FxX_:.+]*")
_TEXTS = {"!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:binary"}
# Numbers of more digits can be chosen so that a mapping takes the square of its size to make.
_MOST_KEY_DIGITS = 18
MOST_CHARACTERS = 1_000_000
_MOST_NODES = 50_000


class _BeyondBoundsError(Exception):
    """YAML that is nested, repeated or long beyond what a person writes."""


def yaml_value(text: str, source: str) -> Any:
    """The value of ``text``; nothing in it is run.

    ``InputError`` with the line where it is not YAML, where a key is repeated, where it is nested more than
    ``MOST_DEPTH`` levels deep, where its aliases repeat more than ``MOST_REPEATED`` values, and where it has more than
    ``MOST_CHARACTERS`` or 50,000 values.
    """
    import yaml

    if len(text) > MOST_CHARACTERS:
        raise InputError(
            f"YAML of more than {MOST_CHARACTERS:,} characters", "Split it, or leave some out.", source=source
        )
    try:
        _check(text)
        loader = _loader()(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise InputError(
            f"not YAML{_place(error)}", "Quote texts with colons, braces or stars.", source=source
        ) from None
    except _BeyondBoundsError as error:
        raise InputError(str(error), "Write the values out, each in its place.", source=source) from None
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError):
        # A date or a number that is none, such as 2024-13-01.
        raise InputError("it holds a value that YAML cannot read", "Quote dates and numbers.", source=source) from None


def _check(text: str) -> None:
    """Raise ``_BeyondBoundsError`` or a ``YAMLError`` without making a value of ``text``."""
    import yaml

    sizes: dict[str, int] = {}
    # Of each collection that is open: its anchor, and how many values it holds so far.
    opened: list[tuple[str | None, int]] = []
    repeated = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        if count > _MOST_NODES:
            raise _BeyondBoundsError(f"more than {_MOST_NODES:,} values at line {_line(event)}")
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, 1))
            if len(opened) > MOST_DEPTH:
                raise _BeyondBoundsError(f"nested more than {MOST_DEPTH} levels deep at line {_line(event)}")
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = opened.pop()
        elif isinstance(event, yaml.AliasEvent):
            anchor = None
            # One that is not closed yet would hold itself.
            size = sizes.get(str(event.anchor), MOST_REPEATED + 1)
            repeated += size
            if repeated > MOST_REPEATED:
                raise _BeyondBoundsError(f"aliases repeat more than {MOST_REPEATED:,} values at line {_line(event)}")
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 1
            if len(event.value) > _MOST_DIGITS and _may_be_number(event):
                raise _BeyondBoundsError(f"a number of more than {_MOST_DIGITS} digits at line {_line(event)}")
            size += len(event.value) // 1000
        else:
            continue
        if anchor is not None:
            sizes[str(anchor)] = size
        if opened:
            opened[-1] = (opened[-1][0], opened[-1][1] + size)


def _may_be_number(event: Any) -> bool:
    if event.tag is not None:
        return event.tag not in _TEXTS
    return not event.style and _NUMERIC.fullmatch(event.value) is not None


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", "") or "")
    said = f": {problem}" if problem.startswith(_KEY) else ""
    return f" at line {mark.line + 1}{said}" if mark else ""


_KEY = "the key "
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


@cache
def _loader() -> Any:
    """PyYAML's safe loader, which lets the last of repeated keys win, made to refuse them."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in getattr(node, "value", ()):
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    if (key.tag, key.value) in seen:
                        raise yaml.constructor.ConstructorError(
                            None, None, f"{_KEY}{key.value[:100]!r} is there twice", key.start_mark
                        )
                    seen.add((key.tag, key.value))
                    if key.tag in _NUMBERS and len(key.value) > _MOST_KEY_DIGITS:
                        raise yaml.constructor.ConstructorError(
                            None, None, f"{_KEY}{key.value[:40]!r} has too many digits", key.start_mark
                        )
            return super().construct_mapping(node, deep)

    return Loader
