"""Whose signatures count: the file of trusted and revoked keys, ``keys.toml``::

    [[trusted]]
    name = "ada"
    key = "ed25519:BASE64"

    [[revoked]]
    key = "ed25519:BASE64"
    why = "the laptop was stolen"

When a signature was made is only what its maker says, so a revoked key counts for nothing, whenever it signed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caa_registry.errors import InputError, NotFoundError, UsageError, visible
from caa_registry.registry.maintenance.signing.keys import PublicKey, read_public


@dataclass(frozen=True)
class Trust:
    """Keys by their id. ``trusted``: each with the name of who has it; ``revoked``: each with the reason."""

    trusted: Mapping[str, tuple[str, PublicKey]] = field(default_factory=dict)
    revoked: Mapping[str, str] = field(default_factory=dict)

    def name(self, id: str) -> str:
        """Who has a key; empty where that is not known."""
        return self.trusted[id][0] if id in self.trusted else ""

    def key(self, text: str) -> PublicKey:
        """The key that ``text`` names: the key itself, a file of it, or a name of somebody trusted.

        Raises ``UsageError`` for a name that several keys have or none, ``InputError`` for a file without a key.
        """
        if (key := PublicKey.parse(text)) is not None:
            return key
        named = [key for name, key in self.trusted.values() if name == text]
        if len(named) == 1:
            return named[0]
        if named:
            raise UsageError(f"{len(named)} trusted keys are named {text}", "Give the key itself: ed25519:...")
        if Path(text).is_file():
            return read_public(Path(text))
        known = sorted({name for name, _ in self.trusted.values()})
        raise NotFoundError(
            f"{text!r} is neither a key, nor a file, nor the name of a trusted key",
            f"Trusted are: {', '.join(known)}." if known else "A key is written ed25519:BASE64.",
        )


def read_trust(path: Path, *, required: bool) -> Trust:
    """The keys in a file. One that is missing trusts nobody, unless it is ``required``. Raises ``InputError`` naming
    the entry that cannot be read, ``NotFoundError``."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if required:
            raise NotFoundError(f"there is no file {path}", "Name a file of trusted keys.") from error
        return Trust()
    except (OSError, ValueError) as error:
        raise InputError(f"is not a readable file of keys ({error})", source=str(path)) from error
    other = sorted(set(values) - {"trusted", "revoked"})
    if other:
        raise InputError(f"holds {visible(other[0])}", "It has [[trusted]] and [[revoked]].", source=str(path))
    trusted, revoked = {}, {}
    for entry in _entries(path, values, "trusted", ("name", "key")):
        key = _key(path, "trusted", entry["key"])
        trusted[key.id] = entry["name"], key
    for entry in _entries(path, values, "revoked", ("key", "why")):
        revoked[_key(path, "revoked", entry["key"]).id] = entry["why"]
    return Trust(trusted, revoked)


def _entries(path: Path, values: Mapping[str, Any], table: str, fields: tuple[str, ...]) -> list[dict[str, str]]:
    entries = values.get(table, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{table} is no list of entries", f"Begin each with [[{table}]].", source=str(path))
    for number, entry in enumerate(entries, start=1):
        if set(entry) != set(fields) or not all(isinstance(value, str) for value in entry.values()):
            raise InputError(
                f"entry {number} of {table} does not hold {' and '.join(fields)}, each a text", source=str(path)
            )
    return entries


def _key(path: Path, table: str, text: str) -> PublicKey:
    key = PublicKey.parse(text)
    if key is None:
        raise InputError(f"an entry of {table} has no key: {text!r}", "Write ed25519:BASE64.", source=str(path))
    return key
