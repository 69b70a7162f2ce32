"""The source of a dataset version, as the catalogue keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from caa_registry.errors import InputError
from caa_registry.pairs.source import Source
from caa_registry.registry.records.stored import Stored


def source_of(values: Mapping[str, Any], version: str) -> Source:
    """The source that is stored with ``version``. Raises ``RegistryError`` naming the version and the key."""
    try:
        return Source.from_json(values)
    except InputError as error:
        # ``revision`` of a source is a commit of a hub; its own revision is its ``form``.
        stored = Stored({"revision": values.get("form", 1)}, f"the source of {version}")
        raise stored.unreadable(error.message) from error
