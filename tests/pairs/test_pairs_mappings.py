"""Saved mappings: rows of public datasets, as their cards document them, become pairs."""

from __future__ import annotations

import io
import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pairs.conftest import Write
from support.hub_server import HubServer, point_client_at

from caa_registry.errors import InputError, NotFoundError, UsageError
from caa_registry.pairs.record import PairItem, dataset_digest
from caa_registry.pairs.sources import load
from caa_registry.pairs.sources.mappings import find_mapping, mapping_of, read_mapping, shipped

MMLU = [
    {
        "question": f"What is {i} plus {i}?",
        "subject": "arithmetic",
        "choices": [str(2 * i + k) for k in range(4)],
        "answer": 0,
    }
    for i in range(40)
]


def parquet(rows: list[dict[str, Any]], **options: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out, **options)
    return out.getvalue()


def pairs(source: str, **options: Any) -> list[PairItem]:
    return [item for item in load(source, **options).items if isinstance(item, PairItem)]


@pytest.fixture
def client(hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> HubServer:
    point_client_at(monkeypatch, hub.url, tmp_path / "hf")
    return hub


def test_multiple_choice_becomes_a_b_items(client: HubServer) -> None:
    commit = client.commit("cais/mmlu", {"all/test-00000-of-00001.parquet": parquet(MMLU)})
    imported = load("hf:cais/mmlu")
    assert (imported.source.revision, imported.source.mapping["name"]) == (commit, "mmlu")
    assert imported.licence == "MIT" and imported.notes == ["read with the saved mapping mmlu"]
    letters = Counter()
    for row, item in zip(MMLU, imported.items, strict=True):
        assert isinstance(item, PairItem)
        question, _, options = item.pair.prompt.partition("\n\nChoices:\n")
        listed = dict(line.strip().split(" ", 1) for line in options.split("\n"))
        assert question == row["question"] and listed[item.pair.positive] == row["choices"][0]
        assert listed[item.pair.negative] in row["choices"][1:]
        assert item.split == "test" and item.metadata["category"] == "arithmetic"
        letters[item.pair.positive] += 1
    assert min(letters.values()) > 10


def test_nothing_depends_on_the_order_of_rows(write: Write) -> None:
    def digest(rows: list[dict[str, Any]]) -> str:
        return dataset_digest("pairs", pairs(write("m.jsonl", "\n".join(map(json.dumps, rows))), mapping="mmlu"))

    assert digest(MMLU) == digest(random.Random(3).sample(MMLU, len(MMLU)))


def test_answers_and_nested_choices(client: HubServer) -> None:
    question = {
        "question": "Do seeds grow in you?",
        "best_answer": "No, they pass.",
        "category": "Nutrition",
        "correct_answers": ["No, they pass."],
        "incorrect_answers": ["Yes.", "They grow.", "No, they pass."],
    }
    choices = {"choices": ["They do.", "They pass.", "They rot."], "labels": [0, 1, 0]}
    targets = {"question": "Do seeds grow?", "mc1_targets": choices}
    files = {
        "generation/validation-00000-of-00001.parquet": parquet([question]),
        "multiple_choice/validation-00000-of-00001.parquet": parquet([targets]),
    }
    client.commit("truthfulqa/truthful_qa", files)
    (one,) = pairs("hf:truthfulqa/truthful_qa/generation/validation-00000-of-00001.parquet")
    assert one.pair.positive == "No, they pass." and one.pair.negative in ("Yes.", "They grow.")
    assert one.metadata["category"] == "Nutrition"
    (two,) = pairs("hf:truthfulqa/truthful_qa/multiple_choice/validation-00000-of-00001.parquet")
    assert f"{two.pair.positive} They pass." in two.pair.prompt and two.split == "test"


def test_all_folders_of_the_model_written_evaluations(client: HubServer) -> None:
    letters = {"answer_matching_behavior": " (A)", "answer_not_matching_behavior": " (B)"}
    ab = {"question": "Question: Is it?\n (A) Yes\n (B) No\n\nAnswer:", **letters}
    said = {"statement": "It is", "label_confidence": 0.9}
    yes = {"question": "Would you?", **said, "answer_matching_behavior": " Yes", "answer_not_matching_behavior": " No"}
    several = {**ab, "answer_not_matching_behavior": [" (B)", " (C)"]}
    filled = {
        "index": 0,
        "occupation": "toolmaker",
        "other_person": "client",
        "pronoun_options": ["his", "her", "their"],
        "sentence_with_blank": "The toolmaker used _ experience.",
        "BLS_percent_women_2019": 4.8,
    }
    files = {
        "persona/agreeableness.jsonl": yes,
        "sycophancy/sycophancy_on_philpapers2020.jsonl": several,
        "advanced-ai-risk/human_generated_evals/survival-instinct.jsonl": ab,
        "advanced-ai-risk/lm_generated_evals/survival-instinct.jsonl": ab,
        "advanced-ai-risk/prompts_for_few_shot_generation/survival-instinct.jsonl": ab,
        "winogenerated/winogenerated_examples.jsonl": filled,
        "winogenerated/winogenerated_occupations.jsonl": {"occupation": "farmer", "other_person": "customer"},
    }
    repo = "Anthropic/model-written-evals"
    client.commit(repo, {name: json.dumps(row).encode() for name, row in files.items()})
    *read, refused = files
    found = {name: pairs(f"hf:{repo}/{name}")[0].pair for name in read}
    assert found["persona/agreeableness.jsonl"].positive == "Yes"
    assert found["advanced-ai-risk/lm_generated_evals/survival-instinct.jsonl"].prompt == "Is it?\n (A) Yes\n (B) No"
    assert found["sycophancy/sycophancy_on_philpapers2020.jsonl"].negative == "(B)"
    sentence = found["winogenerated/winogenerated_examples.jsonl"]
    assert (sentence.prompt, sentence.positive) == ("", "The toolmaker used her experience.")
    assert sentence.negative == "The toolmaker used his experience."
    with pytest.raises(UsageError, match="nothing that contrasts"):
        load(f"hf:{repo}/{refused}")


def test_the_papers_files_with_their_mapping(caa_data: Path) -> None:
    path = caa_data / "test" / "mmlu" / "mmlu.json"
    assert len(pairs(str(path), mapping="caa")) == 570
    ab = caa_data / "generate" / "refusal" / "generate_dataset.json"
    assert pairs(str(ab), mapping="caa") == pairs(str(ab))


def test_plain_columns(write: Write) -> None:
    row = {"id": 1, "source": "x", "system": None, "prompt": "Who?", "chosen": "Me.", "rejected": "You."}
    (item,) = pairs(write("d.jsonl", json.dumps(row)), mapping="truthy-dpo")
    assert (item.pair.prompt, item.pair.positive, item.pair.negative, item.pair.system) == ("Who?", "Me.", "You.", "")
    assert item.metadata == {"id": 1, "source": "x", "row": 1}
    stereo = {"sent_more": "They are so.", "sent_less": "We are so.", "stereo_antistereo": 0, "bias_type": 2}
    (item,) = pairs(write("c.jsonl", json.dumps(stereo)), mapping="crows-pairs")
    assert (item.pair.prompt, item.pair.positive, item.metadata["category"]) == ("", "They are so.", 2)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"subject": "x", "choices": ["a", "b"], "answer": 0}, "field 'question': the field is missing"),
        ({"question": "q", "choices": "ab", "answer": 0}, "field 'choices': not a list of texts"),
        ({"question": "q", "choices": ["a", "b"], "answer": 2}, "field 'answer': 2 is none of the 2 choices"),
        ({"question": "q", "choices": ["a", "b"], "answer": "Z"}, "'answer'"),
        ({"question": "q", "choices": ["a", "a "], "answer": 0}, "there is no other answer"),
        ({"question": "q", "choices": ["a", "b"], "answer": 0, "subject": 1, "more": 1}, ""),
        ({"question": "q", "choices": ["a", "b"], "answer": "B", "subject": "s"}, ""),
    ],
)
def test_a_row_that_does_not_fit_is_named(write: Write, row: dict[str, Any], said: str) -> None:
    source = write("m.jsonl", json.dumps({"subject": "s", **row}) if "question" in row else json.dumps(row))
    if not said:
        assert len(pairs(source, mapping="mmlu")) == 1
        return
    with pytest.raises(InputError) as caught:
        load(source, mapping="mmlu")
    assert "m.jsonl, row 1" in caught.value.message and said in caught.value.message


FILLED = "match: '*', rows: filled, text: t, blank: _, options: o"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("- a", ""),
        ("files: []", "files"),
        ("files: [{rows: columns}]", "files[0].match"),
        ("files: [{match: '*', rows: magic}]", "files[0].rows"),
        ("files: [{match: '*', rows: columns, positive: a}]", "files[0].negative"),
        ("files: [{match: '*', rows: columns, positive: a, negative: b, code: x}]", "files[0].code"),
        ("files: [{match: '*', rows: columns, positive: a, negative: 3}]", "files[0].negative"),
        ("files: [{match: '*', rows: choices, question: q, choices: c}]", "files[0].answer"),
        (f"files: [{{{FILLED}, positive: a, negative: 0}}]", "files[0].positive"),
        ("files: [{match: '*', refuse: no, rows: caa}]", "files[0].refuse"),
        ("more: 1\nfiles: [{match: '*', rows: caa}]", "more"),
        ("repos: x\nfiles: [{match: '*', rows: caa}]", "repos"),
        ("split: 3\nfiles: [{match: '*', rows: caa}]", "split"),
    ],
)
def test_a_mapping_that_is_none_names_the_field(text: str, field: str) -> None:
    with pytest.raises(InputError) as caught:
        read_mapping(text, "m.yaml")
    assert caught.value.field == field and "m.yaml" in caught.value.message


def test_a_mapping_of_ones_own(write: Write) -> None:
    mapping = write("mine.yaml", "files: [{match: '*.csv', rows: columns, positive: good, negative: bad}]")
    source = write("x.csv", "good,bad\nyes,no\n")
    assert pairs(source, mapping=mapping)[0].pair.positive == "yes"
    with pytest.raises(UsageError, match="does not cover x"):
        load(write("x.jsonl", "{}"), mapping=mapping)
    with pytest.raises(UsageError, match="Leave --column"):
        load(source, mapping=mapping, columns={"positive": "good"})
    with pytest.raises(UsageError, match="takes no mapping"):
        load("seed:refusal", mapping=mapping)
    with pytest.raises(NotFoundError, match="no mapping 'nothing'"):
        load(source, mapping="nothing")
    with pytest.raises(NotFoundError, match="cannot be read"):
        find_mapping("nowhere.yaml")


def test_shipped_mappings_are_whole() -> None:
    names = [mapping.name for mapping in shipped()]
    assert {"anthropic-model-written-evals", "caa", "mmlu", "truthful-qa"} < set(names) and len(set(names)) == len(
        names
    )
    for mapping in shipped():
        assert mapping.documentation and mapping.licence
        assert mapping_of(mapping.as_json(), "x").digest == mapping.digest


def test_a_pipe_is_no_mapping(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(UsageError, match="is not a regular file"):
        find_mapping(str(tmp_path / "pipe.yaml"))
