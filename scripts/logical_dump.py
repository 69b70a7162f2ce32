"""What a registry says, whatever database it is in: every row of every table, with its numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import NullPool, create_engine, make_url, select

from caa_registry.catalog.models import Base


def logical_dump(url: str) -> dict[str, list[str]]:
    """By table its rows in the order of their keys, each a digest of its cells. JSON counts by its values, whatever the
    order of its keys, and a number by its value."""
    engine = create_engine(make_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        found = {}
        for table in Base.metadata.sorted_tables:
            rows = connection.execution_options(yield_per=1000).execute(select(table)).mappings()
            keys = [column.name for column in table.primary_key]
            cells = [{name: _plain(value) for name, value in row.items()} for row in rows]
            cells.sort(key=lambda row: tuple(row[key] for key in keys))
            found[table.name] = [hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest() for row in cells]
    engine.dispose()
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e308:
        return float(value) + 0.0
    return value
