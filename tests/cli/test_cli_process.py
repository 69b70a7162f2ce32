"""What only a process of its own shows: exit codes, a closed pipe, imports, encodings, the terminal."""

from __future__ import annotations

import os
import pty
import shutil
import signal
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


def shell(line: str) -> tuple[str, str, int]:
    """What a line of shell prints on stdout and stderr, and the exit code of its first command."""
    script = f"{line}\nexit ${{PIPESTATUS[0]}}"
    # Without a buffer Python takes a write that the closed pipe cut short for a whole one.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, check=False)
    return done.stdout, done.stderr, done.returncode


@pytest.mark.parametrize(
    "command",
    ["dataset ls", "dataset show team/s", "dataset ls --json", "eval show 1", "lineage vector:team/s", "--help",
     "dataset --help"],
)  # fmt: skip
def test_a_reader_that_goes_away_is_no_fault(full: Path, command: str) -> None:
    caa = f"{' '.join(CAA)} {command}"
    out, err, code = shell(f"{caa} 2>/dev/null | head -c 1")
    assert (len(out), err, code) == (1, "", 0)
    # The reader is gone before the first byte: a pipe of its own is closed on that side before caa starts.
    gone = "import os, sys; r, w = os.pipe(); os.close(r); os.dup2(w, 1); os.execv(sys.executable, sys.argv[1:])"
    assert shell(f'{sys.executable} -c "{gone}" {caa} 2>/dev/null') == ("", "", 0)
    # The same where both go into it.
    assert shell(f'{sys.executable} -c "{gone.replace("os.execv", "os.dup2(w, 2); os.execv")}" {caa}') == ("", "", 0)


def test_much_output_and_no_reader(full: Path, tmp_path: Path) -> None:
    long = jsonl(tmp_path / "long.jsonl", [{**row, "prompt": f"{row['prompt']} {'x' * 3000}"} for row in letters(60)])
    assert process("dataset", "import", long, "--name", "team/long").code == 0
    command = f"{' '.join(CAA)} dataset show team/long --limit 60 --json"
    whole, err, code = shell(command)
    assert len(whole) > 65536 and (err, code) == ("", 0)
    out, err, code = shell(f"{command} | head -2")
    assert (out, err, code) == ("".join(whole.splitlines(keepends=True)[:2]), "", 0)


@pytest.mark.parametrize("command", ["dataset ls", "dataset ls --json", "--help"])
def test_streams_that_are_closed_before_the_start(full: Path, command: str) -> None:
    for closed in (">&-", ">&- 2>&-", "<&- >&- 2>&-"):
        assert shell(f"{' '.join(CAA)} {command} {closed}") == ("", "", 0)
    assert shell(f"{' '.join(CAA)} vector show team/nothing >&- 2>&-")[2] == 1


def test_a_server_that_hangs_up_is_an_error(full: Path) -> None:
    """Not every broken pipe is a reader that went away."""
    program = """
from caa_registry.cli.main import main
from caa_registry.registry.vectors.vectors import Vectors
def hang_up(self, **options): raise BrokenPipeError(32, "Broken pipe")
Vectors.ls = hang_up
main()
"""
    done = process("vector", "ls", program=program)
    assert done.code == 1 and "Internal error" in done.err and "closed by the other side" in done.err


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
    assert done.json["runs"][0]["actor"] == "grace" and (tmp_path / "own.db").is_file()


@pytest.mark.parametrize("handler, code", [("signal.default_int_handler", -signal.SIGINT), ("signal.SIG_IGN", 0)])
def test_ctrl_c_while_python_closes_down_says_nothing(handler: str, code: int) -> None:
    done = process(
        "--version",
        program=f"""
import os, signal, threading
from caa_registry.cli.main import main
signal.signal(signal.SIGINT, {handler})
threading._register_atexit(os.kill, os.getpid(), signal.SIGINT)  # called before threads are waited for
main()
""",
    )
    assert (done.code, done.err) == (code, "") and done.out.startswith("caa, version")
