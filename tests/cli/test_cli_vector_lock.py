"""``caa vector lock`` and ``caa vector compute --lock``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from catalog.registry_fixtures import new_sqlite
from cli.command_line import caa


@pytest.fixture
def lock(full: Path, tmp_path: Path) -> Path:
    """The lock of ``team/s`` in a file."""
    path = tmp_path / "s.json"
    assert caa("vector", "lock", "team/s:best", "--out", path).code == 0
    return path


def test_a_lock_is_written_once(full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = caa("vector", "lock", "team/s")
    assert written.code == 0 and "to team-s.caa-lock.json, with 8 pairs of team/s:v1" in " ".join(written.err.split())
    path = tmp_path / "team-s.caa-lock.json"
    text = path.read_text(encoding="ascii")
    refused = caa("vector", "lock", "team/s")
    assert refused.code == 2 and "exists" in refused.err and path.read_text(encoding="ascii") == text
    again = caa("vector", "lock", "team/s", "--force", "--json").json
    assert again["out"] == "team-s.caa-lock.json" and again["lock"] == json.loads(text)["digest"]
    assert caa("vector", "lock", "team/s", "--out", "-").out == text
    assert caa("vector", "lock", "team/none").code == 1


def test_a_lock_is_followed_in_an_empty_registry(lock: Path, tmp_path: Path, tiny_folder: Path) -> None:
    digest = caa("vector", "show", "team/s", "--json").json["digest"]
    (tmp_path / "empty").mkdir()
    there = ("--registry", new_sqlite(tmp_path / "empty"))
    followed = caa("vector", "compute", "--lock", lock, "--model", tiny_folder, *there)
    assert followed.code == 0 and "the same bits" in followed.out
    said = " ".join(followed.err.split())
    assert "team/s:v1 is stored: it comes out to the same bits" in said and "the version digest of the lock" in said
    assert caa("vector", "show", "team/s", "--json", *there).json["digest"] == digest
    again = caa("vector", "compute", "team/again", "--lock", lock, "--force", "--json", *there).json
    assert again["verdict"] == "same bits" and again["stored"]["digest"] == again["digest"] == digest
    assert again["stored"]["reference"] == "team/again:v1" and again["stored_dataset"] == "team/s:v1"


def test_options_that_the_lock_answers_are_refused(lock: Path) -> None:
    for option, value in (
        ("--layers", "1"),
        ("--dataset", "team/s"),
        ("--method", "mean-difference"),
        ("--read", "last"),
    ):
        refused = caa("vector", "compute", "--lock", lock, option, value)
        assert refused.code == 2 and f"the lock says what {option} would" in refused.err


def test_without_a_lock_name_dataset_and_model_are_needed(full: Path) -> None:
    refused = caa("vector", "compute", "team/new")
    assert refused.code == 2 and "--dataset and --model are missing" in refused.err and "--lock FILE" in refused.err
    assert "NAME is missing" in caa("vector", "compute", "--dataset", "team/s", "--model", "demo").err


def test_what_does_not_come_out_is_not_stored(lock: Path, tmp_path: Path, other_folder: Path) -> None:
    before = caa("vector", "ls", "--json", "--versions").json
    refused = caa("vector", "compute", "team/new", "--lock", lock, "--model", other_folder)
    assert refused.code == 1 and "is not the model of the lock" in refused.err and "the weights" in refused.err
    lock.write_text(lock.read_text(encoding="ascii").replace('"licence":""', '"licence":"MIT"'), encoding="ascii")
    edited = caa("vector", "compute", "team/new", "--lock", lock)
    assert edited.code == 1 and "field 'digest'" in edited.err and "Traceback" not in edited.err
    lock.write_text("{", encoding="ascii")
    assert caa("vector", "compute", "team/new", "--lock", lock).code == 1
    assert caa("vector", "compute", "team/new", "--lock", tmp_path / "none").code == 1
    assert caa("vector", "ls", "--json", "--versions").json == before
