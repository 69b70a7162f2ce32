"""Columns are looked for in all rows, in whatever case and with whatever spaces."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from caa_registry.errors import CaaError, InputError
from caa_registry.pairs.record import PairItem
from caa_registry.pairs.sources import load

Write = Callable[[str, str | bytes], str]

PLAIN = {"prompt": "q", "positive": "yes", "negative": "no"}


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def pairs(source: str, **options: Any) -> list[PairItem]:
    return [item for item in load(source, **options).items if isinstance(item, PairItem)]


@pytest.mark.parametrize("name", ["split", "Split", "SPLIT", " split ", "\ufeffsplit"])
def test_a_split_that_begins_in_a_later_row_counts_there(write: Write, name: str) -> None:
    items = pairs(write("d.jsonl", lines(*[PLAIN] * 499, {**PLAIN, name: "test"}, PLAIN)))
    assert [item.split for item in items[498:]] == ["generate", "test", "generate"]
    assert items[499].metadata == {"row": 500}


@pytest.mark.parametrize("name", ["system", "System", "SYSTEM "])
def test_a_system_prompt_that_begins_in_a_later_row_counts_there(write: Write, name: str) -> None:
    items = pairs(write("d.json", json.dumps([PLAIN, {**PLAIN, name: "Be kind."}])))
    assert [item.pair.system for item in items] == ["", "Be kind."]


def test_a_prompt_that_begins_in_a_later_row_is_an_error_there(write: Write) -> None:
    bare = {"positive": "a", "negative": "b"}
    for more in ({"prompt": "q"}, {"Question": "q"}, {"text": "q"}):
        with pytest.raises(InputError, match="row 2: the row has more columns than those before it") as caught:
            load(write("d.jsonl", lines(bare, {**bare, **more})))
        assert caught.value.row == 2
    assert len(pairs(write("d.jsonl", lines(bare, {**bare, "text": "q"})), columns={"prompt": ""})) == 2


@pytest.mark.parametrize("name", ["d.csv", "d.jsonl"])
def test_known_names_are_known_in_any_case_and_with_spaces(write: Write, name: str) -> None:
    header = ["\ufeffPrompt", " Positive", "NEGATIVE ", "System", "Split"]
    values = ["q", "yes", "no", "s", "test"]
    text = lines(dict(zip(header, values, strict=True)))
    if name == "d.csv":
        text = f"{','.join(header)}\n{','.join(values)}\n"
    (item,) = pairs(write(name, text))
    assert (item.pair.prompt, item.pair.positive, item.pair.negative, item.pair.system) == ("q", "yes", "no", "s")
    assert item.split == "test" and item.metadata == {"row": 1}


def test_two_spellings_of_one_name_are_an_error(write: Write) -> None:
    rows = [PLAIN, {**PLAIN, "split": "test", "Split": "generate"}]
    with pytest.raises(InputError, match="row 2: the columns 'split' and 'Split' have the same name"):
        load(write("d.jsonl", lines(*rows)))
    chosen = pairs(write("d.jsonl", lines(*rows)), columns={"split": "Split"})
    assert [item.split for item in chosen] == ["generate", "generate"]
    assert chosen[1].metadata == {"split": "test", "row": 2}
    ignored = pairs(write("d.jsonl", lines(*rows)), columns={"split": ""})
    assert [item.split for item in ignored] == ["generate", "generate"]


def test_a_column_that_was_given_may_begin_later_but_has_to_be_there(write: Write) -> None:
    source = write("d.jsonl", lines(PLAIN, {**PLAIN, "part": "test"}))
    assert [item.split for item in pairs(source, columns={"split": "part"})] == ["generate", "test"]
    with pytest.raises(InputError, match="there is no column 'fold' for split"):
        load(source, columns={"split": "fold"})


@pytest.mark.parametrize(
    "rows",
    [
        [{"correct": "(A)", "incorrect": "(B)"}, {"correct": "It is.", "incorrect": "It is not."}],
        [{"correct": "It is.", "incorrect": "It is not."}, {"correct": "(A)", "incorrect": "(B)"}],
    ],
)
def test_the_first_row_alone_does_not_decide_how_texts_are_read(write: Write, rows: list[dict[str, str]]) -> None:
    source = write("d.jsonl", lines(*({"prompt": "q", **row} for row in rows)))
    with pytest.raises(InputError, match="row 2: the row is not laid out as those before it"):
        load(source)
    columns = {"positive": "correct", "negative": "incorrect"}
    assert [item.split for item in pairs(source, columns=columns)] == ["generate", "generate"]


def test_names_with_spaces_are_shown_in_quotes(write: Write) -> None:
    source = write("d.csv", "text,good answer,bad answer \nq,a,b\n")
    with pytest.raises(InputError) as caught:
        load(source)
    assert "columns: text, 'good answer', 'bad answer '" in caught.value.message
    assert caught.value.hint == "Say which it is: --column 'positive=NAME'."
    columns = {"prompt": "text", "positive": "good answer", "negative": "bad answer "}
    assert pairs(source, columns=columns)[0].pair.negative == "b"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["d.csv", "d.tsv"])
def test_separators_are_told_by_the_header(write: Write, separator: str, name: str) -> None:
    rows = [
        ["prompt", "positive", "negative", "note"],
        ['"a, b; c | d\te"', '"one; two, three"', '"no | yes"', '"x\ty"'],
    ]
    (item,) = pairs(write(name, "".join(separator.join(row) + "\r\n" for row in rows)))
    assert item.pair.prompt == "a, b; c | d\te" and item.metadata["note"] == "x\ty"


def test_quoted_separators_in_the_header_fool_nobody(write: Write) -> None:
    (item,) = pairs(write("d.csv", 'prompt;positive;negative;"a,b,c,d,e,f"\nq;yes;no;1\n'))
    assert item.metadata == {"a,b,c,d,e,f": "1", "row": 1}
    with pytest.raises(InputError, match=r"row 1: 4 fields under a header of 3") as caught:
        load(write("d.csv", "prompt;positive;negative\nq;yes;no;1\n"))
    assert caught.value.hint.startswith("The fields are separated by semicolons")


DUPLICATE = '{"prompt": "q", "positive": "a", "negative": "b", "x": {"k": 1, "k": 2}}'


@pytest.mark.parametrize("value", ["1e400", "-1e999", "NaN", "-Infinity", "1e-400", "9" * 5000, "[[1, 1e400]]"])
def test_numbers_that_cannot_be_kept_are_an_error_with_row_and_field(write: Write, value: str) -> None:
    row = '{"prompt": "q", "positive": "a", "negative": "b", "score": ' + value + "}"
    for source in (write("d.jsonl", lines(PLAIN) + row), write("d.json", f"[{json.dumps(PLAIN)}, {row}]")):
        with pytest.raises(InputError, match="not usable JSON") as caught:
            load(source)
        assert (caught.value.row, caught.value.field) == (2, "score")


def test_long_whole_numbers_are_kept_exactly(write: Write) -> None:
    number = 12345678901234567890123456789
    assert pairs(write("d.jsonl", lines({**PLAIN, "n": number})))[0].metadata["n"] == number


def test_repeated_keys_are_an_error_with_row_and_field(write: Write) -> None:
    twice = '{"prompt": "q", "prompt": "r", "positive": "a", "negative": "b"}'
    for row, key in ((twice, "prompt"), (DUPLICATE, "k")):
        for source in (write("d.jsonl", lines(PLAIN) + row), write("d.json", f"[{json.dumps(PLAIN)},\n{row}]")):
            with pytest.raises(InputError, match="an object has this key twice") as caught:
                load(source)
            assert (caught.value.row, caught.value.field) == (2, key)


def test_repeated_keys_in_a_metadata_column_are_an_error(write: Write) -> None:
    for inside in ('{""a"": 1, ""a"": 2}', '{""a"": 1e400}'):
        with pytest.raises(InputError, match=r"row 1, field 'metadata': .*key 'a'"):
            load(write("d.csv", f'prompt,positive,negative,metadata\nq,a,b,"{inside}"\n'))


def test_repeated_keys_in_a_mapping_are_an_error(write: Write) -> None:
    mapping = write("m.yaml", "name: m\nfiles:\n  - match: '*'\n    rows: columns\n    rows: caa\n")
    with pytest.raises(CaaError, match="line 5: the key 'rows' is there twice"):
        load(write("d.jsonl", lines(PLAIN)), mapping=mapping)
