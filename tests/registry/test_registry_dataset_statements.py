"""Listings of datasets take as many statements as they take for a few, however many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from registry.registry_support import jsonl, letters
from sqlalchemy import Engine, event, text
from support.resealed import reseal

from caa_registry.catalog import models as t
from caa_registry.pairs.curation.operations import Sample
from caa_registry.registry.registry import Registry


@contextmanager
def statements() -> Iterator[list[str]]:
    """The statements that any engine executes."""
    executed: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith(("PRAGMA", "BEGIN")):
            executed.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield executed
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def counted(action: Callable[[], Any]) -> int:
    with statements() as executed:
        action()
    return len(executed)


def fill(registry: Registry, folder: Path, first: int, last: int) -> None:
    """Datasets ``first`` to ``last``, each with an alias, and as many versions of ``team/log``."""
    for i in range(first, last):
        version = registry.datasets.import_(jsonl(folder / "one.jsonl", letters(i + 2)), name=f"team/{i:03}")
        registry.aliases.set(version.reference, "best")
        registry.datasets.import_(jsonl(folder / "one.jsonl", letters(i + 2, about="log")), name="team/log")
    registry.datasets.curate(Sample(1, seed=first), "team/log")


@pytest.mark.parametrize("counted_now", [False, True], ids=["as stored", "older than its figures"])
def test_statements_do_not_grow_with_datasets(registry: Registry, tmp_path: Path, counted_now: bool) -> None:
    datasets = registry.datasets
    actions: dict[str, Callable[[], Any]] = {
        "ls": datasets.ls,
        "get": lambda: datasets.get("team/001"),
        "get by alias": lambda: datasets.get("team/001:best"),
        "log": lambda: datasets.log("team/log"),
    }
    taken = []
    for first, last in ((0, 5), (5, 50)):
        fill(registry, tmp_path, first, last)
        if counted_now:
            with registry.database.write() as session:
                session.execute(text("DROP TRIGGER IF EXISTS keep_dataset_version_update"))
                session.execute(text("UPDATE dataset_version SET statistics = NULL"))
                reseal(session, t.DatasetVersion)
        taken.append({name: counted(action) for name, action in actions.items()})
    assert len(datasets.ls()) == 51 and len(datasets.log("team/log")) > 50
    assert taken[0] == taken[1], taken
    assert max(taken[0].values()) <= 10


def test_what_is_counted_together_is_what_each_version_says(registry: Registry, tmp_path: Path) -> None:
    fill(registry, tmp_path, 0, 4)
    for version in registry.datasets.ls():
        assert registry.datasets.get(version.reference) == version
    (made, *entries) = registry.datasets.log("team/log")
    assert (made.what, made.added, made.removed, made.actor) == ("sample", 0, 4, "ada")
    assert [(entry.version.number, entry.added, entry.removed) for entry in entries] == [
        (4, 1, 0), (3, 1, 0), (2, 1, 0), (1, 2, 0),
    ]  # fmt: skip
