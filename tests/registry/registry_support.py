"""Pairs to import, and what a registry holds as plain values, so that two states can be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine, inspect, make_url, select, text

from caa_registry.catalog import models as t
from caa_registry.catalog.events import verify_chain
from caa_registry.registry.registry import Registry

Row = Mapping[str, Any]


def letters(n: int = 4, *, about: str = "it") -> list[Row]:
    """A/B pairs, the matching letter in turn A and B."""
    return [
        {
            "prompt": f"Is {about} {i} good?\n (A) Yes\n (B) No",
            "positive": "(A)" if i % 2 else "(B)",
            "negative": "(B)" if i % 2 else "(A)",
        }
        for i in range(n)
    ]


def jsonl(path: Path, rows: Sequence[Row]) -> str:
    """``rows`` as a JSONL file; its path as a source."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


# What runs that failed leave: themselves, what they read, and an event, which is the head of the chain then.
_BUT_FAILURES = {
    "run": "WHERE failure IS NULL",
    "run_io": "WHERE run_id IN (SELECT id FROM run WHERE failure IS NULL)",
    "event": """WHERE CAST(subject AS TEXT) NOT LIKE '%"failure"%'""",
    "meta": "WHERE key != 'audit_head'",
}


def dump(url: str, *, failures: bool = True) -> dict[str, list[tuple[str, ...]]]:
    """Every row of every table; without ``failures`` all but what runs that failed leave."""
    engine = create_engine(make_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        return {
            name: sorted(
                tuple(map(repr, row))
                for row in connection.execute(
                    text(f'SELECT * FROM "{name}" {"" if failures else _BUT_FAILURES.get(name, "")}')
                )
            )
            for name in inspect(connection).get_table_names()
        }


def check_consistent(registry: Registry) -> None:
    """Every vector version can be read and has the run that made it; the events form a chain."""
    with registry.database.read() as session:
        verify_chain(session)
        runs = {run.id for run in session.scalars(select(t.Run))}
        made = {
            (io.kind, io.object_id)
            for io in session.scalars(select(t.RunIO).where(t.RunIO.direction == "output"))
            if io.run_id in runs
        }
        for version in session.scalars(select(t.VectorVersion)):
            assert ("vector", version.id) in made
        for dataset in session.scalars(select(t.DatasetVersion)):
            assert ("dataset", dataset.id) in made
        names = [row.name for row in session.scalars(select(t.Vector))]
    for name in names:
        newest = registry.vectors.get(name)
        for number in range(1, newest.number + 1):
            version = registry.vectors.get(f"{name}:v{number}")
            stored = registry.vectors.load(version)
            assert stored.layer_numbers == version.layer_numbers


def counts(registry: Registry) -> dict[str, int]:
    """How many rows the tables hold that a computation writes to, but for blobs, since an orphan is allowed, and for
    what a run that failed leaves."""
    tables: list[type[t.Base]] = [t.Vector, t.VectorVersion, t.VectorLayer, t.Run, t.RunIO, t.Event, t.Model]
    names = [table.__tablename__ for table in tables]
    with registry.database.read() as session:
        queries = {name: text(f"SELECT count(*) FROM {name} {_BUT_FAILURES.get(name, '')}") for name in names}
        return {name: session.execute(query).scalar_one() for name, query in queries.items()}


def only_failures(registry: Registry, before: Mapping[str, list[tuple[str, ...]]]) -> bool:
    """Whether a SQLite registry holds what it held ``before``, as ``dump`` gives it, and runs that failed."""
    now = dump(f"sqlite:///{registry.database.path}", failures=False)
    return now | {"meta": before["meta"]} == before and failures(registry) != []


def failures(registry: Registry) -> list[str]:
    """What runs failed of, oldest first."""
    return [each.run.failure for each in reversed(registry.runs.ls()) if each.run.failure]


def events(registry: Registry) -> list[tuple[str, dict[str, Any]]]:
    """The audit as (action, subject), its chain checked."""
    with registry.database.read() as session:
        verify_chain(session)
        return [(event.action, event.subject) for event in session.scalars(select(t.Event).order_by(t.Event.id))]
