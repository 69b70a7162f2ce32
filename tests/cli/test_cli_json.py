"""--json prints one document on stdout and nothing else there; without it, tables and messages for people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.command_line import Result, caa
from registry.registry_support import jsonl, letters

SHAPE = {"layer", "rises", "falls", "turns_back", "saturates", "r_squared", "peak", "peak_value"}
SCORE = {"condition", "layer", "multiplier", "metric", "value", "ci_low", "ci_high", "n"}


def commands(folder: Path, model: Path) -> list[list[object]]:
    source = jsonl(folder / "new.jsonl", letters(2))
    short = folder / "short.txt"
    short.write_text("It is a day.\n\nAnd so it is.", encoding="utf-8")
    return [
        ["init"],
        ["db", "upgrade"],
        ["dataset", "import", source, "--name", "team/new"],
        ["dataset", "import", source, "--name", "team/new"],
        ["dataset", "seeds"],
        ["dataset", "ls"],
        ["dataset", "show", "team/s"],
        ["dataset", "show", "team/questions", "--split", "test", "--limit", "0"],
        ["model", "add", model],
        ["model", "ls"],
        ["model", "show", model.name],
        ["model", "verify", model.name],
        ["vector", "compute", "team/new", "--dataset", "team/new", "--model", model, "--layers", "0-1"],
        ["vector", "compute", "team/new", "--dataset", "team/new", "--model", model, "--layers", "0-1", "--force"],
        ["vector", "ls"],
        ["vector", "ls", "--behavior", "s", "--sort", "steerability"],
        ["vector", "show", "team/s:best"],
        ["eval", "propensity", "team/s:best", "--layers", "0", "--rows", "odd", "--paper"],
        ["eval", "ls"],
        ["eval", "ls", "--vector", "team/s"],
        ["eval", "show", "1"],
        ["eval", "leaderboard", "--metric", "effect"],
        [
            "eval",
            "plan",
            "team/p",
            "--vector",
            "team/s",
            "--layers",
            "1",
            "--draws",
            "19",
            "--conditions",
            "leaks,null",
        ],
        ["eval", "plans"],
        ["eval", "plans", "team/p"],
        ["eval", "side-effects", "team/s", "--text", short, "--layers", "1"],
        ["eval", "open-ended", "team/s", "--dataset", "team/questions", "--layer", "1", "--max-tokens", "3"],
        ["eval", "rubrics"],
        ["eval", "rubrics", "refusal"],
        ["eval", "plot", "1", "--out", folder / "pictures", "--format", "svg", "--force"],
        ["eval", "report", "team/s", "--out", folder / "report", "--force"],
        ["vector", "plot", "team/s", "--pairs", "--out", folder / "pictures", "--force"],
        ["vector", "tokens", "team/s", "Is it?", "--layer", "1"],
        [
            "vector",
            "tokens",
            "team/s",
            "Is it?",
            "--completion",
            "(A)",
            "--layer",
            "1",
            "--html",
            folder / "page.html",
            "--force",
        ],
        ["eval", "compare", "1", "1", "--layer", "1"],
        ["generate", "--vector", "team/s:best", "--max-tokens", "2", "Is it?"],
        ["generate", "--vector", "team/s:best", "--max-tokens", "2", "--multipliers", "-1,0,1", "Is it?"],
        ["generate", "--model", model, "--max-tokens", "2", "Is it?"],
        ["next-token", "--vector", "team/s:best", "--top", "2", "--multipliers", "-1,1", "Is it?"],
        ["next-token", "--vector", "team/s:best", "--layer", "all", "--multipliers", "-1,0", "Is it?"],
        ["next-token", "--model", model, "--top", "1000000", "Is it?"],
        ["alias", "set", "vector:team/s", "tried", "--layer", "0,2"],
        ["alias", "set", "dataset:team/s", "stable"],
        ["alias", "ls"],
        ["alias", "rm", "team/s:tried"],
        ["lineage", "vector:team/s"],
        ["lineage", "dataset:team/s"],
    ]


def one_document(result: Result, command: list[object]) -> object:
    assert result.code == 0, (command, result.err)
    document: object = json.loads(result.out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert result.out.endswith("\n") and result.err == "", (command, result.err)
    return document


def test_every_command_prints_one_document_wherever_the_flag_stands(
    full: Path, tmp_path: Path, tiny_folder: Path
) -> None:
    for command in commands(tmp_path, tiny_folder):
        if command[:2] != ["alias", "rm"]:
            first = one_document(caa("--json", *command), command)
            second = one_document(caa(*command[:-1], *command[-1:], "--json"), command)
            assert type(first) is type(second)
        else:
            one_document(caa(*command, "--json"), command)


def test_the_listings_carry_what_was_promised(full: Path) -> None:
    (questions, pairs) = caa("dataset", "ls", "--json").json
    assert {"name", "version", "digest", "pairs"} <= set(pairs)
    assert (pairs["name"], pairs["version"], pairs["pairs"]) == ("team/s", 1, 8) and questions["kind"] == "questions"
    (vector,) = caa("vector", "ls", "--json").json
    assert {"name", "version", "digest", "dataset", "model", "layers"} <= set(vector)
    assert vector["layers"] == [0, 1, 2] and vector["aliases"] == ["best"]
    (evaluation,) = caa("eval", "ls", "--json").json
    assert all(set(score) == SCORE for score in evaluation["scores"])
    assert {score["condition"] for score in evaluation["scores"]} == {"vector"}
    (shown,) = [caa("eval", "show", "1", "--json").json]
    assert {score["condition"] for score in shown["scores"]} == {"vector", "covariance"}
    assert {"kl", "norm_ratio", "answers_first"} <= {score["metric"] for score in shown["scores"]}
    assert all(set(shape) == SHAPE for shape in shown["shapes"]) and "shapes" not in evaluation
    assert [shape["layer"] for shape in shown["shapes"]] == sorted({score["layer"] for score in shown["scores"]})
    (alias,) = caa("alias", "ls", "--json").json
    assert alias["recommendation"] == {"layers": [1], "multiplier": 2.0, "positions": "after_prompt"}
    assert caa("dataset", "show", "team/s", "--json").json["items"][0]["prompt"] == letters(1)[0]["prompt"]


def test_people_get_tables_and_messages_apart(full: Path, tmp_path: Path, tiny_folder: Path) -> None:
    for command in commands(tmp_path, tiny_folder):
        result = caa(*command)
        assert result.code == 0, (command, result.err)
        assert "\x1b" not in result.out + result.err and "Traceback" not in result.err
        assert "None" not in result.out, command
        assert result.out or result.err


@pytest.mark.parametrize(
    "command", [["dataset", "ls"], ["vector", "ls"], ["eval", "ls"], ["model", "ls"], ["alias", "ls"]]
)
def test_empty_lists_say_what_to_do(empty: Path, command: list[str]) -> None:
    result = caa(*command)
    assert (result.code, result.out) == (0, "") and "caa " in result.err
    assert caa(*command, "--json").json == []


def test_lists_fit_eighty_columns(full: Path) -> None:
    for command in (
        ["dataset", "ls"],
        ["vector", "ls"],
        ["eval", "ls"],
        ["model", "ls"],
        ["alias", "ls"],
        ["eval", "show", "1"],
        ["vector", "ls", "--sort", "effect"],
        ["eval", "leaderboard"],
        ["eval", "compare", "1", "1"],
    ):
        out = caa(*command).out
        assert out.count("\n") >= 2 and max(len(line.rstrip()) for line in out.splitlines()) <= 100, out


def test_texts_of_any_script_are_shown_and_control_characters_are_not_sent(empty: Path, tmp_path: Path) -> None:
    row = {"prompt": "你好 «ünï» 🙂 \x1b[2J\x07bell", "positive": "да\nline", "negative": "нет\x9b1m"}
    source = jsonl(tmp_path / "p.jsonl", [row])
    out = caa("dataset", "import", source, "--name", "a/b", "--message", "note \x1b[31m").out
    assert "你好 «ünï» 🙂" in out and "да\n           line" in out
    shown = caa("dataset", "show", "a/b").out
    for text in (out, shown):
        assert not set(text) & {"\x1b", "\x07", "\x9b"} and "\\x1b[2J\\x07bell" in text
    assert caa("dataset", "show", "a/b", "--json").json["items"][0]["prompt"] == row["prompt"]


def test_generate_says_which_version_it_applied(full: Path) -> None:
    result = caa("generate", "--vector", "team/s:best", "--max-tokens", "2", "Is it?")
    assert result.err == "Applying team/s:v1 at layer 1 (times 2), positions after_prompt.\n"
    result = caa("next-token", "--vector", "team/s:best", "--top", "2", "--multipliers", "-1,1", "Is it?")
    assert result.err == "Applying team/s:v1 at layer 1, positions after_prompt.\n"
    header = result.out.splitlines()[0].split()
    assert header == ["#", "unsteered", "-1", "+1"] and len(result.out.splitlines()) == 3
    document = caa("generate", "--vector", "team/s:best", "--max-tokens", "2", "Is it?", "--json").json
    assert document["results"][0]["vectors"] == ["team/s:v1"]
    assert document["results"][0]["additions"] == [{"layer": 1, "multiplier": 2.0}]


def test_next_token_shows_the_unsteered_model_once(full: Path) -> None:
    ask = ["next-token", "--vector", "team/s:best", "--top", "2", "--multipliers", "-1,0,1", "Is it?"]
    assert caa(*ask).out.splitlines()[0].split() == ["#", "unsteered", "-1", "+1"]
    results = caa(*ask, "--json").json["results"]
    assert [[a["multiplier"] for a in result["additions"]] for result in results] == [[], [-1], [0], [1]]


def test_next_token_shows_every_layer_at_every_multiplier(full: Path) -> None:
    ask = ["next-token", "--vector", "team/s:best", "--layer", "all", "--multipliers", "-1,0,1", "Is it?"]
    document = caa(*ask, "--json").json
    shown = [[(a["layer"], a["multiplier"]) for a in result["additions"]] for result in document["results"]]
    assert shown == [[], *([(layer, m)] for layer in range(3) for m in (-1, 0, 1))]
    assert all(len(result["tokens"]) == 1 for result in document["results"])
    table = caa(*ask)
    assert table.err == "Applying team/s:v1 at each layer by itself, positions after_prompt.\n"
    header, *lines = table.out.splitlines()
    assert header.split() == ["layer", "unsteered", "-1", "+1"] and len(lines) == 3
    (token,) = document["results"][-1]["tokens"]
    assert lines[-1].endswith(f"{token['probability']:.3f} {token['logit']:.2f} {token['text']!r}")


def test_next_token_shows_tokens_by_name(full: Path) -> None:
    ask = ["next-token", "--vector", "team/s:best", "--token", "No", "--token", "I", "Is it?"]
    results = caa(*ask, "--json").json["results"]
    assert [[token["text"] for token in result["tokens"]] for result in results] == [["No", "I"]] * 2
    assert [line.split()[0] for line in caa(*ask).out.splitlines()] == ["token", "'No'", "'I'"]
    header, *lines = caa(*ask, "--layer", "all").out.splitlines()
    assert header.split() == ["layer", "token", "unsteered", "+2"]
    assert [line.split()[:2] for line in lines] == [
        [str(layer), token] for layer in range(3) for token in ("'No'", "'I'")
    ]


def test_a_warning_is_printed_once(full: Path) -> None:
    version = caa("dataset", "show", "team/s", "--json").json["reference"]
    assert caa("dataset", "recall", version, "--why", "labels").code == 0
    result = caa("generate", "--vector", "team/s:best", "--multipliers", "-1,0,1", "--max-tokens", "2", "Is it?")
    assert result.code == 0 and result.err.count("labels") == 1, result.err
    # In the next command it is printed again.
    again = caa("generate", "--vector", "team/s:best", "--max-tokens", "2", "Is it?")
    assert again.err.count("labels") == 1, again.err


def test_no_cache_generates_the_same_text(full: Path) -> None:
    ask = ["generate", "--vector", "team/s:best", "--max-tokens", "4", "Is it?", "--json"]
    assert caa(*ask).json["results"][0]["text"] == caa(*ask, "--no-cache").json["results"][0]["text"]


def test_a_check_that_does_not_hold_exits_with_one(
    full: Path, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path
) -> None:
    from caa_registry.registry.models import Models

    parts = {"weights": False, "config": True, "tokenizer": True, "chat_template": True}
    monkeypatch.setattr(Models, "verify", lambda self, name: parts)
    result = caa("model", "verify", tiny_folder.name)
    assert result.code == 1 and "DIFFERS" in result.out
    assert caa("model", "verify", tiny_folder.name, "--json").json == {
        "name": tiny_folder.name,
        "parts": parts,
        "ok": False,
    }


def test_a_column_may_be_said_to_be_missing(empty: Path, tmp_path: Path) -> None:
    rows = [{"good": "I agree.", "bad": "I do not.", "note": "x"}]
    source = jsonl(tmp_path / "p.jsonl", rows)
    columns = ["--column", "positive=good", "--column", "negative=bad"]
    result = caa("dataset", "import", source, "--name", "a/b", *columns)
    assert result.code == 1 and "--column prompt=" in result.err
    assert caa("dataset", "import", source, "--name", "a/b", *columns, "--column", "prompt=").code == 0
    result = caa("dataset", "import", source, "--name", "a/c", *columns, "--column", "positive=note")
    assert result.code == 2 and "a field is given twice" in result.err


def test_a_leaderboard_says_who_is_not_ranked_and_why(full: Path) -> None:
    (vector,) = caa("eval", "leaderboard", "--json").json
    standing = vector["ranking"]
    assert set(standing) == {"dose", "sides", "rank", "p_holm", "verdict", "reason", "measure"}
    assert (standing["rank"], standing["verdict"]) == (None, "not calibrated")
    assert vector["evidence"]["metric"] == "steerability" and standing["reason"]
    shown = caa("eval", "leaderboard")
    assert "not ranked:" in shown.out and standing["reason"] in shown.out
    assert not standing["measure"] or f"To rank it: {standing['measure']}" in shown.err
    assert caa("eval", "leaderboard", "--dose", "0.3").code == 2
