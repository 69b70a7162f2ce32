"""Values of a document from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from caa_registry.pairs.source import Fields
from caa_registry.registry.records.locked_dataset import digest_in
from caa_registry.registry.transfer.documents.key import Key


def moment_json(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


def moment_in(read: Fields, key: str) -> datetime:
    """The moment under ``key``. Raises ``InputError``."""
    try:
        moment = datetime.fromisoformat(read.get(key, str))
    except ValueError:
        raise read.bad("has to be a moment", key) from None
    if moment.tzinfo is None:
        raise read.bad("has no time zone", key)
    return moment


def optional_moment(read: Fields, key: str) -> datetime | None:
    return None if read.values.get(key) is None else moment_in(read, key)


def optional_digest(read: Fields, key: str) -> str | None:
    return None if read.values.get(key) is None else digest_in(read, key)


def optional_text(read: Fields, key: str) -> str | None:
    return None if read.values.get(key) is None else read.get(key, str)


def optional_object(read: Fields, key: str) -> dict[str, Any] | None:
    return None if read.values.get(key) is None else read.get(key, dict)


def optional_key(read: Fields, key: str) -> Key | None:
    values = read.values.get(key)
    return None if values is None else Key.from_json(values, read.what, f"{read.field}.{key}")


def key_in(read: Fields, key: str) -> Key:
    return Key.from_json(read.get(key, list), read.what, f"{read.field}.{key}")


def whole_in(read: Fields, key: str, least: int = 0) -> int:
    """The whole number under ``key``, of a size that every database holds. Raises ``InputError``."""
    value = read.get(key, int)
    if not least <= value < 2**31:
        raise read.bad(f"has to be a whole number from {least} on", key)
    return value


def number_of(value: Any) -> bool:
    """Whether a value of JSON is a number."""
    return type(value) in (int, float)
