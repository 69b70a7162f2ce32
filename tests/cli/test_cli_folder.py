"""A shared folder on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.command_line import caa


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_a_folder_is_pushed_to_pulled_from_and_compared_with(full: Path, tmp_path: Path) -> None:
    made = caa("remote", "add", "share", "new/")
    assert (made.code, made.err) == (0, f"share is the folder {tmp_path}/new/.\n") and (tmp_path / "new").is_dir()
    sent = caa("push", "vector:team/s:best", "--to", "share")
    assert sent.code == 0 and sent.err.startswith("vector team/s:v1 is there now, with ")
    again = caa("push", "vector:team/s:best", "--to", "new", "--json")
    assert again.json["remote"] == f"{tmp_path}/new/" and again.json["versions"][0]["new"] is False
    differing = caa("diff", "--remote", "share")
    assert differing.out.splitlines()[1:] == ["dataset  team/questions:v1  -"]
    here = ("--registry", tmp_path / "here.db")
    pulled = caa(*here, "pull", "team/s:best", "--from", "share")
    assert pulled.code == 0 and "vector team/s:v1 is here now, with " in pulled.err
    assert caa(*here, "alias", "ls", "--json").json[0]["alias"] == "team/s:best"
    assert caa(*here, "diff", "--remote", "share").err == "Both hold the same versions.\n"
    assert "is here already" in caa(*here, "pull", "--from", "share").err
    (bundle,) = (tmp_path / "new").iterdir()
    bundle.write_bytes(b"x")
    for arguments in (("pull", "--from", "share"), ("diff", "--remote", "share")):
        noted = caa(*here, *arguments)
        assert noted.code == 0 and f"Note: left out: {bundle}: it is no bundle" in noted.err
    refused = caa(*here, "pull", "team/s", "--from", "share")
    assert refused.code == 1 and refused.err.startswith(f"Error: {bundle}: it is no bundle")
    bundle.unlink()
    bundle.parent.rmdir()
    gone = caa("push", "team/s", "--to", "share")
    assert gone.code == 1 and gone.err.startswith(f"Error: there is no folder {tmp_path}/new\nMount its disk")


def test_every_kind_of_remote_is_listed_with_it(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    said = caa("remote", "add", "file", "vectors").err
    assert said.endswith("SQLite file which is not there yet; a new folder is written with a slash at its end.\n")
    assert caa("remote", "add", "folder", "folder").err == f"folder is the folder {tmp_path}/folder/.\n"
    assert caa("remote", "add", "hub", "hf:team/vectors@v1").err == "hub is hf:team/vectors@v1 on the hub.\n"
    assert caa("remote", "ls").out.splitlines() == [
        "name    kind      where",
        f"file    registry  {tmp_path}/vectors",
        f"folder  folder    {tmp_path}/folder/",
        "hub     hub       hf:team/vectors@v1",
    ]
    assert [each["kind"] for each in caa("remote", "ls", "--json").json] == ["registry", "folder", "hub"]
