"""The audit and the runs of a registry, as they are read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from registry.registry_support import jsonl, letters

from caa_registry.errors import IntegrityError, NotFoundError, UsageError
from caa_registry.registry.opening import open as open_registry
from caa_registry.registry.records import Recommendation
from caa_registry.registry.registry import Registry

if TYPE_CHECKING:
    from caa_registry.models.model import Model
    from caa_registry.registry.records import DatasetVersion


@pytest.fixture
def busy(registry: Registry, pairs: DatasetVersion, model: Model, tmp_path: Path) -> Registry:
    """Ada imports, computes, names and recalls; bob imports again, also under a name that begins as another does."""
    registry.vectors.compute("team/vector", dataset=pairs, model=model)
    registry.aliases.set("team/vector:v1", "best", Recommendation((1,)))
    registry.datasets.recall("team/pairs:v1", why="wrong letters")
    with open_registry(str(tmp_path / "registry.db"), actor="bob", create=False) as other:
        source = jsonl(tmp_path / "more.jsonl", letters(6))
        other.datasets.import_(source, name="team/pairs")
        other.datasets.import_(source, name="team/pairs2")
    return registry


def actions(registry: Registry, reference: str | None = None, **asked: Any) -> list[str]:
    return [event.action for event in registry.audit.ls(reference, **asked)]


def test_events_are_listed_by_what_they_tell_of(busy: Registry) -> None:
    assert actions(busy) == ["import", "import", "recall", "set-alias", "compute", "import"]
    assert actions(busy, "team/vector") == ["recall", "set-alias", "compute"]
    assert actions(busy, "team/vector:best") == ["recall", "set-alias", "compute"]
    assert actions(busy, "team/pairs") == ["import", "recall", "import"]
    assert actions(busy, "team/pairs:v1") == ["recall", "import"]
    assert actions(busy, "dataset:team/pairs:v2") == ["import"]
    assert actions(busy, "team/pairs2") == ["import"]
    with pytest.raises(NotFoundError, match="no dataset or vector team/pair"):
        busy.audit.ls("team/pair")


def test_events_are_listed_by_whom_and_since_when(busy: Registry) -> None:
    assert actions(busy, actor="bob") == ["import", "import"]
    assert actions(busy, "team/pairs", actor="bob") == ["import"]
    everything = busy.audit.ls()
    middle = everything[2].at
    assert actions(busy, since=middle) == ["import", "import", "recall"]
    assert actions(busy, since=middle.astimezone(UTC).replace(tzinfo=None)) == ["import", "import", "recall"]
    assert actions(busy, since=datetime.now(UTC) + timedelta(days=1)) == []
    page = busy.audit.ls(limit=2)
    assert (len(page), page.total, page.rows) == (2, 6, everything.rows[:2])
    page = busy.audit.ls("team/pairs", limit=1)
    assert (len(page), page.total) == (1, 3)


def test_the_head_is_checked_against_a_copy(busy: Registry, tmp_path: Path) -> None:
    head = busy.audit.head()
    assert head is not None and head == busy.audit.ls()[0]
    busy.datasets.import_(jsonl(tmp_path / "last.jsonl", letters(3)), name="team/last")
    check = busy.audit.verify(head.digest)
    assert (check.events, check.place) == (7, 6) and check.head != head.digest
    assert busy.audit.verify(head.digest.removeprefix("sha256:").upper()) == check
    for wrong in ("", "sha256:12", head.digest[:30], f"{head.digest}0"):
        with pytest.raises(UsageError, match="not the digest of an event"):
            busy.audit.verify(wrong)
    with pytest.raises(IntegrityError, match="none of the 7 events has the digest"):
        busy.audit.verify("0" * 64)


def test_a_registry_in_which_nothing_was_done(registry: Registry) -> None:
    assert registry.audit.ls() == [] and registry.audit.head() is None
    assert (registry.audit.verify().events, registry.audit.verify().head) == (0, "")
    assert registry.runs.ls() == []


def test_an_event_that_was_changed_is_not_shown(busy: Registry) -> None:
    with busy.database.write() as session:
        session.connection().exec_driver_sql("DROP TRIGGER keep_event_update")
        session.connection().exec_driver_sql("UPDATE event SET actor = 'eve' WHERE id = 2")
    assert len(busy.audit.ls(limit=2)) == 2
    with pytest.raises(IntegrityError, match=r"event 2 .* was changed"):
        busy.audit.ls("team/vector")


def test_runs_say_what_they_read_and_made(busy: Registry, model: Model) -> None:
    listed = busy.runs.ls()
    assert [each.run.kind for each in listed] == ["import", "import", "compute", "import"]
    (compute,) = busy.runs.ls(kind="compute")
    assert (compute.inputs, compute.outputs) == (
        [("dataset", "team/pairs:v1"), ("model", model.info.name)],
        [("vector", "team/vector:v1")],
    )
    assert busy.runs.get(compute.run.id) == compute
    assert [each.run.actor for each in busy.runs.ls(actor="bob", limit=1)] == ["bob"]
    assert busy.runs.ls(limit=1).total == 4
    assert busy.runs.ls(since=compute.run.started_at).total == 3
    with pytest.raises(NotFoundError, match="no run 99"):
        busy.runs.get(99)
