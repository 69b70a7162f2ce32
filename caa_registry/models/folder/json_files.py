"""The JSON files of a model folder, read with limits: what is broken is named with the file that it stands in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from caa_registry.errors import ModelError
from caa_registry.models.folder.tensors import check_no_pointer

# Far above every real config, and far below what memory the parsed text would hurt.
_LARGEST = 16_000_000
_DEEPEST = 64
_AGAIN = "Fetch the file again, or correct it."


def json_object(path: Path, *, largest: int = _LARGEST) -> dict[str, Any]:
    """The object in the JSON file ``path``. Raises ``ModelError`` for a file that is missing or unreadable, a Git LFS
    pointer, larger than ``largest`` bytes, or no JSON object in UTF-8 whose keys differ and that is not nested deeply.
    """
    try:
        check_no_pointer(path)
        size = path.stat().st_size
        if size > largest:
            raise ModelError(
                f"{path}: has {size:,} bytes, more than the {largest:,} that are read of such a file", _AGAIN
            )
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: is not in UTF-8 (byte {error.start:,})", _AGAIN) from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}", _AGAIN) from error
    if not text.strip():
        raise ModelError(f"{path}: is empty", _AGAIN)
    try:
        values = json.loads(text, object_pairs_hook=_unique)
    except _DuplicateError as error:
        raise ModelError(f"{path}: the key {error} stands in it twice in one object", "Keep one of the two.") from error
    except RecursionError as error:
        raise ModelError(f"{path}: is nested too deep", _AGAIN) from error
    except ValueError as error:
        raise ModelError(f"{path}: is no JSON: {error}", _AGAIN) from error
    if not isinstance(values, dict):
        raise ModelError(f"{path}: holds no JSON object", _AGAIN)
    if _too_deep(values):
        raise ModelError(f"{path}: is nested too deep (more than {_DEEPEST} levels)", _AGAIN)
    return values


class _DuplicateError(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _DuplicateError(repr(next(key for key in keys if keys.count(key) > 1)))
    return found


def _too_deep(values: Any) -> bool:
    level = [values]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)
