"""Chat messages, preference columns and transcripts: the pair that a person would write down, and what is refused."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caa_registry.errors import InputError, UsageError
from caa_registry.pairs.curation.changing import Edit, Relabel
from caa_registry.pairs.curation.editing import editable, edits
from caa_registry.pairs.curation.expression import compiled
from caa_registry.pairs.curation.forms import ToAB, ToFreeForm
from caa_registry.pairs.curation.operations import perform
from caa_registry.pairs.diff import diff
from caa_registry.pairs.export.caa_layout import write_caa
from caa_registry.pairs.export.tables import FILES, write_datasets
from caa_registry.pairs.lint.lint import lint
from caa_registry.pairs.record import Imported, Pair, PairItem, checked_pair, dataset_digest
from caa_registry.pairs.repeats.near_duplicates import overlap
from caa_registry.pairs.review_sheet import write_sheet
from caa_registry.pairs.sources import load
from caa_registry.pairs.turns import Turn

Values = Mapping[str, Any]


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def bot(text: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def share(speaker: str, text: str) -> dict[str, Any]:
    return {"from": speaker, "value": text}


def transcript(*texts: str) -> str:
    return "".join(f"\n\n{('Human', 'Assistant')[i % 2]}: {text}" for i, text in enumerate(texts))


def imported(tmp_path: Path, *rows: Values, **options: Any) -> Imported:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return load(str(path), **options)


def pair_of(found: Imported) -> Pair:
    (item,) = found.items
    assert isinstance(item, PairItem)
    return item.pair


ONE = Pair("Why?", "Yes.", "No.")
LONG = Pair("And tea?", "Yes.", "No.", turns=(Turn("user", "Coffee?"), Turn("assistant", "Sure.")))
TOLD = Pair("And tea?", "Yes.", "No.", "Be kind.", LONG.turns)
BEFORE = [user("Coffee?"), bot("Sure."), user("And tea?")]

READ: dict[str, tuple[Values, Pair]] = {
    "implicit prompt": ({"chosen": [user("Why?"), bot("Yes.")], "rejected": [user("Why?"), bot("No.")]}, ONE),
    "explicit prompt": ({"prompt": [user("Why?")], "chosen": [bot("Yes.")], "rejected": [bot("No.")]}, ONE),
    "a text and one message": ({"prompt": "Why?", "chosen": [bot("Yes.")], "rejected": [bot("No.")]}, ONE),
    "UltraFeedback": (
        {
            "prompt": "Why?", "prompt_id": "a1", "chosen": [user("Why?"), bot("Yes.")],
            "rejected": [user("Why?"), bot("No.")], "messages": [user("Why?"), bot("Yes.")], "score_chosen": 8.5,
        },
        ONE,
    ),
    "preference texts": ({"prompt": "Why?", "chosen": "Yes.", "rejected": "No."}, ONE),
    "question and preference texts": ({"question": "Why?", "chosen": "Yes.", "rejected": "No."}, ONE),
    "many turns": ({"chosen": [*BEFORE, bot("Yes.")], "rejected": [*BEFORE, bot("No.")]}, LONG),
    "a prompt that is the first question": (
        {"prompt": "Coffee?", "chosen": [*BEFORE, bot("Yes.")], "rejected": [*BEFORE, bot("No.")]}, LONG,
    ),
    "a prompt that is the last question": (
        {"prompt": "And tea?", "chosen": [*BEFORE, bot("Yes.")], "rejected": [*BEFORE, bot("No.")]}, LONG,
    ),
    "system message": ({"prompt": [system("Be kind."), *BEFORE], "chosen": "Yes.", "rejected": "No."}, TOLD),
    "developer message": (
        {"prompt": [{"role": "developer", "content": "Be kind."}, *BEFORE], "chosen": "Yes.", "rejected": "No."}, TOLD,
    ),
    "system column": ({"system": "Be kind.", "prompt": BEFORE, "chosen": "Yes.", "rejected": "No."}, TOLD),
    "system in both": (
        {"system": "Be kind.", "prompt": [system("Be kind."), *BEFORE], "chosen": "Yes.", "rejected": "No."}, TOLD,
    ),
    "empty system message": ({"prompt": [system(" "), *BEFORE], "chosen": "Yes.", "rejected": "No."}, LONG),
    "messages": ({"messages": BEFORE, "positive": "Yes.", "negative": "No."}, LONG),
    "messages and their last as the prompt": (
        {"messages": BEFORE, "prompt": "And tea?", "positive": "Yes.", "negative": "No."}, LONG,
    ),
    "messages with the answer": (
        {"messages": [*BEFORE, bot("Yes.")], "prompt": "And tea?", "positive": "Yes.", "negative": "No."}, LONG,
    ),
    "ShareGPT": (
        {
            "conversations": [share("system", "Be kind."), share("human", "Coffee?"), share("gpt", "Sure."),
                              share("human", "And tea?")],
            "chosen": share("gpt", "Yes."), "rejected": share("gpt", "No."),
        },
        TOLD,
    ),
    "ShareGPT, both whole": (
        {"chosen": [share("human", "Why?"), share("gpt", "Yes.")], "rejected": [share("human", "Why?"),
                                                                               share("gpt", "No.")]},
        ONE,
    ),
    "other names of roles": (
        {"prompt": [share("Human", "Coffee?"), share("model", "Sure."), share("USER", "And tea?")], "chosen": "Yes.",
         "rejected": "No."},
        LONG,
    ),
    "text parts": (
        {"prompt": [user([{"type": "text", "text": "Wh"}, {"type": "text", "text": "y?"}])], "chosen": "Yes.",
         "rejected": "No."},
        ONE,
    ),
    "columns of tables": (
        {"prompt": [{**user("Why?"), "tool_calls": None, "name": None}], "chosen": "Yes.", "rejected": "No."}, ONE,
    ),
    "JSON text": (
        {"chosen": json.dumps([user("Why?"), bot("Yes.")]), "rejected": json.dumps([user("Why?"), bot("No.")])}, ONE,
    ),
    "HH-RLHF": ({"chosen": transcript("Why?", "Yes."), "rejected": transcript("Why?", "No.")}, ONE),
    "HH-RLHF, many turns": (
        {"chosen": transcript("Coffee?", "Sure.", "And tea?", "Yes."),
         "rejected": transcript("Coffee?", "Sure.", "And tea?", "No.")},
        LONG,
    ),
    "a transcript as the prompt": (
        {"prompt": transcript("Coffee?", "Sure.", "And tea?", ""), "chosen": "Yes.", "rejected": "No."}, LONG,
    ),
    "a transcript beside whole ones": (
        {"prompt": transcript("Coffee?", "Sure.", "And tea?", ""),
         "chosen": transcript("Coffee?", "Sure.", "And tea?", "Yes."),
         "rejected": transcript("Coffee?", "Sure.", "And tea?", "No.")},
        LONG,
    ),
    "turns": ({"turns": BEFORE[:2], "prompt": "And tea?", "positive": "Yes.", "negative": "No."}, LONG),
    "turns and single messages": (
        {"turns": BEFORE[:2], "prompt": "And tea?", "chosen": [bot("Yes.")], "rejected": [bot("No.")]}, LONG,
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", READ)
def test_the_shapes_of_conversations(tmp_path: Path, shape: str) -> None:
    row, expected = READ[shape]
    found = imported(tmp_path, row)
    assert pair_of(found) == expected
    assert not found.notes


def test_what_a_row_says_beside_its_conversation_is_kept(tmp_path: Path) -> None:
    row, _ = READ["UltraFeedback"]
    metadata = imported(tmp_path, row).items[0].metadata
    assert metadata == {"prompt_id": "a1", "messages": row["messages"], "score_chosen": 8.5, "row": 1}
    assert imported(tmp_path, READ["messages"][0]).items[0].metadata == {"row": 1}


def test_columns_that_are_named_hold_messages_too(tmp_path: Path) -> None:
    row = {"good": [user("Why?"), bot("Yes.")], "bad": [user("Why?"), bot("No.")], "score": 1}
    assert pair_of(imported(tmp_path, row, columns={"positive": "good", "negative": "bad"})) == ONE


def test_rows_with_and_without_turns_or_a_system_message_mix(tmp_path: Path) -> None:
    rows = [READ[name][0] for name in ("implicit prompt", "many turns", "HH-RLHF")]
    told = {"chosen": [system("Be kind."), *BEFORE, bot("Yes.")], "rejected": [system("Be kind."), *BEFORE, bot("No.")]}
    found = imported(tmp_path, *rows, told)
    assert [item.pair for item in found.items if isinstance(item, PairItem)] == [ONE, LONG, ONE, TOLD]
    plain = {"chosen": "All is well.", "rejected": "All is lost."}
    found = imported(tmp_path, plain, told)
    assert [item.pair for item in found.items if isinstance(item, PairItem)] == [
        Pair("", "All is well.", "All is lost."), TOLD,
    ]  # fmt: skip
    assert [dict(item.metadata) for item in found.items] == [{"row": 1}, {"row": 2}]
    with pytest.raises(InputError, match="row 2, field 'prompt': the field is missing"):
        imported(tmp_path, told, plain)


def sides(chosen: Any, rejected: Any, **beside: Any) -> Values:
    return {**beside, "chosen": chosen, "rejected": rejected}


def before(messages: Any) -> Values:
    return sides("Yes.", "No.", prompt=messages)


REFUSED: dict[str, tuple[Values, str, str]] = {
    "different questions": (
        sides([user("Why?"), bot("Yes.")], [user("How?"), bot("No.")]),
        "rejected",
        "part before their answers, at message 1: user 'Why\\?' against user 'How\\?'",
    ),
    "different earlier answers": (
        sides(transcript("a", "b", "c", "d"), transcript("a", "x", "c", "e")),
        "rejected",
        "at message 2: assistant 'b' against assistant 'x'",
    ),
    "another length": (
        sides([*BEFORE, bot("Yes.")], [*BEFORE[:1], bot("Sure.")]), "rejected", "has 2 messages, and 'chosen' has 4",
    ),
    "the user last": (
        sides([*BEFORE], [*BEFORE[:2], user("What?")]), "chosen", "ends with the user's message",
    ),
    "an empty answer": (sides(transcript("a", ""), transcript("a", "b")), "chosen", "ends with the user's message"),
    "an empty message as the answer": (
        sides([user("a"), bot(" ")], [user("a"), bot("b")]), "chosen", "ends with an empty message",
    ),
    "answers without a question": (sides([bot("Yes.")], [bot("No.")]), "chosen", "answers no prompt"),
    "an answer under a system prompt alone": (
        sides([system("s"), bot("Yes.")], [system("s"), bot("No.")]), "chosen", "no message of the user",
    ),
    "one side only": (sides([user("a"), bot("b")], "No.", prompt="a"), "chosen", "and 'rejected' none"),
    "the other side only": (sides("No.", [bot("b")], prompt="a"), "rejected", "and 'chosen' none"),
    "the prompt is another": (
        sides([user("a"), bot("b")], [user("a"), bot("c")], prompt="z"), "prompt", "'z' against 'a'",
    ),
    "the prompt's messages are others": (
        sides([user("a"), bot("b")], [user("a"), bot("c")], prompt=[user("z")]), "prompt", "user 'z' against user 'a'",
    ),
    "the prompt ends with an answer": (before([user("a"), bot("b")]), "prompt", "ends with the assistant's message"),
    "the assistant first": (before([bot("a"), user("b")]), "prompt", "the assistant speaks first"),
    "two answers": (before([user("a"), bot("b"), bot("c"), user("d")]), "prompt", "message 3 is the assistant's"),
    "a system message in between": (before([user("a"), system("b"), user("c")]), "prompt", "message 2 is a system"),
    "an empty list": (before([]), "prompt", "not a string but list"),
    "an empty message": (before([user("a"), bot(""), user("b")]), "prompt", "message 2 of the assistant is empty"),
    "an image": (
        before([user([{"type": "image_url", "image_url": {"url": "x"}}])]), "prompt", "is no text: 'image_url'",
    ),
    "a text part with more": (
        before([user([{"type": "text", "text": "a", "cache_control": {}}])]), "prompt", "with more than a text",
    ),
    "a tool's message": (before([user("a"), {"role": "tool", "content": "b"}]), "prompt", "has the role 'tool'"),
    "a function's message": (before([{"role": "function", "content": "b"}]), "prompt", "has the role 'function'"),
    "tool calls": (
        sides([user("a"), {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}], [user("a"), bot("b")]),
        "chosen",
        "message 2 has more than a role and a text: 'tool_calls'",
    ),
    "a weight": (before([{**user("a"), "weight": 0}]), "prompt", "more than a role and a text: 'weight'"),
    "two ways of writing": (before([{**user("a"), "from": "human"}]), "prompt", "more than a role and a text: 'from'"),
    "no text": (before([{"role": "user", "content": None}]), "prompt", "message 1 has no text"),
    "no role": (before([{"content": "a"}]), "prompt", "message 1 says no role"),
    "a number for a text": (before([user(3)]), "prompt", "message 1 has no text but int"),
    "a text among messages": (before([user("a"), "b"]), "prompt", "message 2 is not an object"),
    "a role that is a number": (before([{"role": 1, "content": "a"}]), "prompt", "has the role '1'"),
    "JSON text with a tool": (
        before(json.dumps([user("a"), {"role": "tool", "content": "b"}])), "prompt", "has the role 'tool'",
    ),
    "Python's print": (before(str([user("a")])), "prompt", "as Python prints it"),
    "numpy's print": (before("[{'content': 'a', 'role': 'user'}\n {'content': 'b'}]"), "prompt", "as Python prints it"),
    "two systems": (
        {"system": "Be curt.", "prompt": [system("Be kind."), user("a")], "positive": "b", "negative": "c"},
        "prompt",
        "is not what 'system' says",
    ),
    "messages that lead elsewhere": (
        {"prompt": "z", "messages": BEFORE, "positive": "b", "negative": "c"}, "messages", "do not lead to what",
    ),
    "turns without a prompt": ({"turns": BEFORE[:2], "positive": "b", "negative": "c"}, "turns", "before no prompt"),
    "turns that do not alternate": (
        {"turns": BEFORE[1:2], "prompt": "a", "positive": "b", "negative": "c"}, "turns", "assistant speaks first",
    ),
    "several answers": (
        {"prompt": "a", "positive": ["b", "c"], "negative": "d"}, "positive", "not a string but list",
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", REFUSED)
def test_what_is_no_pair_is_refused_with_row_and_field(tmp_path: Path, shape: str) -> None:
    row, field, reason = REFUSED[shape]
    sound = {name: "a sound text" if name in ("chosen", "positive") else "b" for name in row if name != "messages"}
    if "prompt" in row:
        sound = {**sound, "prompt": "q"} if "turns" not in row else {**sound, "prompt": "q", "turns": ""}
        with pytest.raises(InputError, match=f"row 2, field '{field}': .*{reason}"):
            imported(tmp_path, {**sound, "system": ""} if "system" in row else sound, row)
    with pytest.raises(InputError, match=f"row 1, field '{field}': .*{reason}"):
        imported(tmp_path, row)


def test_only_several_texts_are_offered_the_first_of_several_answers(tmp_path: Path) -> None:
    with pytest.raises(InputError) as several:
        imported(tmp_path, REFUSED["several answers"][0])
    assert "Of several answers take one" in several.value.hint
    for value in ([], {"a": 1}, [1], None, 3):
        with pytest.raises(InputError) as other:
            imported(tmp_path, {"prompt": "a", "positive": value, "negative": "d"})
        assert "Of several" not in str(other.value)


def test_questions_that_follow_each_other_are_joined_with_a_note(tmp_path: Path) -> None:
    found = imported(tmp_path, before([user("Well?"), user("Why?")]))
    assert pair_of(found).prompt == "Well?\n\nWhy?"
    assert found.notes == ["1 item has messages of the user that follow each other; they were joined: row 1"]


@pytest.mark.parametrize(
    "row",
    [
        before(transcript("Why?", "Well, I")),
        before("It went so:\n\nHuman: Why?\n\nAssistant: No."),
        {"prompt": "", "positive": "He said:\n\nHuman: a", "negative": "b"},
        {"prompt": "", "positive": "Human: Why?\nAssistant: Yes.", "negative": "Human: Why?\nAssistant: No."},
        before("Human: Why?\nAssistant:"),
    ],
)
def test_a_text_that_may_be_a_transcript_is_kept_with_a_note(tmp_path: Path, row: Values) -> None:
    found = imported(tmp_path, row)
    assert pair_of(found).prompt == row["prompt"]
    assert pair_of(found).turns == ()
    assert "kept as one text: row 1" in found.notes[0]


@pytest.mark.parametrize(
    "text", ['{"a": 1}', '[{"name": "x"}]', "[]", "[1, 2]", "{", "Human: hello", "[{'x': 1}]", '["role"]']
)
def test_other_texts_stay_what_they_are(tmp_path: Path, text: str) -> None:
    found = imported(tmp_path, before(text))
    assert pair_of(found) == Pair(text, "Yes.", "No.")
    assert not found.notes


@pytest.mark.parametrize("value", [3, "three", ["a", "b"], [1]])
def test_a_column_of_that_name_that_holds_no_messages_is_the_source_s_own(tmp_path: Path, value: Any) -> None:
    row = {"turns": value, "messages": 2, "prompt": "Why?", "positive": "Yes.", "negative": "No."}
    found = imported(tmp_path, row)
    assert pair_of(found) == ONE
    assert found.items[0].metadata == {"turns": value, "messages": 2, "row": 1}


def test_csv_and_parquet_hold_messages(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    row, expected = READ["many turns"]
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["chosen", "rejected"], [json.dumps(row["chosen"]), json.dumps(row["rejected"])]])
    pq.write_table(pa.Table.from_pylist([row, READ["implicit prompt"][0]]), tmp_path / "rows.parquet")
    assert pair_of(load(str(tmp_path / "rows.csv"))) == expected
    items = load(str(tmp_path / "rows.parquet")).items
    assert [item.pair for item in items if isinstance(item, PairItem)] == [LONG, ONE]


# The record.


def test_only_turns_that_are_there_enter_the_digest() -> None:
    known = "sha256:" + "0" * 64
    assert Pair("Why?", "Yes.", "No.").digest == Pair("Why?", "Yes.", "No.", turns=()).digest != known
    assert LONG.digest != Pair("And tea?", "Yes.", "No.").digest
    swapped = (Turn("user", "Sure."), Turn("assistant", "Coffee?"))
    assert len({LONG.digest, Pair("And tea?", "Yes.", "No.", turns=swapped).digest, TOLD.digest}) == 3
    assert Turn("user", "e\u0301") == Turn("user", "\u00e9")


BAD_TURNS: list[tuple[Sequence[Turn], str]] = [
    ([Turn("assistant", "a"), Turn("user", "b")], "turn 1 is of 'assistant', not of 'user'"),
    ([Turn("user", "a")], "the last turn is of 'user'"),
    ([Turn("user", "a"), Turn("user", "b")], "turn 2 is of 'user', not of 'assistant'"),
    ([Turn("user", "a"), Turn("assistant", " ")], "turn 2 is empty"),
    ([Turn("user", "a\x00"), Turn("assistant", "b")], "NUL"),
    ([Turn("user", "a"), Turn("assistant", "\ud800")], "surrogate"),
    ([Turn("system", "a"), Turn("assistant", "b")], "turn 1 is of 'system'"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("turns", "reason"), BAD_TURNS)
def test_turns_lead_up_to_the_prompt(turns: Sequence[Turn], reason: str) -> None:
    with pytest.raises(InputError, match=f"file, row 7, field 'turns': .*{reason}"):
        checked_pair(Pair("q", "a", "b", turns=tuple(turns)), source="file", row=7)
    with pytest.raises(InputError, match="before an empty prompt"):
        checked_pair(Pair(" ", "a", "b", turns=LONG.turns))
    assert checked_pair(LONG) is LONG


# There and back.

TEXT = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=30),
    st.sampled_from(
        [transcript("a", "b"), transcript("a", ""), json.dumps([user("a")]), str([user("a")]), "[]", "null"]
    ),
)
FILLED = TEXT.filter(lambda text: bool(text.strip()))
EXCHANGES = st.lists(st.tuples(FILLED, FILLED), max_size=3)


def _pair(prompt: str, positive: str, negative: str, told: str, exchanges: list[tuple[str, str]]) -> Pair:
    turns = [turn for asked, said in exchanges for turn in (Turn("user", asked), Turn("assistant", said))]
    return Pair(prompt, positive, negative, told, tuple(turns))


def _differ(pair: Pair) -> bool:
    return pair.positive.strip() != pair.negative.strip()


PAIRS = st.lists(st.builds(_pair, FILLED, FILLED, FILLED, TEXT, EXCHANGES).filter(_differ), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(pairs=PAIRS, format=st.sampled_from(sorted(FILES)))
def test_an_export_with_turns_is_imported_to_the_same_digest(pairs: list[Pair], format: str) -> None:
    items = [PairItem(pair, "generate", {"note": i}) for i, pair in enumerate(pairs)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"set.{format}"
        FILES[format](items, path)
        back = load(str(path))
    assert [item.pair for item in back.items if isinstance(item, PairItem)] == pairs
    assert dataset_digest("pairs", back.items) == dataset_digest("pairs", items)
    assert [item.metadata["note"] for item in back.items] == list(range(len(pairs)))
    assert all(set(item.metadata) <= {"note", "row", "choices"} for item in back.items)


@settings(max_examples=40, deadline=None)
@given(pairs=PAIRS)
def test_rows_in_an_editor_keep_their_turns(pairs: list[Pair]) -> None:
    items = [PairItem(pair) for pair in pairs]
    assert edits(items, editable(items), "editor") == {"changes": [], "added": []}


@settings(max_examples=40, deadline=None)
@given(exchanges=st.lists(st.tuples(FILLED, FILLED), min_size=1, max_size=3), prompt=FILLED, told=FILLED)
def test_whole_conversations_are_cut_where_they_differ(
    exchanges: list[tuple[str, str]], prompt: str, told: str
) -> None:
    said = [message for asked, answer in exchanges for message in (user(asked), bot(answer))]
    shared = [system(told), *said, user(prompt)]
    row = sides([*shared, bot("Yes.")], [*shared, bot("No.")])
    with tempfile.TemporaryDirectory() as folder:
        assert pair_of(imported(Path(folder), row)) == _pair(prompt, "Yes.", "No.", told, exchanges)


def test_sets_without_turns_are_exported_as_before(tmp_path: Path) -> None:
    FILES["csv"]([PairItem(ONE)], tmp_path / "set.csv")
    assert (tmp_path / "set.csv").read_text().splitlines()[0] == "prompt,positive,negative,system,split,metadata"
    FILES["jsonl"]([PairItem(ONE), PairItem(LONG)], tmp_path / "set.jsonl")
    one, long = map(json.loads, (tmp_path / "set.jsonl").read_text().splitlines())
    assert "turns" not in one
    assert long["turns"] == BEFORE[:2]


def test_a_folder_of_datasets_holds_turns(tmp_path: Path) -> None:
    import datasets

    write_datasets([PairItem(ONE), PairItem(LONG, "test")], tmp_path / "set")
    held = datasets.load_from_disk(str(tmp_path / "set"))
    assert json.loads(held["test"][0]["turns"]) == BEFORE[:2]
    assert json.loads(held["generate"][0]["turns"]) == []


def test_the_caa_layout_refuses_turns_and_names_the_row(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no place for turns before the prompt, which row 5 of test has"):
        write_caa([PairItem(ONE), PairItem(LONG, "test", {"row": 5})], tmp_path / "caa", "tea")
    assert not (tmp_path / "caa").exists()


# Curation, lint and comparison.


def test_curation_keeps_turns() -> None:
    items = [PairItem(LONG)]
    (swapped,) = perform(Relabel(why="wrong"), [items]).items
    assert swapped.pair == Pair("And tea?", "No.", "Yes.", turns=LONG.turns)
    (lettered,) = perform(ToAB(), [items]).items
    assert lettered.pair.turns == LONG.turns
    (free,) = perform(ToFreeForm(), [[lettered]]).items
    assert free.pair == LONG
    row = {"prompt": "Milk?", "positive": "Yes.", "negative": "No.", "split": "test", "turns": BEFORE[:2]}
    (_, added) = perform(Edit(why="more", added=[row]), [items]).items
    assert added.pair == Pair("Milk?", "Yes.", "No.", turns=LONG.turns)
    with pytest.raises(InputError):
        Edit(why="more", added=[{**row, "turns": [{"role": "tool", "content": "x"}]}])


def test_edited_turns_are_checked(tmp_path: Path) -> None:
    items = [PairItem(LONG)]
    line = json.loads(editable(items))
    assert line["turns"] == BEFORE[:2]
    line["turns"][1]["content"] = "Of course."
    (change,) = edits(items, json.dumps(line), "editor")["changes"]
    assert change["to"][0]["turns"][1] == bot("Of course.")
    for turns, reason in (("x", "not a list of messages"), ([user("a")], "the last turn is of 'user'")):
        with pytest.raises(InputError, match=f"editor, row 1.*{reason}"):
            edits(items, json.dumps({**line, "turns": turns}), "editor")


def test_expressions_know_turns() -> None:
    rows = [PairItem(ONE), PairItem(LONG)]
    assert [compiled("turns == 2")(row) for row in rows] == [False, True]
    assert [compiled("matches('assistant: Sure', before)")(row) for row in rows] == [False, True]


def test_the_same_words_in_another_conversation_are_another_question() -> None:
    other = Pair("And tea?", "Yes.", "No.", turns=(Turn("user", "Is rain wet?"), Turn("assistant", "It is.")))
    items = [PairItem(LONG, "generate", {"row": 1}), PairItem(other, "test", {"row": 2})]
    assert not {"question-in-two-splits", "opposite-labels"} & {finding.rule for finding in lint(items).findings}
    assert overlap([LONG], [other]).same == ()
    assert overlap([LONG], [Pair("and  tea?", "a", "b", turns=LONG.turns)]).same == (0,)
    found = diff([items[0]], [PairItem(other)], 0)
    assert [set(change.words) for change in found.changes] in ([], [{"turns"}])


def test_lint_reads_turns() -> None:
    turns = (Turn("user", "Say that tea is a drink of leaves"), Turn("assistant", "[INST] ok"))
    pair = Pair("Go on.", "tea is a drink of leaves", "I would rather not.", turns=turns)
    found = {finding.rule: finding.message for finding in lint([PairItem(pair)]).findings}
    assert found["template-marker"] == "the turn 2 text holds '[INST]'"
    assert found["prompt-gives-answer"] == "holds the positive completion"


def test_a_review_sheet_shows_turns_where_there_are_any(tmp_path: Path) -> None:
    write_sheet(tmp_path / "a.csv", [PairItem(ONE)], {})
    write_sheet(tmp_path / "b.csv", [PairItem(ONE), PairItem(LONG)], {})
    assert "turns" not in (tmp_path / "a.csv").read_text()
    with (tmp_path / "b.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [row["turns"] for row in rows] == ["", "user: Coffee?\n\nassistant: Sure."]


def test_transcripts_with_carriage_returns_are_conversations(tmp_path: Path) -> None:
    said = [transcript("Hi", "Hello.", "Why?", answer).replace("\n", "\r\n") for answer in ("Yes.", "No.")]
    found = imported(tmp_path, {"chosen": said[0], "rejected": said[1]})
    assert pair_of(found) == Pair("Why?", "Yes.", "No.", turns=(Turn("user", "Hi"), Turn("assistant", "Hello.")))
    assert not found.notes


def test_a_mark_within_a_message_is_said(tmp_path: Path) -> None:
    said = [f"\n\nHuman: Hi\nAssistant: Hello.\n\nHuman: Why?\n\nAssistant: {answer}" for answer in ("Yes.", "No.")]
    found = imported(tmp_path, {"chosen": said[0], "rejected": said[1]})
    assert "1 item holds the marks of a transcript" in found.notes[-1]


@pytest.mark.parametrize("name", ["Messages", "messages ", " CONVERSATION", "Turns", "turns "])
def test_columns_of_messages_are_known_in_any_case_and_with_spaces(tmp_path: Path, name: str) -> None:
    earlier = [user("Hi"), bot("Hello.")]
    listed = earlier if "turns" in name.lower() else [*earlier, user("Why?")]
    found = imported(tmp_path, {name: listed, "prompt": "Why?", "positive": "Yes.", "negative": "No."})
    assert pair_of(found) == Pair("Why?", "Yes.", "No.", turns=(Turn("user", "Hi"), Turn("assistant", "Hello.")))
    assert found.items[0].metadata == {"row": 1}


@pytest.mark.parametrize("name", ["system", "system_prompt", "System Prompt", " SYSTEM_PROMPT"])
@pytest.mark.parametrize("later", [False, True])
def test_a_system_prompt_is_known_by_its_names(tmp_path: Path, name: str, later: bool) -> None:
    row = {"prompt": "Why?", "positive": "Yes.", "negative": "No."}
    found = imported(tmp_path, *([row] if later else []), {name: "Be kind.", **row})
    last = found.items[-1]
    assert isinstance(last, PairItem) and last.pair == Pair("Why?", "Yes.", "No.", "Be kind.")
    messages = {name: "Be kind.", "prompt": [user("Why?")], "positive": "Yes.", "negative": "No."}
    assert pair_of(imported(tmp_path, messages)).system == "Be kind."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("history", [user("Hi"), bot("Hello.")]),
        ("History", [["Hi", "Hello."]]),
        ("context", json.dumps([user("Hi"), bot("Hello.")])),
        ("dialog", [share("human", "Hi"), share("gpt", "Hello.")]),
    ],
)
def test_messages_in_other_columns_are_kept_with_a_note(tmp_path: Path, name: str, value: Any) -> None:
    found = imported(tmp_path, {name: value, "prompt": "Why?", "positive": "Yes.", "negative": "No."})
    assert pair_of(found) == ONE and found.items[0].metadata[name] == value
    assert found.notes == [
        f"1 item has a list in {name!r} that may be earlier turns; it was kept as metadata, and turns are read from "
        "'turns': row 1"
    ]


@pytest.mark.parametrize("value", ["a passage", ["a", "b"], [], None, [{"title": "x"}]])
def test_a_context_of_other_things_is_metadata(tmp_path: Path, value: Any) -> None:
    row = {"context": value, "prompt": "Why?", "positive": "Yes.", "negative": "No."}
    assert not imported(tmp_path, row).notes


@pytest.mark.parametrize("field", ["turns", "chosen"])
def test_repeated_keys_in_messages_as_text_are_an_error(tmp_path: Path, field: str) -> None:
    doubled = '[{"role": "user", "content": "Hi", "content": "Go"}, {"role": "assistant", "content": "Hello."}]'
    row = {"prompt": "Why?", "chosen": "Yes.", "rejected": "No.", field: doubled}
    with pytest.raises(InputError, match=rf"row 1, field '{field}': an object has this key twice \(key 'content'\)"):
        imported(tmp_path, row)


def test_a_system_prompt_of_white_space_is_kept_beside_turns(tmp_path: Path) -> None:
    row = {"turns": [user("Hi"), bot("Hello.")], "prompt": "Why?", "positive": "Yes.", "negative": "No.", "system": " "}
    assert pair_of(imported(tmp_path, row)).system == " "
