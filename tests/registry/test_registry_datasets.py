"""Datasets: the same rows are one version, other rows the next, and nothing half-imported stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from registry.registry_support import check_consistent, dump, events, jsonl, letters

from caa_registry.errors import InputError, NotFoundError, UsageError
from caa_registry.registry.opening import open as open_registry
from caa_registry.registry.registry import Registry


def test_an_import_is_a_version_with_its_source(registry: Registry, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "pairs.jsonl", letters(3))
    version = registry.datasets.import_(source, name="team/a", licence="CC0", message="first")
    assert (version.reference, version.n_items, dict(version.splits)) == ("team/a:v1", 3, {"generate": 3})
    assert (version.licence, version.message, version.parent, version.existing) == ("CC0", "first", None, False)
    assert version.source.uri == source and version.source.files[0].rows == 3
    assert registry.datasets.get("team/a") == version
    assert registry.datasets.ls() == [version]
    items = registry.datasets.pairs(version)
    assert [item.pair.prompt for item in items] == [row["prompt"] for row in letters(3)]
    assert events(registry)[-1] == ("import", {"run": 1, "dataset": "team/a:v1", "digest": version.digest})
    check_consistent(registry)


def test_the_same_rows_are_the_same_version_in_any_order(registry: Registry, tmp_path: Path) -> None:
    first = registry.datasets.import_(jsonl(tmp_path / "a.jsonl", letters()), name="team/a")
    before = dump(f"sqlite:///{registry.database.path}")
    again = registry.datasets.import_(jsonl(tmp_path / "a.jsonl", letters()), name="team/a")
    turned = registry.datasets.import_(jsonl(tmp_path / "b.jsonl", letters()[::-1]), name="team/a", message="other")
    assert again.existing and turned.existing
    assert first.reference == again.reference == turned.reference and turned.message == ""
    assert dump(f"sqlite:///{registry.database.path}") == before


def test_other_rows_are_the_next_version_and_share_their_pairs(registry: Registry, tmp_path: Path) -> None:
    registry.datasets.import_(jsonl(tmp_path / "a.jsonl", letters(3)), name="team/a")
    second = registry.datasets.import_(jsonl(tmp_path / "b.jsonl", letters(4)), name="team/a")
    assert (second.reference, second.parent, second.existing) == ("team/a:v2", "team/a:v1", False)
    assert len(dump(f"sqlite:///{registry.database.path}")["pair"]) == 4
    assert registry.datasets.import_(jsonl(tmp_path / "a.jsonl", letters(3)), name="team/a").reference == "team/a:v1"
    assert [version.reference for version in registry.datasets.ls()] == ["team/a:v2"]


def test_repeated_rows_stay_and_count(registry: Registry, tmp_path: Path) -> None:
    rows = letters(2)
    once = registry.datasets.import_(jsonl(tmp_path / "a.jsonl", rows), name="team/a")
    twice = registry.datasets.import_(jsonl(tmp_path / "b.jsonl", [*rows, rows[0]]), name="team/a")
    assert twice.n_items == 3 and twice.digest != once.digest
    assert len(registry.datasets.pairs(twice)) == 3


def test_two_splits_are_one_version(registry: Registry, tmp_path: Path) -> None:
    sources = {
        "generate": jsonl(tmp_path / "g.jsonl", letters(3)),
        "test": jsonl(tmp_path / "t.jsonl", letters(2, about="that")),
    }
    version = registry.datasets.import_(sources, name="team/a")
    assert dict(version.splits) == {"generate": 3, "test": 2}
    assert len(registry.datasets.pairs("team/a", "test")) == 2
    with pytest.raises(UsageError, match="has no split 'dev'") as caught:
        registry.datasets.pairs("team/a", "dev")
    assert "generate (3), test (2)" in caught.value.hint


def test_questions_are_a_kind_of_their_own(registry: Registry, tmp_path: Path) -> None:
    asked = jsonl(tmp_path / "q.jsonl", [{"question": f"What is {i}?"} for i in range(3)])
    version = registry.datasets.import_(asked, name="team/q")
    assert (version.kind, version.n_items, dict(version.splits)) == ("questions", 3, {"test": 3})
    assert [item.text for item in registry.datasets.questions("team/q")] == ["What is 0?", "What is 1?", "What is 2?"]
    with pytest.raises(UsageError, match="holds open-ended questions"):
        registry.datasets.pairs("team/q")
    with pytest.raises(UsageError, match="team/q holds questions; this source gives pairs"):
        registry.datasets.import_(jsonl(tmp_path / "p.jsonl", letters()), name="team/q")
    registry.datasets.import_(jsonl(tmp_path / "p.jsonl", letters()), name="team/p")
    with pytest.raises(UsageError, match="holds pairs, not open-ended questions"):
        registry.datasets.questions("team/p")


def test_a_bad_row_leaves_the_registry_as_it_was(registry: Registry, tmp_path: Path) -> None:
    url = f"sqlite:///{registry.database.path}"
    before = dump(url)
    source = jsonl(tmp_path / "a.jsonl", [*letters(600), {**letters(1)[0], "negative": ""}])
    with pytest.raises(InputError, match=r"a\.jsonl, row 601.*negative completion is empty"):
        registry.datasets.import_(source, name="team/a")
    for text in ("half \ud800", "nul \x00"):
        with pytest.raises(InputError, match="field 'message'"):
            registry.datasets.import_(jsonl(tmp_path / "b.jsonl", letters()), name="team/a", message=text)
    assert dump(url) == before


def test_a_failure_while_writing_leaves_nothing(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{registry.database.path}"
    before = dump(url)
    source = jsonl(tmp_path / "a.jsonl", letters())

    def fail(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("caa_registry.registry.datasets.store.record_run", fail)
        with pytest.raises(KeyboardInterrupt):
            registry.datasets.import_(source, name="team/a")
    assert dump(url) == before
    assert registry.datasets.import_(source, name="team/a").reference == "team/a:v1"


@pytest.mark.parametrize("name", ["", "A", "a b", "..", "a/../b", "a//b", "/a", "a/", "a:b", "a@b", "ä", "x" * 230])
def test_names_outside_the_grammar_are_refused(registry: Registry, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not a name"):
        registry.datasets.import_(jsonl(tmp_path / "a.jsonl", letters()), name=name)


def test_texts_come_back_as_they_are(registry: Registry, tmp_path: Path) -> None:
    row = {"prompt": "Ünïcödé 你好 🙂 'quotes' \"; DROP TABLE pair; --", "positive": "å\u200d", "negative": "\tno\n"}
    registry.datasets.import_(jsonl(tmp_path / "a.jsonl", [row]), name="team/a")
    pair = registry.datasets.pairs("team/a")[0].pair
    assert (pair.prompt, pair.positive, pair.negative) == (row["prompt"], row["positive"], row["negative"])


def test_an_old_version_is_found_when_the_registry_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "registry.db"
    with open_registry(str(path)) as registry:
        registry.datasets.import_(jsonl(tmp_path / "a.jsonl", letters()), name="team/a")
    with open_registry(str(path), create=False) as registry:
        assert registry.datasets.get("team/a:v1").n_items == 4
        with pytest.raises(NotFoundError, match="there is no dataset team/b") as caught:
            registry.datasets.get("team/b")
        assert caught.value.hint == "Did you mean team/a?"
