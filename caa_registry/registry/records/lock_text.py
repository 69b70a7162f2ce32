"""The text of a lock: canonical JSON, and text from anybody read with limits."""

from __future__ import annotations

import json
from typing import Any

from caa_registry.errors import InputError
from caa_registry.pairs.record import checked_text
from caa_registry.pairs.sources.json_values import UnusableJson, json_value

LARGEST = 256 * 2**20
"""Of the text, in characters."""
_MOST_PARTS = 4_000_000
_DEEPEST = 32
_AGAIN = "Have it written again: caa vector lock REFERENCE."


def canonical(values: Any) -> str:
    """JSON with sorted keys, no spaces, in ASCII. Floats are written as Python's ``repr``, which is the shortest text
    that gives them back."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)


def parsed(text: str, what: str) -> Any:
    """``text`` as JSON, every key of an object once and every number as it is written. ``what`` names it in errors.
    Raises ``InputError``, also for what is too large or nested too deeply."""
    if len(text) > LARGEST:
        raise InputError(f"it is larger than {LARGEST // 2**20} MiB", _AGAIN, source=what)
    try:
        return json_value(text, _MOST_PARTS)
    except json.JSONDecodeError as error:
        message = f"it is not JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        raise InputError(message, _AGAIN, source=what) from None
    except UnusableJson as error:
        raise InputError(f"it is not usable JSON: {error}", _AGAIN, source=what, field=error.key) from None
    except (RecursionError, ValueError):
        raise InputError("it is nested too deeply, or no JSON", _AGAIN, source=what) from None


def check_values(values: Any, what: str) -> None:
    """Raise ``InputError`` naming the field that is no JSON, or that no database can store."""
    if not isinstance(values, dict):
        raise InputError("it is not a JSON object", _AGAIN, source=what)
    waiting: list[tuple[Any, str, int]] = [(values, "", 0)]
    while waiting:
        value, place, depth = waiting.pop()
        if depth > _DEEPEST:
            raise InputError("is nested too deeply", _AGAIN, source=what, field=place)
        if isinstance(value, str):
            checked_text(value, source=what, field=place)
        elif isinstance(value, dict):
            for key, inner in value.items():
                if type(key) is not str:
                    raise InputError("has a key that is no text", _AGAIN, source=what, field=place)
                checked_text(key, source=what, field=place)
                waiting.append((inner, f"{place}.{key}" if place else key, depth + 1))
        elif isinstance(value, list):
            waiting += [(inner, f"{place}[{i}]", depth + 1) for i, inner in enumerate(value)]
        elif not (value is None or type(value) in (bool, int) or _is_finite(value)):
            raise InputError("is no JSON", _AGAIN, source=what, field=place)


def _is_finite(value: Any) -> bool:
    return type(value) is float and abs(value) < float("inf")
