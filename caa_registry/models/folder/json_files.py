"""The JSON files of a model folder, read with limits: what is broken is named with the file that it stands in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from caa_registry.errors import ModelError

# Far above every real config, and far below what memory the parsed text would hurt.
_LARGEST = 16_000_000
_DEEPEST = 64
_LFS = b"version https://git-lfs.github.com/spec/"
# A list or an object takes a hundred bytes in memory and one in the text.
_MOST_PARTS = 1_000_000
_AGAIN = "Fetch the file again, or correct it."


def check_no_pointer(path: Path) -> None:
    """Raise ``ModelError`` where ``path`` is a Git LFS pointer that stands for the file, or something else than a file:
    a pipe would be waited for."""
    if path.exists() and not path.is_file():
        raise ModelError(f"{path}: is {'a folder' if path.is_dir() else 'not a regular file'}", _AGAIN)
    with path.open("rb") as opened:
        if opened.read(len(_LFS)) == _LFS:
            raise ModelError(
                f"{path}: is a Git LFS pointer, which stands for the file itself",
                f"Fetch the file: git -C {path.parent} lfs pull",
            )


def json_object(path: Path, *, largest: int = _LARGEST) -> dict[str, Any]:
    """The object in the JSON file ``path``. Raises ``ModelError`` for a file that is missing or unreadable, a Git LFS
    pointer, larger than ``largest`` bytes, or no JSON object in UTF-8 whose keys differ and that is not nested deeply.
    """
    try:
        check_no_pointer(path)
        size = path.stat().st_size
        if size > largest:
            raise ModelError(f"{path}: has {size:,} bytes, more than the {largest:,} allowed for such a file", _AGAIN)
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: is not in UTF-8 (byte {error.start:,})", _AGAIN) from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}", _AGAIN) from error
    if not text.strip():
        raise ModelError(f"{path}: is empty", _AGAIN)
    try:
        values = parsed(text)
    except _DuplicateError as error:
        raise ModelError(f"{path}: {error}", "Keep one of the two.") from error
    except _LimitError as error:
        raise ModelError(f"{path}: {error}", _AGAIN) from error
    except ValueError as error:
        raise ModelError(f"{path}: is not JSON: {error}", _AGAIN) from error
    if not isinstance(values, dict):
        raise ModelError(f"{path}: is not a JSON object", _AGAIN)
    if _too_deep(values):
        raise ModelError(f"{path}: is nested too deep (more than {_DEEPEST} levels)", _AGAIN)
    return values


def parsed(text: str) -> Any:
    """``text`` as JSON. Raises ``ValueError``, also for an object with two of a key, and for too many or too deep
    lists and objects."""
    if text.count("[") + text.count("{") > _MOST_PARTS:
        raise _LimitError(f"has more than {_MOST_PARTS:,} lists and objects")
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except RecursionError as error:
        raise _LimitError("is nested too deep") from error


class _DuplicateError(ValueError):
    pass


class _LimitError(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _DuplicateError(f"the key {key[:60]!r} appears twice in one object")
        found[key] = value
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
