"""What somebody else wrote does not steer the terminal: errors, arguments, tables, JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from cli.command_line import caa
from registry.registry_support import jsonl

from caa_registry.cli import output
from caa_registry.errors import CaaError, UsageError, visible
from caa_registry.evaluation.open_ended.endpoint_key import judge_key
from caa_registry.evaluation.token_projection import TokenProjection, as_html, as_text

OSC = "\x1b]52;c;ZWNobyBoaQ==\x07"
HOSTILE = f"x{OSC}\x1b[2J\x9b31m\u202e\u2066\u200f\u061c\u2028\x7f\x00y"
FORBIDDEN = {*map(chr, range(32)), *map(chr, range(127, 160)), *"\u061c\u200e\u200f\u2028\u2029"} - {"\n", "\t"}
FORBIDDEN |= {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def clean(text: str) -> bool:
    return not FORBIDDEN & set(text)


def test_what_is_written_out_can_be_seen() -> None:
    assert visible(HOSTILE) == (r"x\x1b]52;c;ZWNobyBoaQ==\x07\x1b[2J\x9b31m\u202e\u2066\u200f\u061c\u2028\x7f\x00y")
    assert all(visible(c) != c for c in FORBIDDEN)
    plain = "Ünï 🙂 \u200d नमस्ते שלום مرحبا\tand\nmore"
    assert visible(plain) == plain


@pytest.mark.parametrize(
    "command",
    [
        [f"no{OSC}such"],
        ["dataset", f"sh{HOSTILE.replace(chr(0), '')}ow"],
        ["dataset", "show", f"--no{OSC}"],
        ["dataset", "show", f"team/{OSC}"],
        ["dataset", "show", "team/x", "--limit", f"1{OSC}"],
        ["dataset", "import", f"/nowhere/{OSC}.jsonl", "--name", "a/b"],
        ["dataset", "filter", "team/x", f"'{OSC}\u202e' +", "--name", "a/b"],
        ["eval", "rubrics", f"r{OSC}"],
        ["eval", "rate", "1", "--judge-url", f"http://{OSC}/v1", "--judge-model", "m"],
    ],
)
def test_errors_repeat_arguments_without_their_controls(command: list[str], empty: Path) -> None:
    done = caa(*command)
    assert done.code in (1, 2) and clean(done.out) and clean(done.err)
    assert "Internal error" not in done.err


def test_what_is_stored_is_shown_without_its_controls(empty: Path, tmp_path: Path) -> None:
    text = HOSTILE.replace("\0", "")
    rows = [{"prompt": f"Is it {i} {text}?", "positive": f"yes {text}", "negative": "no"} for i in range(3)]
    data = jsonl(tmp_path / "hostile.jsonl", rows)
    assert caa("dataset", "import", data, "--name", "team/x", "--behavior", "b").code == 0
    assert caa("dataset", "filter", "team/x", "matches('0', prompt)", "--name", "team/y", "--message", text).code == 0
    for command in (
        ["dataset", "show", "team/x"],
        ["dataset", "lint", "team/x"],
        ["dataset", "diff", "team/x", "team/y"],
        ["dataset", "log", "team/y"],
        ["dataset", "ls"],
        ["lineage", "team/y"],
    ):
        done = caa(*command)
        assert clean(done.out) and clean(done.err), command
        done = caa(*command, "--json")
        assert clean(done.out) and clean(done.err), command
    shown = caa("dataset", "show", "team/x", "--json")
    assert json.dumps(text)[1:-1] in json.dumps(shown.json)


def test_documents_are_as_they_are_in_a_pipe_and_visible_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output.document(f"{OSC}\n")
    assert capsys.readouterr().out == f"{OSC}\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    output.document(f"{OSC}\n")
    assert capsys.readouterr().out == f"{visible(OSC)}\n"


def test_pages_and_texts_of_tokens_hold_no_markup_of_others() -> None:
    hostile = f"<script>alert(1)</script>{HOSTILE}\"'&"
    tokens = [TokenProjection(hostile, 1.0, 0.5)]
    page = as_html(tokens, title=hostile, caption=hostile)
    assert "<script" not in page and page.count("&lt;script&gt;") == 4 and clean(page)
    assert clean(as_text(tokens).plain)


def test_tracebacks_are_printed_without_controls(
    empty: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    with pytest.raises(CaaError):
        caa("dataset", "show", "team/x", "--debug")
    error = ValueError(HOSTILE)
    sys.excepthook(type(error), error, None)
    shown = capsys.readouterr().err
    assert "ValueError" in shown and clean(shown)


@pytest.mark.parametrize(
    "command",
    [
        ["model", "add", "https://u:SECRET@h/x"],
        ["model", "add", "hf:SECRET@h/x"],
        ["dataset", "import", "https:/u:SECRET@h/x", "--name", "a/b"],
        ["dataset", "import", "https:/h/x?token=SECRET", "--name", "a/b"],
        ["dataset", "import", "https://u:SECRET@h/x", "--name", "a/b"],
        ["dataset", "import", "hf:SECRET@h/x", "--name", "a/b"],
        ["dataset", "ls", "--registry", "postgresql://u%3ASECRET@127.0.0.1:1/d"],
        ["dataset", "ls", "--registry", "postgresql://127.0.0.1:1/d?application_name=SECRET"],
    ],
)
def test_what_may_be_a_secret_in_an_address_is_not_repeated(command: list[str], empty: Path) -> None:
    done = caa(*command)
    assert done.code in (1, 2) and "SECRET" not in done.out + done.err
    assert done.err.startswith("Error: ")


@pytest.mark.parametrize("url", ["https://h/v1?api-key=SECRET", "https://h/v1#SECRET"])
def test_a_judges_address_that_cannot_be_used_is_not_repeated(url: str) -> None:
    with pytest.raises(UsageError, match="not the base URL of a judge") as caught:
        judge_key(url)
    assert "SECRET" not in str(caught.value)


def test_paths_with_marks_of_addresses_are_shown_as_they_are(empty: Path) -> None:
    assert "there is no file a/b@c?d#e.jsonl" in caa("dataset", "import", "a/b@c?d#e.jsonl", "--name", "a/b").err


def test_names_in_errors_are_short_and_in_one_line(empty: Path, tmp_path: Path) -> None:
    key = "k\nError: all is well\n" + "x" * 3_000_000
    path = tmp_path / "a\nError: all is well.jsonl"
    path.write_text(json.dumps({"prompt": "?", "positive": "yes"})[:-1] + f", {json.dumps(key)}: 1" * 2 + "}\n")
    done = caa("dataset", "import", path, "--name", "a/b")
    assert done.code == 1 and len(done.err) < 2000
    assert [line for line in done.err.splitlines() if line.startswith("Error")] == done.err.splitlines()[:1]
    path.write_text(json.dumps({key: "?", "positive": "yes"}) + "\n")
    done = caa("dataset", "import", path, "--name", "a/b")
    assert done.code == 1 and len(done.err) < 2000 and "\nError" not in done.err


def test_a_message_of_any_length_is_cut_in_its_middle() -> None:
    message = CaaError("begins " + "x" * 1_000_000 + " ends").message
    assert len(message) < 11_000 and message.startswith("begins ") and message.endswith(" ends")
