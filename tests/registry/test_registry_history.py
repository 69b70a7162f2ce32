"""Diff and log of versions in a registry."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from registry.registry_support import jsonl, letters

from caa_registry.errors import UsageError
from caa_registry.pairs.curation.operations import Dedupe
from caa_registry.registry.opening import open as open_registry


def test_what_changed_between_versions(url: str, tmp_path: Path) -> None:
    rows = [{**row, "split": "generate"} for row in letters(8)]
    with open_registry(url, actor="ada", create=False) as registry:
        first = registry.datasets.import_(jsonl(tmp_path / "a.jsonl", [*rows, rows[0], rows[0]]), name="team/a")
        edited = {**rows[1], "prompt": rows[1]["prompt"].replace("Yes", "Yes, it is")}
        swapped = {**rows[2], "positive": rows[2]["negative"], "negative": rows[2]["positive"]}
        moved = {**rows[3], "split": "test"}
        new = {"prompt": "Something new?", "positive": "Indeed.", "negative": "Not at all.", "split": "generate"}
        later = [rows[0], rows[0], edited, swapped, moved, *rows[4:7], new]
        source = jsonl(tmp_path / "b.jsonl", later)
        second = registry.datasets.import_(source, name="team/a", message="mended")
        found = registry.datasets.diff(first, second)
        assert Counter(change.kind for change in found.changes) == {"edited": 1, "relabelled": 1, "moved": 1}
        assert [item.pair.prompt for item in found.added] == ["Something new?"]
        # One of three repeated rows, and the eighth.
        assert sorted(item.pair.prompt[:8] for item in found.removed) == ["Is it 0 ", "Is it 7 "]
        assert found.unchanged == 5
        back = registry.datasets.diff(second, first)
        assert (len(back.added), len(back.removed), back.unchanged) == (2, 1, 5)
        same = registry.datasets.diff(first, first)
        assert (same.added, same.removed, same.changes, same.unchanged) == ([], [], [], 10)

        entries = registry.datasets.log("team/a")
        assert [(e.version.number, e.actor, e.added, e.removed) for e in entries] == [
            (2, "ada", 4, 5),
            (1, "ada", 10, 0),
        ]
        assert entries[0].what == source and entries[0].version.message == "mended"
        registry.datasets.curate(Dedupe(near=None), "team/a")
        assert next(e.what for e in registry.datasets.log("team/a")) == "dedupe"
        registry.datasets.import_(jsonl(tmp_path / "q.jsonl", [{"question": "Why?"}]), name="team/q")
        with pytest.raises(UsageError, match="open-ended questions"):
            registry.datasets.diff("team/q", "team/a")
        assert len(registry.datasets.log("team/q")) == 1
