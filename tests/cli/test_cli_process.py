"""What only a process of its own shows: exit codes, a closed pipe, imports, encodings, the terminal."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli.command_line import process
from registry.registry_support import jsonl, letters

CAA = [sys.executable, "-m", "caa_registry"]


def test_exit_codes_and_tracebacks(full: Path) -> None:
    done = process("dataset", "ls", "--json")
    assert done.code == 0 and done.err == "" and len(done.json) == 2
    done = process("vector", "show", "team/t")
    assert (done.code, done.out) == (1, "") and done.err.startswith("Error: there is no vector team/t\n")
    done = process("vector", "show", "team/t", "--debug")
    assert done.code == 1 and "Traceback" in done.err and "NotFoundError" in done.err
    done = process("vector", "shew")
    assert done.code == 2 and done.err.startswith("Usage: caa vector")


def test_the_script_and_the_module_are_the_same(full: Path) -> None:
    script = Path(sys.executable).with_name("caa")
    if not script.exists():
        pytest.skip("caa is not installed beside this Python")
    by_script = subprocess.run([script, "dataset", "ls"], capture_output=True, text=True, check=True)
    assert by_script.stdout == process("dataset", "ls").out != ""


@pytest.mark.parametrize("command", ["dataset ls", "dataset show team/s", "dataset ls --json"])
def test_a_reader_that_goes_away_is_no_fault(full: Path, command: str) -> None:
    for reader in ("head -c 1", "true")[: 2 if command == "dataset ls" else 1]:
        shell = f"{' '.join(CAA)} {command} | {reader}"
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
        assert done.stderr == "" and len(done.stdout) == (1 if reader != "true" else 0)


def on_a_terminal(command: list[str], environment: dict[str, str]) -> str:
    """What ``caa`` prints on a terminal of 80 columns."""
    leader, follower = pty.openpty()
    settings = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    settings |= {"TERM": "xterm-256color", "COLUMNS": "80", **environment}
    with subprocess.Popen([*CAA, *command], stdout=follower, stderr=follower, env=settings) as running:
        os.close(follower)
        parts = []
        while True:
            try:
                part = os.read(leader, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            parts.append(part)
        assert running.wait() == 0
    os.close(leader)
    return b"".join(parts).decode()


def test_a_terminal_gets_bold_and_no_color_turns_it_off(full: Path) -> None:
    for command in (["dataset", "ls"], ["dataset", "show", "team/s"]):
        assert "\x1b[1m" in on_a_terminal(command, {})
        plain = on_a_terminal(command, {"NO_COLOR": "1"})
        assert "\x1b" not in plain and "team/s" in plain
        assert max(len(line) for line in plain.splitlines()) <= 80


def test_a_narrow_encoding_is_no_fault(empty: Path, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "p.jsonl", [{"prompt": "你好", "positive": "да", "negative": "нет"}])
    environment = {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    done = process("dataset", "import", source, "--name", "a/b", environment=environment)
    assert done.code == 0 and "\\u4f60" in done.out, done.err
    done = process("dataset", "show", "a/b", "--json", environment=environment)
    assert done.code == 0 and done.json["items"][0]["prompt"] == "你好"


def test_a_path_that_is_no_text_is_refused_in_words(tmp_path: Path) -> None:
    for arguments in ([b"dataset", b"import", b"\xff.jsonl", b"--name", b"a/b"], [b"dataset", b"show", b"\xff"]):
        command = [*map(os.fsencode, CAA), *arguments, b"--registry", os.fsencode(tmp_path / "r.db")]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode in (1, 2) and done.stderr.startswith(b"Error: "), done.stderr
        assert b"Internal" not in done.stderr and b"Traceback" not in done.stderr


def test_a_quick_look_at_a_copied_registry(full: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "copy.db"
    copy.parent.mkdir()
    shutil.copy(full, copy)
    done = process("vector", "show", "team/s:best", "--registry", copy, "--json", cwd=copy.parent)
    assert done.code == 0 and done.json["reference"] == "team/s:v1"


def test_the_settings_file_names_registry_and_actor(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f'registry = "{tmp_path}/own.db"\nactor = "grace"\n')
    environment = {"CAA_HOME": str(tmp_path), "CAA_REGISTRY": "", "CAA_ACTOR": ""}
    source = jsonl(tmp_path / "p.jsonl", letters(1))
    assert process("dataset", "import", source, "--name", "a/b", environment=environment).code == 0
    done = process("lineage", "a/b", "--json", environment=environment)
    assert done.json["run"]["actor"] == "grace" and (tmp_path / "own.db").is_file()
