"""Lint of versions: what they are compared with, and the report that stays with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from registry.registry_support import events, jsonl, letters

from caa_registry.errors import UsageError
from caa_registry.models.model import Model
from caa_registry.pairs.curation.operations import Relabel, Sample
from caa_registry.registry.opening import open as open_registry
from caa_registry.registry.records import DatasetVersion
from caa_registry.registry.registry import Registry


def test_a_report_is_stored_with_its_version(url: str, tmp_path: Path) -> None:
    rows = letters(6)
    with open_registry(url, create=False) as registry:
        version = registry.datasets.import_(jsonl(tmp_path / "a.jsonl", [*rows, rows[0]]), name="team/a", licence="MIT")
        assert registry.datasets.lint_report(version) is None
        report = registry.datasets.lint(version)
        assert registry.datasets.lint_report("team/a") == report
        assert report.summary["counts"] == {"duplicate-pair": 1} and report.summary["score"] == round(600 / 7, 1)
        assert (report.findings[0].row, report.findings[0].split) == (7, "generate")
        assert report.parameters["near_duplicates"]["threshold"] == 0.8
        assert events(registry)[-1][0] == "lint"
        # The newest counts.
        again = registry.datasets.lint(version, against=[])
        newest = registry.datasets.lint_report(version)
        assert newest is not None and newest.id == again.id != report.id


def test_what_a_set_is_compared_with(registry: Registry, tmp_path: Path) -> None:
    def add(name: str, behavior: str, rows: list[dict[str, str]]) -> DatasetVersion:
        path = jsonl(tmp_path / f"{name.replace('/', '-')}.jsonl", rows)
        return registry.datasets.import_(path, name=name, behavior=behavior, licence="MIT")

    first = [dict(row) for row in letters(4)]
    mine = add("team/mine", "lying", first)
    same = add("team/same", "lying", [{**first[0], "positive": "(A)", "negative": "(B)"}, *first[1:]])
    add("team/else", "humming", first)
    report = registry.datasets.lint(mine)
    assert report.parameters["against"] == [same.reference]
    assert report.summary["counts"] == {"opposite-labels-in-other-dataset": 1, "pair-in-other-dataset": 3,
                                        "question-in-other-dataset": 1}  # fmt: skip
    assert registry.datasets.lint(mine, against=[]).findings == ()
    assert registry.datasets.lint(mine, against=["team/else"]).summary["counts"] == {"pair-in-other-dataset": 4}
    with pytest.raises(UsageError, match="cannot be compared"):
        registry.datasets.lint(mine, against=[mine])
    # A set that was made of it holds the same pairs on purpose, and so do those made of that one.
    registry.datasets.curate(Sample(2), mine, name="team/part")
    registry.datasets.curate(Relabel("a test"), "team/part", name="team/swapped")
    for name in ("team/mine", "team/part", "team/swapped"):
        assert registry.datasets.lint(name).parameters["against"] == [same.reference]


def test_questions_are_not_linted(registry: Registry, tmp_path: Path) -> None:
    registry.datasets.import_(jsonl(tmp_path / "q.jsonl", [{"question": "Why?"}]), name="team/q")
    with pytest.raises(UsageError, match="holds open-ended questions, not pairs"):
        registry.datasets.lint("team/q")


def test_vectors_that_point_opposite_ways(registry: Registry, tmp_path: Path, model: Model) -> None:
    rows = letters(6)
    swapped = [{**row, "positive": row["negative"], "negative": row["positive"]} for row in rows]
    for name, pairs in (("team/one", rows), ("team/other", swapped), ("team/alike", letters(6, about="that"))):
        registry.datasets.import_(jsonl(tmp_path / f"{name[5:]}.jsonl", pairs), name=name, behavior="b", licence="MIT")
        registry.vectors.compute(f"{name}-v", dataset=name, model=model)
    (found,) = [f for f in registry.datasets.lint("team/one").findings if f.rule == "opposite-vectors"]
    assert "team/other-v:v1" in found.message and found.figures["cosine"] == pytest.approx(-1)


def test_a_models_tokenizer(registry: Registry, tmp_path: Path, demo: Model) -> None:
    rows = [*letters(3), {"prompt": "and so on " * 200, "positive": "Yes", "negative": "No"}]
    registry.datasets.import_(jsonl(tmp_path / "a.jsonl", rows), name="team/a", licence="MIT")
    report = registry.datasets.lint("team/a", model=demo)
    assert report.summary["counts"] == {"longer-than-context": 1, "mixed-answers": 1}
    assert report.parameters["model"] == "demo" and report.parameters["template"] == "chat"
