"""Each kind of file gives the pairs it says, in file order, with what else it says kept beside them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from caa_registry.digests import digest_bytes
from caa_registry.errors import CaaError, InputError, UsageError
from caa_registry.pairs.record import Imported, Pair, PairItem, QuestionItem
from caa_registry.pairs.sources import load, load_splits, shortened

Write = Callable[[str, str | bytes], str]

CAA = {"question": " Q?\n (A) x\n (B) y ", "answer_matching_behavior": " (A)", "answer_not_matching_behavior": "(B) "}
CHOICE = {
    "prompt": " Q?\n(A) x\n (B) y\n",
    "correct": "(B) ",
    "incorrect": "(A)",
    "correct_full_text": "y",
    "incorrect_full_text": "x",
    "category": "c",
}
PLAIN = {"prompt": " Q? ", "positive": " yes", "negative": "no "}


def only(imported: Imported) -> PairItem:
    (item,) = imported.items
    assert isinstance(item, PairItem)
    return item


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def parquet(**columns: list[Any]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


NORMALIZED = "were normalized: white space around texts, Question: before and Answer: behind them are left out"


def test_caa_json_is_recorded_as_what_it_is(write: Write) -> None:
    data = json.dumps([CAA | {"question": " Is it?\n"}])
    source = write("d.json", data)
    imported = load(source)
    assert only(imported).pair == Pair("Is it?", "(A)", "(B)")
    assert only(imported).split == "generate" and only(imported).metadata == {"row": 1}
    file = {"name": "d.json", "digest": digest_bytes(data.encode()), "split": "generate", "rows": 1}
    assert imported.source.to_json() == {"uri": source, "format": "caa", "files": [file]}
    assert imported.notes[0] == f"1 item {NORMALIZED.replace('were', 'was')}"


@pytest.mark.parametrize(
    ("question", "prompt"),
    [
        ("Question: a\n\nAnswer:", "a"),
        (" Question: a Question: b\n\nAnswer: ", "a Question: b"),
        ("The Answer: is b. Question: why?", "The Answer: is b. Question: why?"),
        ("Question: What does 'Answer:' mean?", "What does 'Answer:' mean?"),
        # As the paper's own files are cleaned.
        ("**Question:** a\n\n**Answer:**", "**** a\n\n****"),
        ("a", "a"),
    ],
)
def test_the_same_evaluation_is_the_same_pair_in_every_container(
    write: Write, tmp_path: Path, question: str, prompt: str
) -> None:
    import datasets  # type: ignore[import-untyped, unused-ignore]

    row = CAA | {"question": question}
    header, fields = ",".join(row), ",".join('"{}"'.format(value.replace('"', '""')) for value in row.values())
    datasets.Dataset.from_list([row]).save_to_disk(str(tmp_path / "saved"))
    sources = [
        write("d.json", json.dumps([row])),
        write("d.jsonl", lines(row)),
        write("d.csv", f"{header}\n{fields}\n"),
        write("d.parquet", parquet(**{name: [value] for name, value in row.items()})),
        str(tmp_path / "saved"),
    ]
    for source in sources:
        imported = load(source)
        assert only(imported).pair == Pair(prompt, "(A)", "(B)"), source
        assert imported.notes[0] == f"1 item {NORMALIZED.replace('were', 'was')}"
        # As it is recorded it is read again.
        assert load(source, format=imported.source.format).items == imported.items


def test_the_first_of_several_answers_is_taken_and_counted(write: Write) -> None:
    several = CAA | {"answer_not_matching_behavior": [" (B)", " (C)"]}
    single = CAA | {"answer_not_matching_behavior": [" (B)"]}
    table = {name: [[row[name]] if isinstance(row[name], str) else row[name] for row in (CAA, several)] for name in CAA}
    for source, count in (
        (write("d.jsonl", lines(CAA, several, single)), 3),
        (write("d.json", json.dumps([CAA, several])), 2),
        (write("d.parquet", parquet(**table | {"question": ["Q", "Q"]})), 2),
    ):
        imported = load(source)
        assert [item.pair.negative for item in imported.items if isinstance(item, PairItem)] == ["(B)"] * count
        assert imported.notes[0] == f"{count} items {NORMALIZED}"
        assert imported.notes[1] == "1 item gives several answers; the first was taken: row 2"
    with pytest.raises(InputError, match="row 1, field 'answer_not_matching_behavior': the list of answers is empty"):
        load(write("e.jsonl", lines(CAA | {"answer_not_matching_behavior": []})))
    with pytest.raises(InputError, match="not a string but list") as caught:
        load(write("plain.parquet", parquet(prompt=["a"], positive=[["b", "c"]], negative=["d"])))
    assert caught.value.hint == "Write one text. Of several answers take one, or make a row of each."


def test_format_names_overrule_what_the_content_says(write: Write) -> None:
    source = write("d.jsonl", lines(CAA))
    assert only(load(source, format="jsonl")).pair.positive == " (A)"
    assert only(load(source, format="anthropic")).pair.positive == "(A)"
    raw = write("raw.json", json.dumps([CAA | {"question": "Question: a"}]))
    assert only(load(raw, format="anthropic")).pair.prompt == "a"
    assert only(load(write("table.txt", "prompt,positive,negative\na,b,c\n"), format="csv")).pair == Pair("a", "b", "c")
    for format in ("caa", "anthropic", "multiple-choice"):
        with pytest.raises(UsageError, match="own columns"):
            load(source, format=format, columns={"prompt": "question"})
    with pytest.raises(UsageError, match="there is no format 'xml'"):
        load(source, format="xml")


def test_multiple_choice_is_stripped_and_for_testing(write: Write) -> None:
    imported = load(write("d.json", json.dumps([CHOICE])))
    assert only(imported).pair == Pair("Q?\n(A) x\n (B) y", "(B)", "(A)")
    assert only(imported).split == "test" and imported.source.format == "multiple-choice" and not imported.notes
    assert only(imported).metadata == {
        "row": 1,
        "category": "c",
        "correct_full_text": "y",
        "incorrect_full_text": "x",
    }
    assert only(load(write("e.jsonl", lines(CHOICE)), split="dev")).split == "dev"
    rows = "prompt,correct,incorrect,category\nQ?,(A),(B),c\n"
    assert only(load(write("d.csv", rows))).pair == Pair("Q?", "(A)", "(B)")
    for name in ("f.data", "f.json"):
        for content in (lines(CHOICE, CHOICE), json.dumps([CHOICE, CHOICE])):
            assert len(load(write(name, content), format="multiple-choice").items) == 2


@pytest.mark.parametrize("answers", [("1", "2"), ("2", "1"), ("A. x", "B. y"), ("(B)", "(A)")])
def test_multiple_choice_is_told_by_its_letters_and_numbers(write: Write, answers: tuple[str, str]) -> None:
    listed = "1. x\n2. y" if answers[0].isdigit() else "A. x\nB. y"
    row = {"prompt": f"Q?\n{listed}", "correct": answers[0], "incorrect": answers[1], "category": "c"}
    assert only(load(write("d.jsonl", lines(row)))).split == "test"


def test_choices_that_are_not_what_is_said_of_them_are_reported(write: Write) -> None:
    wrong = CHOICE | {"correct_full_text": "x", "incorrect_full_text": "y"}
    long = CHOICE | {"correct_full_text": "y \nand more"}
    imported = load(write("d.json", json.dumps([CHOICE, wrong, long, CHOICE | {"category": " "}])))
    assert imported.notes == [
        "1 item answers with a letter whose choice is not the full text given for it: row 2",
        "1 item has no category: row 4",
    ]


def test_correct_and_incorrect_texts_are_plain_pairs(write: Write) -> None:
    row = {"prompt": "Capital?", "correct": " Paris", "incorrect": " Rome"}
    imported = load(write("d.json", json.dumps([row])))
    assert only(imported).pair == Pair("Capital?", " Paris", " Rome")
    assert only(imported).split == "generate" and imported.source.format == "json"
    named = row | {"positive": "a", "negative": "b"}
    assert only(load(write("e.json", json.dumps([named])))).pair.positive == "a"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.jsonl", lines(PLAIN)),
        ("d.ndjson", lines(PLAIN)),
        ("d.JSONL", "\ufeff" + lines(PLAIN).replace("\n", "\r\n") + "\n\n"),
        ("d.jsonl", json.dumps([PLAIN])),
        ("d.json", json.dumps([PLAIN])),
        ("d.json", "\ufeff" + json.dumps([PLAIN], indent=1)),
        ("d", lines(PLAIN)),
        ("d.data", json.dumps([PLAIN])),
        ("d.csv", "\ufeffprompt,positive,negative\r\n Q? , yes,no \r\n"),
        ("d.parquet", parquet(**{key: [value] for key, value in PLAIN.items()})),
        ("d.bin", parquet(**{key: [value] for key, value in PLAIN.items()})),
    ],
)
def test_plain_tables_are_kept_verbatim(write: Write, name: str, content: str | bytes) -> None:
    assert only(load(write(name, content))).pair == Pair(**PLAIN)


def test_lines_of_json_are_seen_in_a_json_file(write: Write) -> None:
    imported = load(write("d.json", lines(PLAIN, PLAIN | {"prompt": "other"})))
    assert imported.source.format == "jsonl" and len(imported.items) == 2


def test_columns_are_mapped_and_the_rest_is_metadata(write: Write) -> None:
    content = "id,question,good,bad,who,part,row\n7,q,g,b,s,test,9\n"
    columns = {"positive": "good", "negative": "bad", "system": "who", "split": "part"}
    imported = load(write("d.csv", content), columns=columns)
    item = only(imported)
    assert item.pair == Pair("q", "g", "b", "s") and item.split == "test"
    assert item.metadata == {"row": 1, "id": "7", "source_row": "9"}
    assert imported.source.columns == columns
    assert imported.source.files[0].split == "test"


def test_a_missing_column_lists_what_there_is(write: Write) -> None:
    source = write("d.csv", "question,good,bad\nq,g,b\n")
    with pytest.raises(
        InputError, match="no column for the positive was recognised; columns: question, good, bad"
    ) as e:
        load(source)
    assert "--column positive=NAME" in e.value.hint
    with pytest.raises(InputError, match="there is no column 'nice' for positive; columns: question, good, bad"):
        load(source, columns={"positive": "nice", "negative": "bad"})
    texts = write("t.csv", "story,positive,negative\ns,g,b\n")
    with pytest.raises(InputError, match="no column for the prompt"):
        load(texts)
    assert only(load(texts, columns={"prompt": ""})).pair == Pair("", "g", "b")
    assert only(load(write("p.csv", "positive,negative\ng,b\n"))).pair == Pair("", "g", "b")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"answer": "x"}, "cannot be given for 'answer'"),
        ({"positive": "x", "negative": "x"}, "given for two parts"),
        ({"question": "x", "prompt": "y"}, "makes questions"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(write: Write, columns: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load(write("d.csv", "x,y\n1,2\n"), columns=columns)


def test_rows_may_name_their_splits(write: Write) -> None:
    source = write("d.jsonl", lines(PLAIN | {"split": "test"}, PLAIN, PLAIN | {"split": None}))
    imported = load(source)
    assert [item.split for item in imported.items] == ["test", "generate", "generate"]
    assert [(file.split, file.rows) for file in imported.source.files] == [("test", 1), ("generate", 2)]
    with pytest.raises(UsageError, match="row 1: the row names its own split 'test', not 'generate'"):
        load(source, split="generate")
    ignored = load(source, split="generate", columns={"split": ""})
    assert {item.split for item in ignored.items} == {"generate"}
    assert ignored.items[0].metadata["split"] == "test"
    with pytest.raises(InputError, match="row 1, field 'split': 'a b' cannot name a split"):
        load(write("e.jsonl", lines(PLAIN | {"split": "a b"})))
    with pytest.raises(UsageError, match="cannot name a split"):
        load(source, split="a b")


def test_questions_are_a_kind_of_their_own(write: Write) -> None:
    source = write("q.json", json.dumps([{"question": " one? "}, {"question": "two?"}]))
    imported = load(source)
    assert imported.kind == "questions"
    assert list(imported.items) == [
        QuestionItem("one?", "test", {"row": 1}),
        QuestionItem("two?", "test", {"row": 2}),
    ]
    assert load(source, split="dev").items[0].split == "dev"
    parted = load(write("p.csv", "question,part\none?,dev\n"), columns={"split": "part"})
    assert parted.items[0] == QuestionItem("one?", "dev", {"row": 1})
    mapped = load(write("q.csv", "ask,topic\nwhy?,x\n"), columns={"question": "ask"})
    assert mapped.items[0] == QuestionItem("why?", "test", {"topic": "x", "row": 1})
    with pytest.raises(InputError, match="row 2: the row has more than a question"):
        load(write("m.json", json.dumps([{"question": "one?"}, CAA])))
    with pytest.raises(InputError, match="row 2: the question is empty"):
        load(write("e.json", json.dumps([{"question": "one?"}, {"question": " "}])))


def test_two_files_of_lines_are_the_two_sides(write: Write) -> None:
    up, down = write("up.txt", "\ufeffgood\r\nbetter \r\n\r\n"), write("down.txt", "bad\nworse")
    imported = load(f"lines:{up},{down}", split="dev")
    assert [item.pair for item in imported.items if isinstance(item, PairItem)] == [
        Pair("", "good", "bad"),
        Pair("", "better ", "worse"),
    ]
    assert [(file.name, file.rows) for file in imported.source.files] == [("up.txt", 2), ("down.txt", 2)]
    assert imported.source.format == "lines" and imported.items[1].metadata == {"row": 2}
    assert len(load(f"{up},{down}", format="lines").items) == 2
    comma = write("a,b.txt", "x\ny")
    assert len(load(f"lines:{comma},{down}").items) == len(load(f"lines:{down},{comma}").items) == 2


def test_lines_that_do_not_match_are_refused(write: Write) -> None:
    up, down = write("up.txt", "good\n\nbetter\n"), write("down.txt", "bad\nworse\nworst\nend\n")
    with pytest.raises(InputError, match=r"up\.txt has 3 lines and .*down\.txt has 4"):
        load(f"lines:{up},{down}")
    with pytest.raises(InputError, match=r"up\.txt, row 2: the line is blank \(1 row read before it"):
        load(f"lines:{up},{write('three.txt', 'a' + chr(10) + 'b' + chr(10) + 'c')}")
    for source in ("lines:", f"lines:{up}", f"lines:{up},", f"lines:,{up}"):
        with pytest.raises(UsageError):
            load(source)
    with pytest.raises(UsageError):
        load(f"lines:{up},{down}", columns={"prompt": "x"})


def test_sources_merge_by_split(write: Write) -> None:
    one, two = write("one.json", json.dumps([CAA])), write("two.jsonl", lines(CAA, CAA))
    imported = load_splits({"generate": one, "test": two}, licence="mit")
    assert [item.split for item in imported.items] == ["generate", "test", "test"]
    assert imported.source.uri == f"generate={one}, test={two}"
    assert imported.source.format == "caa, anthropic"
    assert [part.uri for part in imported.source.sources] == [one, two]
    assert imported.licence == "mit"
    json.dumps(imported.source.to_json())
    assert load_splits({"test": one}).source.uri == one
    asked = write("q.json", json.dumps([{"question": "one?"}]))
    with pytest.raises(UsageError, match="generate gives pairs, test gives questions"):
        load_splits({"generate": one, "test": asked})
    with pytest.raises(UsageError):
        load_splits({})


def test_notes_of_merged_sources_say_their_split(write: Write) -> None:
    many = CAA | {"question": "Q\n(A) x\n(B) y\n(C) z", "answer_matching_behavior": "(C)"}
    one, two = write("one.json", json.dumps([CAA, many])), write("two.json", json.dumps([CAA]))
    imported = load_splits({"test": one, "generate": two})
    assert imported.notes == [
        f"test: 2 items {NORMALIZED}",
        "test: 1 item lists more than two choices: row 2",
        "test: 1 item matches a letter beyond A and B: row 2",
        f"generate: 1 item {NORMALIZED.replace('were', 'was')}",
    ]
    assert imported.items[1].metadata == {"row": 2, "choices": 3}


def test_what_json_cannot_hold_is_left_out_and_said(write: Write) -> None:
    columns = {"prompt": ["q", "r"], "positive": ["good", "good"], "negative": ["bad", "bad"]}
    data = parquet(**columns, image=[b"\x00", None], score=[float("nan"), 1.5], tags=[["x"], []])
    imported = load(write("d.parquet", data))
    assert imported.items[0].metadata == {"score": None, "tags": ["x"], "row": 1}
    assert imported.items[1].metadata == {"image": None, "score": 1.5, "tags": [], "row": 2}
    assert imported.notes == [
        "1 item has no JSON value in 'image', left out: row 1",
        "1 item has NaN in 'score', kept as null: row 1",
    ]


def test_notes_are_shortened_only_where_they_list_rows() -> None:
    assert shortened("3 items x: rows 1, 2, 3", 2) == "3 items x: rows 1, 2 and 1 more"
    assert shortened("3 items x: rows 1, 2, 3") == "3 items x: rows 1, 2, 3"
    assert shortened("a sentence, with, many, commas, in, it, all") == "a sentence, with, many, commas, in, it, all"


def test_no_licence_is_guessed(write: Write) -> None:
    write("LICENSE", "MIT License")
    source = write("d.json", json.dumps([CAA]))
    assert load(source).licence == ""
    assert load(source, licence="cc-by-4.0").licence == "cc-by-4.0"


def test_addresses_are_not_read() -> None:
    for source in ("https://example.org/a.json", "file:///etc/hosts", "s3://x/y.jsonl"):
        with pytest.raises(UsageError, match="addresses are not read"):
            load(source)
    with pytest.raises(CaaError):
        load("")


def test_no_row_beyond_the_limit_is_read(write: Write) -> None:
    source = write("d.jsonl", lines(*[PLAIN] * 3) + '{"prompt": 1}\n')
    assert len(load(source, limit=3).items) == 3
    with pytest.raises(InputError, match="row 4"):
        load(source, limit=4)


def test_notes_speak_of_the_rows_that_are_read(write: Write) -> None:
    more = {"prompt": "?\n(A) x\n(B) y\n(C) z", "positive": "(A)", "negative": "(D)"}
    two = more | {"prompt": "?\n(A) x\n(B) y", "negative": "(B)"}
    assert load(write("d.jsonl", lines(two, more)), limit=1).notes == []


def test_the_choices_of_a_pair_are_read_once(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    from caa_registry.pairs import answers

    asked: list[str] = []
    read = answers.listings
    monkeypatch.setattr(answers, "listings", lambda prompt: asked.append(prompt) or read(prompt))
    rows = [{"prompt": f"Is it {i}?\nA. yes\nB. no", "positive": "A", "negative": "B"} for i in range(100)]
    load(write("d.jsonl", lines(*rows)))
    assert asked == [row["prompt"] for row in rows]
