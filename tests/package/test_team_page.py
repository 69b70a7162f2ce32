"""docs/team.md is true: each of its people runs every command of theirs, in the order of the page, on a server."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.s3_server import S3Server, s3

if TYPE_CHECKING:
    from support.team_server import TeamServer

__all__ = ["s3"]

pytestmark = pytest.mark.long

PAGE = Path(__file__).resolve().parents[2] / "docs" / "team.md"
BLOCK = re.compile(r"^```(console|sql|text) (\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PEOPLE = ("ada", "bob", "cleo")


def test_every_block_says_whose_it_is() -> None:
    fences = re.findall(r"^```(.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(BLOCK.findall(PAGE.read_text(encoding="utf-8"))) == len(fences) > 15


def test_the_page_runs(team: TeamServer, tmp_path: Path, s3: S3Server) -> None:
    s3.new_bucket("caa-team")
    server = f"127.0.0.1:{team.port}"
    text = PAGE.read_text(encoding="utf-8").replace("db.example.org:5432", server).replace("db.example.org", server)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "caa").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m caa_registry "$@"\n')
    (programs / "caa").chmod(0o755)
    for person in PEOPLE:
        (tmp_path / person / ".caa").mkdir(parents=True)
    known = {name: value for name, value in os.environ.items() if not name.startswith(("CAA_", "PG"))}
    known["PATH"] = os.pathsep.join([str(programs), str(team.binaries), os.environ["PATH"]])
    for kind, whose, file, lines in BLOCK.findall(text):
        home = tmp_path / whose
        if kind == "sql":
            assert whose == "administrator"
            team.administer(*[line for line in lines.splitlines() if line])
        elif kind == "text":
            path = Path(file.replace("~", str(home)))
            path.write_text(lines, encoding="utf-8")
            path.chmod(0o600)
        else:
            for command in re.findall(r"^\$ (.*\n(?:(?!\$ ).*\n)*)", lines, re.MULTILINE):
                line, shown = command.split("\n", 1)
                done = subprocess.run(
                    ["sh", "-c", line],
                    cwd=home,
                    env={**known, "HOME": str(home)},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert (done.returncode != 0) == ("Error: " in shown), f"{whose}: {line}\n{done.stdout}{done.stderr}"
                printed = (done.stdout + done.stderr).splitlines()
                assert [said for said in shown.splitlines() if said not in printed] == [], f"{line}\n{printed}"
                assert "password for" not in done.stdout + done.stderr
