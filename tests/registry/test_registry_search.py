"""A search finds what has the words, on both databases alike, whatever is typed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

import caa_registry as caa
from caa_registry.errors import IntegrityError, RegistryError, UsageError
from caa_registry.registry.opening import open as open_registry
from caa_registry.registry.registry import Registry

if TYPE_CHECKING:
    from caa_registry.models.model import Model

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))
from registry_rows import counted

PAIRS = [
    ("Is 日本語 easy, professor?", "(A) Crème brûlée", "(B)"),
    ("Do you agree 🙂?", "(A)", "(B)"),
    ("Привет, мир", "да", "нет"),
    ("She said \"NOT\" AND 'OR' NEAR(x*) ; DROP TABLE pair; --", "yes", "no"),
]


@pytest.fixture
def shared(url: str, tmp_path: Path) -> Iterator[Registry]:
    """Pairs, questions and what is said of them, on either database."""
    questions = tmp_path / "questions.json"
    questions.write_text('[{"question": "Why is the sky blue?"}, {"question": "Why not?"}]')
    with open_registry(url, actor="ada", create=False) as registry:
        registry.datasets.add("team/flattery", pairs=PAIRS, message="from the paper", licence="CC0-1.0")
        registry.datasets.import_(str(questions), name="team/questions")
        yield registry


def hits(registry: Registry, asked: str) -> list[tuple[str, str, str]]:
    return [(hit.kind, hit.reference[:20], hit.field) for hit in registry.search(asked)]


def pair(text: str) -> tuple[str, str]:
    (row,) = [row for row in PAIRS if text in row[0]]
    return "pair", caa.Pair(*row).digest[:20]


@pytest.mark.parametrize(
    ("asked", "found", "field"),
    [
        ("professor", "日本語", "prompt"),
        ("PROFESSOR", "日本語", "prompt"),
        ("profess", "日本語", "prompt"),
        ("日本", "日本語", "prompt"),
        ("本", "日本語", "prompt"),
        ("creme", "日本語", "positive"),
        ("🙂", "agree", "prompt"),
        ("прив", "Привет", "prompt"),
        ("not and or near", "NOT", "prompt"),
        ("drop table", "NOT", "prompt"),
        ("near(x*)", "NOT", "prompt"),
    ],
)
def test_pairs_are_found_by_their_words(shared: Registry, asked: str, found: str, field: str) -> None:
    assert hits(shared, asked) == [(*pair(found), field)]
    assert shared.search(asked)[0].within == ("team/flattery:v1",)


@pytest.mark.parametrize("asked", ["rofessor", "professor agree", "本日", "flattery zzz"])
def test_what_lacks_a_word_is_not_found(shared: Registry, asked: str) -> None:
    assert hits(shared, asked) == []


def test_versions_are_found_by_what_is_said_of_them(shared: Registry) -> None:
    one = ("dataset", "team/flattery:v1")
    assert hits(shared, "flatt") == [(*one, "name")]
    assert hits(shared, "cc0-1.0") == [(*one, "licence")]
    assert hits(shared, "paper") == [(*one, "message")]
    assert hits(shared, "sky") == [("question", "team/questions:v1", "text")]
    shared.describe("team/flattery", text="Does it please its user?", licence="MIT", behavior="pleasing")
    shared.tags.set("team/flattery", {"status": "reviewed"})
    assert hits(shared, "please user") == [(*one, "description")]
    assert hits(shared, "mit") == [(*one, "licence")] and hits(shared, "cc0-1.0") == []
    assert hits(shared, "pleasing") == [(*one, "behavior")]
    assert hits(shared, "status=reviewed flattery") == [(*one, "name")]
    assert hits(shared, "status=rev") == [(*one, "tag")]
    shared.tags.set("team/flattery", {"status": "wrong"})
    assert hits(shared, "reviewed") == []
    shared.tags.remove("team/flattery", "status")
    assert hits(shared, "status") == []
    assert shared.fsck().faults == ()


def test_vectors_and_models_are_found(shared: Registry, model: Model) -> None:
    shared.datasets.add("team/letters", pairs=[(f"Is {i}?\n (A) x\n (B) y", "(A)", "(B)") for i in range(4)])
    shared.vectors.compute("team/v", dataset="team/letters", model=model, message="a first try")
    name = model.info.name
    vector = ("vector", "team/v:v1")
    assert hits(shared, "first try") == [(*vector, "message")]
    assert hits(shared, name) == [(*vector, "model"), ("model", name[:20], "name")]
    assert (*vector, "behavior") in hits(shared, "letters")
    # The behavior of a computed vector is that of its pairs.
    shared.describe("dataset:team/letters", behavior="choosing")
    assert (*vector, "behavior") in hits(shared, "choosing")
    shared.rename("dataset:team/letters", "team/letters-of-a-test")
    assert (*vector, "behavior") in hits(shared, "choosing")
    assert shared.fsck().faults == ()


def test_the_newest_version_that_fits_stands_for_a_name(shared: Registry) -> None:
    shared.datasets.add("team/flattery", pairs=PAIRS[:2], message="the paper again")
    shared.datasets.add("team/flattery", pairs=PAIRS[:1], message="fewer")
    assert hits(shared, "paper") == [("dataset", "team/flattery:v2", "message")]
    assert hits(shared, "flattery") == [("dataset", "team/flattery:v3", "name")]
    assert shared.search("agree")[0].within == ("team/flattery:v2",)
    shared.delete("team/flattery:v2")
    assert hits(shared, "paper") == [("dataset", "team/flattery:v1", "message")]
    assert shared.search("agree")[0].within == ("team/flattery:v1",)
    shared.delete("team/flattery:v1")
    assert hits(shared, "agree") == []
    shared.undelete("team/flattery:v2")
    assert len(hits(shared, "agree")) == 1


def test_a_page_of_hits_knows_how_many_there_are(shared: Registry) -> None:
    shared.datasets.add("team/many", pairs=[(f"apple {i}", "a", "b") for i in range(30)])
    page = shared.search("apple", limit=7)
    assert (len(page), page.total) == (7, 30)
    assert page.rows == shared.search("apple").rows[:7]
    with pytest.raises(UsageError, match="a limit of 0"):
        shared.search("apple", limit=0)


@pytest.mark.parametrize("asked", ["", " \n", "\x00", "!?*\"'", "\ud800", "\u200b"])
def test_a_query_without_a_word_is_refused(shared: Registry, asked: str) -> None:
    with pytest.raises(UsageError, match="there is no word to search for"):
        shared.search(asked)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(asked=st.text(alphabet=st.one_of(st.characters(codec=None), st.sampled_from("\"'*:^()-+{}&|!<>\\ \x00"))))
def test_any_text_is_safe_to_ask_for(shared: Registry, asked: str) -> None:
    try:
        found = shared.search(asked)
    except UsageError:
        return
    assert found.total == len(found)


def test_removed_pairs_are_found_no_more(shared: Registry) -> None:
    shared.delete("team/flattery:v1")
    shared.delete("team/questions:v1")
    shared.gc(grace=timedelta(0))
    assert hits(shared, "professor") == [] and hits(shared, "sky") == []
    assert shared.fsck().faults == ()
    shared.datasets.add("team/flattery", pairs=PAIRS)
    assert hits(shared, "professor") == [(*pair("日本語"), "prompt")]
    assert shared.fsck().faults == ()


def spoil(registry: Registry, statement: str) -> None:
    with registry.database.write() as session:
        session.execute(text(statement))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE search_entry SET text = 'zebra' WHERE position = -1",
        "DELETE FROM search_entry WHERE position = -1",
        "INSERT INTO search_entry (text) VALUES ('zebra')",
    ],
)
def test_an_index_that_is_wrong_is_found_and_made_anew(shared: Registry, statement: str) -> None:
    before = hits(shared, "flattery")
    spoil(shared, statement)
    report = shared.fsck()
    assert {fault.check for fault in report.damage} == {"search"}
    done = shared.repair(report)
    assert done.search and done.quarantined == ()
    assert shared.fsck().faults == ()
    assert hits(shared, "flattery") == before and hits(shared, "zebra") == []


def test_a_hit_that_is_not_what_the_index_says_is_no_hit(registry: Registry) -> None:
    registry.datasets.add("team/flattery", pairs=PAIRS)
    spoil(registry, "INSERT INTO search_index (search_index, rowid, text) SELECT 'delete', id, text FROM search_entry")
    spoil(registry, "UPDATE search_entry SET text = 'zebra'")
    spoil(registry, "INSERT INTO search_index (search_index) VALUES ('rebuild')")
    with pytest.raises(IntegrityError, match="index of words to search is not that of dataset team/flattery:v1"):
        registry.search("zebra")


def test_words_that_only_the_index_lacks_are_missed_by_fsck_too(registry: Registry) -> None:
    registry.datasets.add("team/flattery", pairs=PAIRS)
    gone = "INSERT INTO search_index (search_index, rowid, text) SELECT 'delete', id, text FROM search_entry LIMIT 1"
    spoil(registry, gone)
    report = registry.fsck()
    assert [(fault.check, fault.problem) for fault in report.damage] == [("search", "it is not that of its entries")]
    registry.repair(report)
    assert registry.fsck().faults == () and len(registry.search("professor")) == 1


def test_an_index_that_cannot_be_read_is_made_anew(registry: Registry) -> None:
    registry.datasets.add("team/many", pairs=[(f"apple {i}", "a", "b") for i in range(200)])
    spoil(registry, "DELETE FROM search_index_data WHERE id > 10")
    with pytest.raises(RegistryError, match="malformed") as caught:
        registry.search("apple")
    assert "caa fsck --repair" in caught.value.hint
    report = registry.fsck()
    assert {fault.check for fault in report.damage} == {"search"}
    registry.repair(report)
    assert registry.fsck().faults == () and registry.search("apple").total == 200


def test_a_copy_and_a_backup_can_be_searched(shared: Registry, tmp_path: Path) -> None:
    shared.backup(tmp_path / "copy.db")
    with open_registry(str(tmp_path / "copy.db"), create=False, read_only=True) as copy:
        assert hits(copy, "professor") == hits(shared, "professor") != []
        assert copy.fsck().faults == ()


def test_statements_do_not_grow_with_hits(registry: Registry) -> None:
    taken: list[int] = []
    for number in (3, 40):
        registry.datasets.add(f"team/apple{number}", pairs=[(f"apple {number} {i}", "a", "b") for i in range(number)])
        with counted() as statements:
            registry.search("apple", limit=50)
        taken.append(len(statements))
    assert taken[0] == taken[1] <= 30
