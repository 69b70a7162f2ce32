"""Bad input: one clear message that names it, exit code 1 or 2, no traceback, and a registry that is as it was."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from cli.command_line import Result, caa
from registry.registry_support import dump, jsonl, letters


def refused(result: Result, code: int, *said: str) -> None:
    assert result.code == code, (result.out, result.err)
    assert result.out == ""
    assert result.err.count("Error: ") == 1 and "Traceback" not in result.err and "Internal" not in result.err
    for text in said:
        assert text in result.err, result.err


@pytest.fixture
def unchanged(full: Path, tmp_path: Path) -> Callable[..., None]:
    """Runs a command that has to be refused; afterwards the registry and its folder are as before."""

    def check(arguments: list[object], code: int, *said: str) -> None:
        url = f"sqlite:///{full}"
        before, files = dump(url), {path for path in tmp_path.rglob("*") if not path.name.endswith(("-wal", "-shm"))}
        refused(caa(*arguments), code, *said)
        assert dump(url) == before
        assert {path for path in tmp_path.rglob("*") if not path.name.endswith(("-wal", "-shm"))} == files

    return check


GOOD = letters(1)[0]
FILES: dict[str, tuple[bytes, int, tuple[str, ...]]] = {
    "empty.jsonl": (b"", 1, ("empty.jsonl: the file is empty",)),
    "blank.jsonl": (b"\n \n", 1, ("blank.jsonl: the file is empty",)),
    "latin.jsonl": ('{"prompt": "é"}'.encode("latin-1"), 1, ("latin.jsonl: not UTF-8: byte 0xe9", "line 1")),
    "fields.jsonl": (b'{"ask": "x", "yes": "(A)", "no": "(B)"}', 1, ("fields.jsonl, row 1", "ask, yes, no", "--col")),
    "answer.jsonl": (b'{"prompt":"a","positive":"x","negative":"y"}\n{"prompt":"b","positive":"x"}', 1,
                     ("answer.jsonl, row 2, field 'negative'", "nothing was imported")),
    "nothing.jsonl": (b'{"prompt":"a","positive":"x","negative":" "}', 1, ("row 1: the negative completion is empty",)),
    "equal.jsonl": (b'{"prompt":"a","positive":"x","negative":"x "}', 1, ("row 1: both sides say 'x'",)),
    "kind.jsonl": (b'{"prompt":"a","positive":1,"negative":"x"}', 1, ("row 1, field 'positive': not a string",)),
    "broken.jsonl": (b'{"prompt":"a","positive":"x","negative":"y"}\n{"prompt":', 1, ("broken.jsonl, row 2",)),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_bad_files(unchanged: Callable[..., None], tmp_path: Path, name: str) -> None:
    content, code, said = FILES[name]
    (tmp_path / name).write_bytes(content)
    unchanged(["dataset", "import", tmp_path / name, "--name", "team/new"], code, *said)


def test_bad_sources(unchanged: Callable[..., None], tmp_path: Path) -> None:
    good = jsonl(tmp_path / "good.jsonl", [GOOD])
    unchanged(["dataset", "import", "no.jsonl", "--name", "a/b"], 1, "there is no file no.jsonl")
    unchanged(["dataset", "import", tmp_path, "--name", "a/b"], 2, "is a folder", "good.jsonl")
    unchanged(["dataset", "import", "", "--name", "a/b"], 2, "the source is empty")
    unchanged(["dataset", "import", "seed:sycophant", "--name", "a/b"], 1, "Did you mean seed:sycophancy")
    unchanged(["dataset", "import", "https://x.org/a.csv", "--name", "a/b"], 2, "addresses are not read")
    unchanged(["dataset", "import", "--name", "a/b"], 2, "no source is given")
    unchanged(["dataset", "import", good], 2, "--name")
    unchanged(["dataset", "import", good, "--name", "a/b", "--split", "test", "--split", "dev"], 2, "NAME=SOURCE")
    unchanged(
        ["dataset", "import", good, "--name", "a/b", "--split", f"test={good}"], 2, "both as SOURCE and with --split"
    )
    unchanged(
        ["dataset", "import", "--name", "a/b", "--split", f"t={good}", "--split", f"t={good}"],
        2,
        "split is given twice",
    )
    unchanged(["dataset", "import", good, "--name", "a/b", "--split", "a b"], 2, "cannot name a split")
    unchanged(["dataset", "import", good, "--name", "a/b", "--column", "prompt"], 2, "--column FIELD=COLUMN")
    unchanged(
        ["dataset", "import", good, "--name", "a/b", "--column", "prompt=x"], 1, "there is no column 'x' for prompt"
    )
    unchanged(["dataset", "import", good, "--name", "a/b", "--format", "xml"], 2, "xml")
    unchanged(["dataset", "import", good, "--name", "team/questions"], 2, "holds questions; this source gives pairs")
    unchanged(["dataset", "import", good, "--name", "a/b", "--message", "\udcff"], 1, "field 'message'")


@pytest.mark.parametrize("name", ["Team/s", "a b", "..", "a/../b", "", "x" * 230, "a//b", "a:v1", "ü"])
def test_names_outside_the_grammar(unchanged: Callable[..., None], tmp_path: Path, name: str) -> None:
    good = jsonl(tmp_path / "good.jsonl", [GOOD])
    unchanged(["dataset", "import", good, "--name", name], 2, "is not a name", "team/sycophancy")
    unchanged(["vector", "compute", name, "--dataset", "team/s", "--model", "demo"], 2, "is not a name")


def test_bad_references(unchanged: Callable[..., None]) -> None:
    unchanged(["dataset", "show", "team/t"], 1, "there is no dataset team/t", "Did you mean team/s")
    unchanged(["dataset", "show", "team/s:v9"], 1, "dataset team/s has no version v9", "It has v1.")
    unchanged(["dataset", "show", "team/s", "--split", "dev"], 2, "has no split 'dev'", "generate (4), test (4)")
    unchanged(["vector", "show", "team/t"], 1, "there is no vector team/t")
    unchanged(["vector", "show", "team/questions"], 1, "team/questions is a dataset")
    unchanged(["vector", "show", "team/s:nope"], 1, "vector team/s has no alias 'nope'", "Its aliases: best.")
    unchanged(["vector", "show", "team/s@sha256:xyz"], 2, "is not a digest")
    unchanged(["vector", "show", "dataset:team/s"], 2, "a vector is needed here")
    unchanged(["lineage", "team/s"], 2, "dataset:team/s or vector:team/s")
    unchanged(["lineage", "team/x"], 1, "there is no dataset or vector team/x", "Did you mean")
    unchanged(["alias", "rm", "vector:team/s:nope"], 1, "has no alias 'nope'")
    unchanged(["alias", "rm", "team/s"], 2, "names no alias")
    unchanged(["alias", "set", "team/s", "v2", "--layer", "1"], 2, "'v2' cannot be an alias")
    unchanged(["alias", "set", "team/s", "a b", "--layer", "1"], 2, "'a b' is not an alias")
    unchanged(["alias", "set", "team/s", "good", "--layer", "9"], 2, "has no layer 9", "It has layers 0-2.")
    unchanged(["alias", "set", "vector:team/s", "good", "--multiplier", "2"], 2, "Give --layer too.")
    unchanged(["alias", "set", "dataset:team/s", "good", "--layer", "1"], 2, "is a dataset")
    unchanged(["eval", "show", "99"], 1, "there is no evaluation 99", "caa eval ls")
    unchanged(["eval", "show", "9" * 30], 1, "there is no evaluation")
    unchanged(["eval", "show", "first"], 2, "'first' is not a valid integer")
    unchanged(["eval", "compare", "team/s", "99"], 1, "there is no evaluation 99")
    unchanged(["eval", "compare", "1", "1", "--layer", "0"], 2, "layer 0 was not evaluated", "Layers: 1")
    unchanged(["eval", "compare", "1", "1", "--other-layer", "1"], 2, "no counterpart", "--layer")
    unchanged(["model", "show", "nobody"], 1, "knows no model nobody")
    unchanged(["model", "show", "\udcff"], 1, "knows no model")


COMPUTE = ["vector", "compute", "team/new", "--dataset"]


def test_bad_computations(unchanged: Callable[..., None], tiny_folder: Path, tmp_path: Path) -> None:
    weightless = tmp_path / "weightless"
    weightless.mkdir()
    shutil.copy(tiny_folder / "config.json", weightless)
    (tmp_path / "void").mkdir()
    unchanged([*COMPUTE, "team/s", "--model", weightless], 1, "weightless", "no weights")
    unchanged([*COMPUTE, "team/s", "--model", tmp_path / "void"], 1, "no config.json")
    unchanged([*COMPUTE, "team/s", "--model", tmp_path / "gone"], 1, "there is no model folder", "gone")
    unchanged([*COMPUTE, "team/x", "--model", tiny_folder], 1, "there is no dataset team/x")
    unchanged([*COMPUTE, "team/questions", "--model", tiny_folder], 2, "open-ended questions")
    compute: list[object] = [*COMPUTE, "team/s", "--model", tiny_folder]
    unchanged([*compute, "--split", "dev"], 2, "has no split 'dev'")
    unchanged([*compute, "--layers", "3"], 2, "layer 3 does not exist", "0 to 2")
    unchanged([*compute, "--layers", "0-999999999"], 2, "--layers", "no model has that many layers")
    unchanged([*compute, "--layers", "9" * 5000], 2, "no model has that many layers")
    unchanged([*compute, "--layers", "2-1"], 2, "is an empty range")
    for layers in ("", "-1", "1,", "1..3", "a", "²", "1-2-3", "1.5"):
        unchanged([*compute, "--layers", layers], 2, "is not a list of layers", "write 13, or 0-3,7")
    unchanged([*compute, "--template", "chat"], 2, "has no chat template")
    unchanged([*compute, "--read", "first"], 2, "'first' is not one of")
    unchanged(["model", "add", tiny_folder, "--revision", "main"], 2, "has no revision main")


def test_bad_evaluations(unchanged: Callable[..., None], other_folder: Path) -> None:
    score: list[object] = ["eval", "propensity", "team/s"]
    unchanged(["eval", "propensity", "team/t"], 1, "there is no vector team/t")
    unchanged([*score, "--model", other_folder], 1, "was computed on", "same-architecture", "--allow-mismatch")
    unchanged([*score, "--model", other_folder, "--allow-mismatch", "--layers", "7"], 2, "layer 7 does not exist")
    unchanged([*score, "--dataset", "team/x"], 1, "there is no dataset team/x")
    unchanged([*score, "--split", "dev"], 2, "has no split 'dev'")
    unchanged([*score, "--layers", "8"], 2, "layer 8 does not exist")
    for bad in ("", "x", "1,,2", "1;2", "0x1"):
        unchanged([*score, "--multipliers", bad], 2, "is not a list of numbers", "-1,0,1")
    for bad in ("nan", "1,inf", "-Infinity", "1e999"):
        unchanged([*score, "--multipliers", bad], 2, "--multipliers", "is not a finite number")
    unchanged([*score, "--multipliers", "1e300"], 2, "is not a finite number")


def test_bad_requests_for_text(unchanged: Callable[..., None], other_folder: Path, tiny_folder: Path) -> None:
    for verb in ("generate", "next-token"):
        unchanged([verb, "--vector", "team/s:best", ""], 2, "the prompt is empty")
        unchanged([verb, "--vector", "team/s:best", " \n"], 2, "the prompt is empty")
        unchanged([verb, "--vector", "team/s:best", "why " * 300], 1, "the prompt has", "reads at most 96")
        unchanged([verb, "--model", tiny_folder, "--layer", "1", "x"], 2, "without a vector")
        unchanged([verb, "--model", tiny_folder, "--multiplier", "1", "x"], 2, "without a vector")
        unchanged([verb, "x"], 2, "no model is given")
        unchanged([verb, "--vector", "team/s", "x"], 2, "no layer is given for team/s:v1", "--layer")
        unchanged([verb, "--vector", "team/s:nope", "x"], 1, "no alias 'nope'")
        unchanged([verb, "--vector", "team/s", "--layer", "9", "x"], 2, "has no layer 9")
        unchanged([verb, "--vector", "team/s", "--layer", "-1", "x"], 2, "is not a list of layers")
        unchanged([verb, "--vector", "team/s:best", "--multiplier", "nan", "x"], 2, "nan is not a finite number")
        unchanged([verb, "--vector", "team/s:best", "--multipliers", "1,inf", "x"], 2, "inf is not a finite number")
        both = ["--multiplier", "1", "--multipliers", "1,2"]
        unchanged([verb, "--vector", "team/s:best", *both, "x"], 2, "Give one of the two")
        unchanged(
            [verb, "--vector", "team/s", "--layer", "1", "--layer", "2", "x"],
            2,
            "--layer is given 2 times for 1 vector",
        )
        unchanged([verb, "--vector", "team/s:best", "--model", other_folder, "x"], 1, "same-architecture")
    unchanged(["generate", "--vector", "team/s:best", "--max-tokens", "0", "x"], 2, "--max-tokens")


def test_bad_requests_for_next_tokens(unchanged: Callable[..., None]) -> None:
    ask = ["next-token", "--vector", "team/s:best", "Is it?"]
    unchanged([*ask, "--token", "Yes", "--top", "3"], 2, "--token and --top are given")
    unchanged([*ask, "--token", "Yes No"], 2, "'Yes No' is", "Give a text that is one token")
    unchanged([*ask, "--layer", "all", "--token", ""], 2, "'' is 0 tokens")
    unchanged([*ask, "--layer", "all", "--layer", "1"], 2, "--layer all is for one vector")
    unchanged([*ask, "--layer", "all", "--vector", "team/s"], 2, "--layer all is for one vector")
    unchanged(["next-token", "--model", "demo", "--layer", "all", "Is it?"], 2, "a layer is given without a vector")
    unchanged(["generate", *ask[1:], "--layer", "all"], 2, "'all' is not a list of layers")


def places(folder: Path) -> dict[str, tuple[str, str]]:
    (folder / "notes.txt").write_text("not a database " * 20)
    with closing(sqlite3.connect(folder / "other.db")) as connection, connection:
        connection.execute("CREATE TABLE theirs (id INTEGER)")
    return {
        "a folder": (str(folder), "is a folder"),
        "a text file": (str(folder / "notes.txt"), "it is not a SQLite file"),
        "another program's": (str(folder / "other.db"), "a SQLite file of another program"),
        "missing": (str(folder / "none.db"), "no registry at"),
        "below a file": (str(folder / "notes.txt" / "deep" / "r.db"), "notes.txt"),
        "empty": ("", "--registry is empty"),
        "another database": ("mysql://host/x", "cannot be kept in 'mysql'"),
    }


@pytest.mark.parametrize(
    "place", ["a folder", "a text file", "another program's", "missing", "below a file", "empty", "another database"]
)
def test_places_where_no_registry_is(tmp_path: Path, place: str) -> None:
    where, said = places(tmp_path)[place]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for command in (["dataset", "ls"], ["vector", "ls"], ["init"]):
        if place == "missing" and command == ["init"]:
            continue
        result = caa("--registry", where, *command)
        refused(result, 2 if place == "empty" else 1, said)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_missing_registry_says_how_to_make_one(tmp_path: Path) -> None:
    result = caa("dataset", "ls", "--registry", tmp_path / "none.db")
    assert (
        result.err.splitlines()[-1] == f"Run: caa init --registry {tmp_path / 'none.db'}"
        and not (tmp_path / "none.db").exists()
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_registry_that_cannot_be_written(full: Path) -> None:
    full.chmod(0o400)
    refused(caa("dataset", "ls"), 1, "cannot be written")


def test_a_registry_that_cannot_be_made(tmp_path: Path) -> None:
    result = caa("init", "--registry", "/proc/caa/registry.db")
    refused(result, 1, "/proc/caa")


def test_a_bad_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAA_HOME", str(tmp_path))
    (tmp_path / "config.toml").write_text("registry = [")
    refused(caa("dataset", "ls"), 2, "config.toml", "not a readable settings file")
    (tmp_path / "config.toml").write_text("actor = 3")
    refused(caa("init", "--registry", tmp_path / "r.db"), 2, "actor must be a string")
    assert not (tmp_path / "r.db").exists()


def test_the_first_import_of_a_bad_file_needs_no_registry(tmp_path: Path) -> None:
    """Names and options are checked before a registry is made for them."""
    path = tmp_path / "r.db"
    for arguments in (["x.jsonl", "--name", "a/b", "--split", "a", "--split", "b"], ["--name", "a/b"]):
        refused(caa("dataset", "import", *arguments, "--registry", path), 2)
    refused(caa("generate", "--registry", path, ""), 2, "the prompt is empty")
    assert not path.exists()


def test_debug_shows_the_traceback_and_nothing_else_does(full: Path) -> None:
    assert "Traceback" not in caa("vector", "show", "team/t").err
    from caa_registry.errors import NotFoundError

    for arguments in (["--debug", "vector", "show", "team/t"], ["vector", "show", "team/t", "--debug"]):
        with pytest.raises(NotFoundError):
            caa(*arguments)


def test_a_fault_of_the_program_is_said_as_one(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from caa_registry.registry.vectors.vectors import Vectors

    def fail(self: Vectors, **wanted: object) -> None:
        raise LookupError("a fault")

    monkeypatch.setattr(Vectors, "ls", fail)
    result = caa("vector", "ls")
    assert result.code == 1 and "Internal error: LookupError: a fault" in result.err and "--debug" in result.err

    def interrupt(self: Vectors, **wanted: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Vectors, "ls", interrupt)
    result = caa("vector", "ls")
    assert result.code == 130 and "Interrupted" in result.err
