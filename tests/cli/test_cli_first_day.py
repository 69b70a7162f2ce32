"""Every mistake of a first day is undone by a command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from catalog.registry_fixtures import url  # noqa: F401 - once for each database
from cli.command_line import Result, caa
from registry.registry_support import jsonl, letters


@pytest.fixture
def day(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> Iterator[Path]:  # noqa: F811
    """The pairs of a first day, with a vector and an evaluation of theirs."""
    monkeypatch.setenv("CAA_REGISTRY", url)
    monkeypatch.setenv("CAA_ACTOR", "ada")
    source = Path(jsonl(tmp_path / "pairs.jsonl", letters(8)))
    done("dataset", "import", source, "--name", "team/first", "--licence", "MIT", "--behavior", "kindness")
    done("dataset", "split", "team/first", "--test", "0.5")
    done("vector", "compute", "team/first", "--dataset", "team/first", "--model", tiny_folder)
    yield source
    # Whatever was done and undone, the registry is sound.
    assert done("--json", "fsck").json["faults"] == []


def done(*arguments: object) -> Result:
    result = caa(*arguments)
    assert result.code == 0, result.err
    return result


def dataset(reference: str = "dataset:team/first") -> dict[str, object]:
    shown: dict[str, object] = done("--json", "dataset", "show", reference).json
    return shown


def test_a_wrong_licence(day: Path) -> None:
    again = done("dataset", "import", day, "--name", "team/first", "--licence", "GPL-3.0")
    assert "its licence stays 'MIT'. To change it: caa describe dataset:team/first:v1 --licence GPL-3.0" in again.err
    done("describe", "dataset:team/first", "--licence", "CC-BY-4.0")
    assert dataset()["licence"] == "CC-BY-4.0"
    assert "cc-by-4.0" in done("dataset", "show", "dataset:team/first", "--card").out.lower()
    assert "CC-BY-4.0" in done("vector", "show", "vector:team/first", "--card").out
    done("describe", "dataset:team/first", "--licence", "MIT")
    assert dataset()["licence"] == "MIT"


def test_a_wrong_licence_does_not_stop_a_push(day: Path) -> None:
    done("describe", "dataset:team/first", "--licence", "")
    refused = caa("dataset", "push", "dataset:team/first", "hf:team/first", "--public")
    assert refused.code == 2 and "is unknown" in refused.err
    done("describe", "dataset:team/first", "--licence", "MIT")
    clashing = caa("dataset", "push", "dataset:team/first", "hf:team/first", "--licence", "GPL-3.0")
    assert clashing.code == 2 and "the licence of team/first:v2 is MIT, not GPL-3.0" in clashing.err


def test_a_wrong_behavior(day: Path) -> None:
    done("describe", "dataset:team/first:v2", "--behavior", "warmth")
    assert [each["reference"] for each in done("--json", "vector", "ls", "--behavior", "warmth").json] == [
        "team/first:v1"
    ]
    done("describe", "dataset:team/first:v2", "--behavior", "kindness")
    assert done("--json", "vector", "ls", "--behavior", "warmth").json == []


def test_a_wrong_description(day: Path) -> None:
    done("describe", "vector:team/first", "--text", "Makes it unkind.")
    done("describe", "vector:team/first", "--text", "Makes it kind.")
    assert done("--json", "search", "makes kind").json[0]["text"] == "Makes it kind."
    done("describe", "vector:team/first", "--text", "")
    assert done("--json", "search", "makes").json == []


def test_a_wrong_name(day: Path) -> None:
    done("rename", "dataset:team/first", "team/frist")
    lost = caa("dataset", "show", "dataset:team/first")
    assert lost.code == 1 and lost.err.splitlines() == [
        "Error: there is no dataset team/first any more: it was renamed",
        "Write dataset:team/frist.",
    ]
    done("rename", "dataset:team/frist", "team/first")
    assert dataset()["reference"] == "team/first:v2"
    assert "rename" in done("log", "dataset:team/first").out


def test_a_wrong_split(day: Path) -> None:
    assert dataset()["splits"] == {"generate": 4, "test": 4}
    stuck = caa("delete", "dataset:team/first:v2")
    assert stuck.code == 2 and "caa delete vector:team/first:v1" in stuck.err
    done("delete", "vector:team/first:v1")
    done("delete", "dataset:team/first:v2")
    done("dataset", "split", "dataset:team/first:v1", "--test", "0.25")
    assert dataset()["splits"] == {"generate": 6, "test": 2}


def test_a_wrong_split_of_an_import(day: Path) -> None:
    done("dataset", "import", day, "--name", "team/second", "--split", "test")
    done("delete", "team/second")
    done("dataset", "import", day, "--name", "team/second", "--split", "generate")
    assert dataset("team/second")["splits"] == {"generate": 8}


def test_a_wrong_alias(day: Path) -> None:
    done("alias", "set", "dataset:team/first:v1", "gold")
    done("alias", "set", "dataset:team/first:v2", "gold")
    moves = done("--json", "alias", "log", "dataset:team/first:gold").json
    assert [(move["by"], move["from"], move["to"]) for move in moves] == [("ada", "v1", "v2"), ("ada", None, "v1")]
    done("alias", "set", f"dataset:team/first:{moves[0]['from']}", "gold", "--expect", "v2")
    assert dataset("dataset:team/first:gold")["version"] == 1
    done("alias", "rm", "dataset:team/first:gold")
    removed = done("--json", "alias", "log", "dataset:team/first:gold").json[0]
    assert (removed["from"], removed["to"]) == ("v1", None)
    done("alias", "set", "dataset:team/first:v1", "gold", "--protect")
    assert caa("alias", "rm", "dataset:team/first:gold").code == 2
    assert caa("alias", "set", "dataset:team/first:v2", "gold", "--expect", "v1").code == 2
    done("alias", "rm", "dataset:team/first:gold", "--override")


def test_a_wrong_tag(day: Path) -> None:
    done("tag", "set", "dataset:team/first", "status=revewed", "owner=ada")
    done("tag", "set", "dataset:team/first", "status=reviewed")
    done("tag", "rm", "dataset:team/first", "owner")
    assert dataset()["tags"] == {"status": "reviewed"}


def test_a_wrong_deletion(day: Path) -> None:
    done("delete", "vector:team/first:v1", "--why", "a slip")
    assert caa("vector", "show", "vector:team/first").code == 1
    done("undelete", "vector:team/first:v1")
    done("vector", "verify", "vector:team/first")


def test_a_recall_by_error(day: Path) -> None:
    done("dataset", "recall", "dataset:team/first:v2", "--why", "a slip")
    assert done("--json", "vector", "show", "vector:team/first").json["quarantined"]
    done("dataset", "recall", "dataset:team/first:v2", "--lift")
    assert not done("--json", "vector", "show", "vector:team/first").json["quarantined"]
    for mark in ("deprecate", "quarantine"):
        done(mark, "vector:team/first:v1", "--why", "a slip")
        done(mark, "vector:team/first:v1", "--lift")
    shown = done("--json", "vector", "show", "vector:team/first").json
    assert not shown["quarantined"] and not shown["deprecated"]
