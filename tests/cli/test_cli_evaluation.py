"""The commands of open-ended evaluation, side effects and calibration, as a user types them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from cli.command_line import caa
from registry.registry_support import jsonl, letters
from support.judge_server import JudgeServer


def test_answers_are_generated_rated_and_read(full: Path, tmp_path: Path) -> None:
    ask = ["eval", "open-ended", "team/s", "--dataset", "team/questions", "--layer", "1", "--max-tokens", "4"]
    with JudgeServer(lambda request: "6") as server:
        judge = ["--rubric", "refusal", "--judge-url", server.base_url, "--judge-model", "judge-1"]
        shown = caa(*ask, *judge, "--multipliers", "-1,1")
        assert shown.code == 0, shown.err
        assert "endpoint judge-1" in shown.out and "6.00" in shown.out and "unparsable" in shown.out
        again = caa("eval", "rate", "2", *judge, "--json")
    assert [each["judge"]["name"] for each in again.json["judgements"]] == ["judge-1", "judge-1"]
    assert again.json["judgements"][0]["unparsable"] == 0
    read = caa("eval", "answers", "2", "--limit", "0")
    assert read.code == 0 and "[-1] (6) (6)" in read.out
    listed = caa("eval", "answers", "2", "--json").json
    assert {answer["multiplier"] for answer in listed} == {-1, 1} and listed[0]["ratings"] == [6, 6]
    sheet = tmp_path / "sheet.csv"
    assert "Fill in the column rating" in caa("eval", "sheet", "2", "--out", sheet).err
    assert caa("eval", "sheet", "2", "--out", sheet).code == 2  # it may hold ratings
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    sheet.write_text("\n".join(["id,rating", *(f"{row[0]},4" for row in rows[1:])]), encoding="utf-8")
    rated = caa("eval", "rate", "2", "--sheet", sheet, "--rater", "ada", "--rubric", "refusal")
    assert rated.code == 0 and "human ada" in rated.out and "4.00" in rated.out
    assert "human ada" in caa("eval", "show", "2").out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "no rubric|there is no rubric"),
        (["--rubric", "refusal"], "the judge has no model"),
        (["--rubric", "refusal", "--sheet", "x.csv"], "the sheet has no rater"),
        (["--rubric", "refusal", "--sheet", "x.csv", "--judge-model", "m"], "two passes"),
        (["--rubric", "refusal", "--judge-url", "ftp://x", "--judge-model", "m"], "ftp"),
        (["--rubric", "missing.md", "--judge-model", "m"], "missing.md"),
    ],
)
def test_what_cannot_rate_is_said(full: Path, options: list[str], said: str) -> None:
    import re

    assert (
        caa("eval", "open-ended", "team/s", "--dataset", "team/questions", "--layer", "1", "--max-tokens", "2").code
        == 0
    )
    result = caa("eval", "rate", "2", *options)
    assert result.code in (1, 2) and re.search(said, result.err), result.err
    assert caa("eval", "show", "2", "--json").json["judgements"] == []


def test_a_judge_that_cannot_be_asked_costs_nothing(full: Path) -> None:
    ask = ["eval", "open-ended", "team/s", "--dataset", "team/questions", "--layer", "1"]
    assert caa(*ask, "--judge-url", "http://127.0.0.1:9/v1", "--rubric", "refusal").code == 2  # no model named
    assert len(caa("eval", "ls", "--json").json) == 1


def test_a_rubric_s_system_prompts_are_baselines(full: Path, tmp_path: Path) -> None:
    rubric = tmp_path / "mine.md"
    rubric.write_text(
        "---\nname: mine\nbehavior: Mine\nsystem_positive: Say A.\nsystem_negative: Say B.\n---\n0, 5 and 10 are it.\n",
        encoding="utf-8",
    )
    ask = ["eval", "propensity", "team/s", "--layers", "1", "--controls", "none", "--prompts"]
    shown = caa(*ask, rubric, "--system-negative", "No.", "--json")
    assert shown.code == 0, shown.err
    beside = shown.json["parameters"]["beside"]
    assert (beside["system_positive"], beside["system_negative"]) == ("Say A.", "No.")
    said = caa("eval", "show", "2")
    table = said.out
    assert "system-negative" in table and "norm ratio" in table and "answer first" in table and " KL " in table
    assert "The dose-response at layer 1" in said.err
    assert "there is no rubric" in caa(*ask, "nothing").err


def test_a_listing_of_evaluations_is_a_page_of_the_newest(full: Path) -> None:
    for _ in range(2):
        assert caa("eval", "propensity", "team/s", "--layers", "1", "--controls", "none").code == 0
    numbers = [e["evaluation"] for e in caa("eval", "ls", "--json").json]
    assert numbers == [1, 2, 3]
    page = caa("eval", "ls", "--limit", "2")
    assert [line.split()[0] for line in page.out.splitlines()] == ["id", "2", "3"]
    assert "Newest 2 of 3; --all shows all." in page.err
    assert [e["evaluation"] for e in caa("eval", "ls", "--limit", "1", "--json").json] == [3]
    assert "Newest" not in caa("eval", "ls").err + caa("eval", "ls", "--all").err
    assert caa("eval", "ls", "--all", "--limit", "1").code == 2


def test_messages_of_evaluations_fit_80_columns(full: Path) -> None:
    shown = caa("eval", "propensity", "team/s", "--split", "generate", "--layers", "1", "--controls", "none")
    assert shown.code == 0 and "leaked" in shown.err
    for result in (shown, caa("eval", "show", "2"), caa("eval", "compare", "1", "2")):
        assert all(len(line) <= 80 for line in result.err.splitlines()), result.err


def test_calibration_says_what_it_found_or_why_not(full: Path, tmp_path: Path) -> None:
    text = tmp_path / "short.txt"
    text.write_text("It is a day.\n\nAnd so it is.", encoding="utf-8")
    ask = ["eval", "calibrate", "team/s", "--text", text, "--multipliers", "-1,1", "--layers", "1", "--coherence", "0"]
    for options, code in ((["--target-kl", "1000"], None), (["--target-kl", "1e-12"], 1)):
        shown = caa(*ask, *options)
        assert shown.code == code if code is not None else shown.code in (0, 1)
        assert "nats per token" in shown.err and ("team/s:best" in shown.err) == (shown.code == 0)
        found = caa(*ask, *options, "--json")
        assert found.code == shown.code and (found.json["alias"] is None) == (found.code == 1)
        assert found.json["reason"] or found.json["choice"]
        names = {warning["name"] for warning in found.json["warnings"]}
        assert "mass" in names and "chosen" not in names
        assert "Warning: The answers together have less than half of the probability" in " ".join(shown.err.split())


def test_categories_and_the_cross_matrix_are_tables(full: Path, tmp_path: Path) -> None:
    rows = [{**row, "category": "odd" if i % 2 else "even"} for i, row in enumerate(letters(4))]
    sources = [
        f"--split=generate={jsonl(tmp_path / 'g.jsonl', letters(4))}",
        f"--split=test={jsonl(tmp_path / 't.jsonl', rows)}",
    ]
    assert caa("dataset", "import", "--name", "team/o", *sources).code == 0
    model = caa("model", "show", caa("vector", "ls", "--json").json[0]["model"], "--json").json["path"]
    assert caa("vector", "compute", "team/o", "--dataset", "team/o", "--model", model).code == 0
    crossed = caa("eval", "cross", "team/s", "team/o", "--layer", "1")
    assert crossed.code == 0, crossed.err
    assert crossed.out.count("%") == 2 and "Evaluations 2 to 5" in crossed.err
    # The letters of a tiny network have next to no mass, and four questions are no sample.
    said = " ".join(crossed.err.split())
    assert "Warning (evaluations 2-5): 4 different questions are too few for an interval" in said
    assert "The answers together have less than half of the probability" in said
    warnings = caa("eval", "cross", "team/s", "team/o", "--layer", "1", "--json").json["warnings"]
    assert {(each["evaluation"], each["name"]) for each in warnings} >= {(id, "few") for id in range(2, 6)}
    shown = caa("eval", "categories", "5")
    assert shown.code == 0 and "mean of categories" in shown.out and "even" in shown.out
    assert set(caa("eval", "categories", "5", "--json").json[0]["categories"]) == {"odd", "even"}


def test_shards_say_what_is_missing_and_are_merged(full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = ["eval", "propensity", "team/s", "--layers", "1", "--draws", "19"]
    files = []
    for number in (1, 2):
        monkeypatch.setenv("CAA_HOME", str(tmp_path / f"machine-{number}"))
        shown = caa(*ask, "--shard", f"{number}/2")
        assert shown.code == 0 and shown.out == ""
        assert f"Shard {number}/2 is done and kept in " in shown.err and f"{3 - number}/2 is missing" in shown.err
        assert "caa eval merge FILE" in shown.err
        document = caa(*ask, "--shard", f"{number}/2", "--json").json
        assert document["shard"] == f"{number}/2" and document["missing"] == [f"{3 - number}/2"]
        files.append(document["kept"])
    monkeypatch.setenv("CAA_HOME", str(tmp_path / "third"))
    missing = caa("eval", "merge", files[1])
    assert missing.code == 1 and "shard 1/2 is missing" in missing.err and "--shard" in missing.err
    merged = caa("eval", "merge", *files, "--json")
    assert merged.code == 0 and merged.json["kind"] == "propensity"
    whole = caa(*ask, "--json").json
    assert [score["n"] for score in whole["scores"]] == [score["n"] for score in merged.json["scores"]]
    assert caa(*ask, "--shard", "3/2").code == 2


def test_where_a_number_means_little_a_sentence_says_so(full: Path, tmp_path: Path) -> None:
    shown = caa("eval", "show", "1")
    said = " ".join(shown.err.split())
    assert "Warning: 4 different questions are too few for an interval" in said
    document = caa("eval", "show", "1", "--json").json
    assert "few" in {each["name"] for each in document["warnings"]}
    for each in document["warnings"]:
        assert set(each) == {"name", "text"} and each["text"] in said
    assert "warnings" not in caa("eval", "ls", "--json").json[0]
    compared = caa("eval", "compare", "1", "1")
    assert "no p-value can be below 0.12" in " ".join(compared.err.split())
    assert caa("eval", "compare", "1", "1", "--json").json["warnings"][0]["name"] == "few"
    assert caa("eval", "propensity", "team/s", "--layers", "0,1", "--controls", "none").code == 0
    assert "chosen" in {each["name"] for each in caa("eval", "show", "2", "--json").json["warnings"]}
    ranked = " ".join(caa("eval", "leaderboard").err.split())
    assert ranked.count("the very questions that chose the layer") == 0  # the evaluation with a null has one layer
    report = tmp_path / "report"
    assert caa("eval", "report", "team/s", "--out", report).code == 0
    text = (report / "report.md").read_text(encoding="utf-8")
    assert "**Warning**: 4 different questions" in text and "()" not in text and "(no interval)" in text


def test_a_vector_that_was_not_measured_says_why(full: Path, tmp_path: Path, tiny_folder: Path) -> None:
    source = jsonl(tmp_path / "three.jsonl", letters(3))
    assert caa("dataset", "import", source, "--name", "team/three").code == 0
    made = caa("vector", "compute", "team/three", "--dataset", "team/three", "--model", tiny_folder)
    for result in (made, caa("vector", "show", "team/three")):
        assert result.code == 0 and "was not measured. That takes 4 different pairs" in " ".join(result.err.split())
        assert "No signal" not in result.err


def test_an_untrained_network_is_shown_by_layer(full: Path) -> None:
    ask = ["eval", "propensity", "team/s", "--controls", "none", "--untrained"]
    shown = caa(*ask)
    assert shown.code == 0, shown.err
    (line,) = [line for line in shown.out.splitlines() if "untrained" in line]
    assert line.split()[:4] == ["layer", "steerability", "untrained", "effect"]
    scores = caa("eval", "show", "2", "--json").json["scores"]
    assert {score["metric"] for score in scores if score["condition"] == "untrained"} >= {"steerability", "effect"}
    assert caa(*ask, "--allow-mismatch").code == 0  # on the vector's own model there is nothing to allow
