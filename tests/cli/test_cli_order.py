"""Tags, search, descriptions, names and moves of aliases on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.command_line import caa


def test_what_is_said_is_shown(full: Path) -> None:
    said = caa("describe", "dataset:team/s", "--text", "Letters of a test.", "--licence", "MIT")
    assert said.code == 0 and said.out.splitlines() == [
        "dataset      team/s:v1",
        "description  Letters of a test.",
        "licence      MIT",
        "behavior     s",
    ]
    caa("tag", "set", "dataset:team/s", "status=reviewed", "owner=ada")
    shown = caa("dataset", "show", "dataset:team/s", "--limit", "0").out
    for line in ("description  Letters of a test.", "tags         owner=ada, status=reviewed", "licence      MIT"):
        assert line in shown
    logged = caa("log", "dataset:team/s").out
    assert "licence MIT" in logged and "text Letters of a test." in logged and "key status, value reviewed" in logged
    caa("describe", "dataset:team/s", "--licence", "")
    assert "licence none, before MIT" in caa("log", "dataset:team/s").out


def test_listings_of_versions_say_who_and_why(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAA_ACTOR", "bea")
    made = caa("vector", "combine", "team/w", "vector:team/s", "--operation", "normalize", "--message", "at length 1")
    assert made.code == 0, made.err
    for command in (["vector", "ls"], ["vector", "ls", "--versions"], ["vector", "log", "team/w"]):
        listed = caa(*command).out
        assert "bea" in listed and "at length 1" in listed and "by" in listed.splitlines()[0].split()
    assert [(each["by"], each["message"]) for each in caa("--json", "vector", "log", "team/w").json] == [
        ("bea", "at length 1")
    ]
    for command in (["dataset", "ls"], ["dataset", "ls", "--versions"]):
        assert "by" in caa(*command).out.splitlines()[0].split()
    page = caa("dataset", "ls", "--limit", "1")
    assert len(page.out.splitlines()) == 2 and "First 1 of 2; --all shows all." in page.err
    assert len(caa("--json", "dataset", "ls").json) == 2


@pytest.mark.parametrize(
    "listing", [["vector", "ls"], ["eval", "ls"], ["eval", "leaderboard"], ["model", "ls"], ["alias", "ls"]]
)
def test_listings_take_tags(full: Path, listing: list[str]) -> None:
    every = caa("--json", *listing).json
    caa("tag", "set", "vector:team/s:v1", "status=reviewed", "owner=ada")
    assert len(caa("--json", *listing, "--tag", "status=reviewed", "--tag", "owner=ada").json) == len(every)
    assert caa("--json", *listing, "--tag", "status=draft").json == []
    assert caa(*listing, "--tag", "status=draft").code == 0
    assert caa(*listing, "--tag", "status").code == caa(*listing, "--tag", "=x").code == 2
    twice = caa(*listing, "--tag", "a=b", "--tag", "a=c")
    assert twice.code == 2 and "a version has one value of each tag" in twice.err


def test_a_search_is_words_whatever_they_are(full: Path) -> None:
    found = caa("search", "IS", "ünï").out.splitlines()
    assert found[0].split() == ["kind", "of", "in", "text"] and len(found) == 5
    assert all(line.startswith("pair") and "«ünï 🙂»" in line for line in found[1:])
    assert [hit["kind"] for hit in caa("--json", "search", "team/questions").json] == ["dataset"]
    nothing = caa("search", "zebra")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "Nothing has these words.\n")
    for bad in ('"', "*", "AND(", "--", "\x00"):
        assert caa("search", "--", bad).code in (0, 2)
    refused = caa("search", "--", '"* -')
    assert refused.code == 2 and refused.err.startswith("Error: there is no word to search for")


def test_a_name_and_an_alias(full: Path) -> None:
    assert caa("rename", "vector:team/s", "team/t").err == "vector:team/s is now vector:team/t.\n"
    assert caa("--json", "rename", "vector:team/t", "team/u").json == {"from": "vector:team/t", "to": "vector:team/u"}
    conflict = caa("alias", "set", "vector:team/u:v1", "best", "--layer", "1", "--expect", "none")
    assert conflict.code == 1 and conflict.err.splitlines() == [
        "Error: team/u:best points at v1, and none was expected",
        "Nothing was changed. Who moved it: caa alias log team/u:best",
    ]
    assert caa("alias", "set", "vector:team/u:v1", "best", "--layer", "0", "--expect", "v1", "--protect").code == 0
    assert "protected" in caa("alias", "ls").out
    first, second = caa("alias", "log", "vector:team/u:best").out.splitlines()[1:]
    assert "team/u:best" in first and "layer 0" in first and "team/s:best" in second and "none" in second
    assert caa("alias", "log", "vector:team/u:other").err == "vector:team/u:other was never set.\n"


@pytest.mark.parametrize(
    "command",
    [
        ["describe", "team/s:v1"],
        ["describe", "nothing", "--text", "x"],
        ["tag", "set", "vector:team/s", "a b=c"],
        ["tag", "rm", "vector:team/s", "a"],
        ["rename", "vector:team/s", "team/questions"],
        ["alias", "set", "vector:team/s:v1", "best", "--expect", "first"],
        ["dataset", "ls", "--tag", "x"],
    ],
)
def test_what_is_wrong_is_said_in_a_sentence_and_changes_nothing(full: Path, command: list[str]) -> None:
    before = full.read_bytes()
    result = caa(*command)
    assert result.code in (1, 2) and result.out == "" and "Traceback" not in result.err
    assert full.read_bytes() == before


def test_a_name_of_who_acts_is_one_line(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for bad in ("a\nb", "a\udcff", "x" * 201):
        monkeypatch.setenv("CAA_ACTOR", bad)
        result = caa("tag", "set", "vector:team/s", "a=b")
        assert result.code == 2 and "cannot be the name of who does something" in result.err
