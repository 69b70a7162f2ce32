"""Operations on sets of pairs: what they promise, on any rows in any order."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pairs.test_pairs_lint import paper, similarity
from support.planted import set_of

from caa_registry.digests import canonical_json
from caa_registry.errors import CaaError, InputError, UsageError
from caa_registry.pairs.answers import choices, letter_of
from caa_registry.pairs.curation import operations
from caa_registry.pairs.curation.editing import chosen_rows, editable, edits
from caa_registry.pairs.curation.operation import POSITIVE
from caa_registry.pairs.curation.operations import (
    OPERATIONS,
    Balance,
    Dedupe,
    Drop,
    Edit,
    Expand,
    Filter,
    Keep,
    Merge,
    Operation,
    Relabel,
    Sample,
    Split,
    ToAB,
    ToFreeForm,
    operation_of,
)
from caa_registry.pairs.curation.result import CurationResult
from caa_registry.pairs.curation.templates import read_template
from caa_registry.pairs.questions import said
from caa_registry.pairs.record import Pair, PairItem
from caa_registry.progress import Progress

Items = Sequence[PairItem]

WORDS = st.lists(
    st.sampled_from(["the", "sea", "was", "calm", "and", "a", "boat", "went", "by", "so", "we", "sang"]),
    min_size=1,
    max_size=9,
)
TEXT = WORDS.map(" ".join)
FREE = st.builds(
    lambda prompt, positive, negative: Pair(prompt, positive, f"not {negative}"), TEXT | st.just(""), TEXT, TEXT
)
AB = st.builds(
    lambda question, one, other, first: Pair(
        f"{question}\n\nChoices:\n (A) {one}\n (B) not {other}", *(("(A)", "(B)") if first else ("(B)", "(A)"))
    ),
    TEXT,
    TEXT,
    TEXT,
    st.booleans(),
)
ITEM = st.builds(
    PairItem,
    FREE | AB,
    st.sampled_from(["generate", "test"]),
    st.fixed_dictionaries({"row": st.integers(1, 99)}, optional={"category": st.sampled_from(["x", "y"])}),
)
ITEMS = st.lists(ITEM, min_size=1, max_size=14)

GIVEN: dict[str, dict[str, Any]] = {
    "split": {"test": "0.3", "dev": "0.1", "seed": 3},
    "dedupe": {"near": "0.8", "questions": False},
    "balance": {"seed": 3},
    "filter": {"expression": "words(positive) > 2 or choices == 2"},
    "sample": {"n": 5, "seed": 3, "per_category": False},
    "relabel": {"where": "len(prompt) > 20", "why": ""},
    "to-ab": {"seed": 3},
    "to-free-form": {},
}


def perform(name: str, sets: Sequence[Items], parameters: Any) -> CurationResult:
    """What a recipe's operation gives."""
    return operations.perform(operation_of(name, parameters, len(sets)), sets)


def held(items: Items) -> Counter[tuple[str, str]]:
    return Counter((item.digest, item.split) for item in items)


@pytest.mark.parametrize("operation", GIVEN)
@given(items=ITEMS, rng=st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(operation: str, items: list[PairItem], rng: random.Random) -> None:
    shuffled = rng.sample(items, len(items))
    assert held(perform(operation, [items], GIVEN[operation]).items) == held(
        perform(operation, [shuffled], GIVEN[operation]).items
    )


@given(ITEMS, ITEMS)
def test_merging_does_not_depend_on_which_set_is_first(one: list[PairItem], other: list[PairItem]) -> None:
    merged = held(perform("merge", [one, other], {}).items)
    assert merged == held(perform("merge", [other, one], {}).items) == held(one) | held(other)


@given(ITEMS, ITEMS)
def test_deduping_leaves_nothing_to_do(items: list[PairItem], against: list[PairItem]) -> None:
    once = perform("dedupe", [items, against], GIVEN["dedupe"]).items
    assert held(perform("dedupe", [once, against], GIVEN["dedupe"]).items) == held(once)
    assert max(Counter(item.digest for item in once).values(), default=1) == 1
    assert not {item.digest for item in once} & {item.digest for item in against}
    # Of what was the same, the row of the test split stays.
    in_test = {item.digest for item in items if item.split == "test"}
    assert all(item.split == "test" for item in once if item.digest in in_test)


@given(ITEMS)
def test_splitting_is_a_partition_that_keeps_together_what_is_alike(items: list[PairItem]) -> None:
    done = perform("split", [items], GIVEN["split"]).items
    assert Counter(item.digest for item in done) == Counter(item.digest for item in items)
    assert {item.split for item in done} <= {"generate", "dev", "test"}
    for texts in ([item.digest for item in done], [item.pair.prompt for item in done if item.pair.prompt]):
        splits = [{item.split for item in done if text in (item.digest, item.pair.prompt)} for text in texts]
        assert all(len(found) == 1 for found in splits)


def variants(n: int, changed: int) -> list[PairItem]:
    """One text of 60 words, ``changed`` words of it other in each."""
    chance = random.Random(n + changed)
    words = [f"word{i}" for i in range(60)]
    made = []
    for i in range(n):
        own = list(words)
        for place in chance.sample(range(60), changed):
            own[place] = f"other{chance.randrange(10**9)}"
        made.append(PairItem(Pair(" ".join(own), "It is so.", f"It is not so, {i}.")))
    return made


def alike(one: Pair, other: Pair) -> bool:
    return similarity(one, other) >= 0.8


@pytest.mark.parametrize(("n", "changed"), [(300, 1), (300, 2), (150, 3)])
def test_many_variants_of_one_text(n: int, changed: int) -> None:
    items = variants(n, changed)
    kept = perform("dedupe", [items], GIVEN["dedupe"]).items
    assert not any(alike(kept[i].pair, kept[j].pair) for i in range(len(kept)) for j in range(i))
    # Each row that went is nearly one that stayed.
    stayed = {item.digest for item in kept}
    assert all(any(alike(i.pair, k.pair) for k in kept) for i in items if i.digest not in stayed)
    done = perform("split", [items], {"test": "0.3", "dev": "0", "seed": 1}).items
    sides = [[item.pair for item in done if item.split == split] for split in ("generate", "test")]
    assert not any(alike(one, other) for one in sides[0] for other in sides[1])


def test_shares_of_more_than_everything() -> None:
    with pytest.raises(UsageError, match="add up to more than 1"):
        perform("split", [ROWS], {"test": "0.8", "dev": "0.5", "seed": 0})


def test_a_pattern_without_an_end_is_stopped() -> None:
    with pytest.raises(InputError, match="cannot be evaluated"):
        perform("filter", [[PairItem(Pair("a" * 40 + "!", "a", "b"))]], {"expression": "matches('(a|aa)+$', prompt)"})


def test_splitting_gives_the_shares_asked_for() -> None:
    items = set_of(random.Random(1), 200)
    done = perform("split", [items], {"test": "0.2", "dev": "0.1", "seed": 0}).items
    assert Counter(item.split for item in done) == {"generate": 140, "test": 40, "dev": 20}
    other = perform("split", [items], {"test": "0.2", "dev": "0.1", "seed": 1}).items
    assert held(done) != held(other)


def test_nearly_the_same_rows_go_to_one_split() -> None:
    items = set_of(random.Random(2), 60)
    twins = [PairItem(Pair(f"{i.pair.prompt} indeed", i.pair.positive, i.pair.negative)) for i in items]
    done = {item.pair.prompt: item.split for item in perform("split", [[*items, *twins]], GIVEN["split"]).items}
    assert all(done[item.pair.prompt] == done[f"{item.pair.prompt} indeed"] for item in items)
    assert len(set(done.values())) == 3


@given(ITEMS)
def test_balancing_evens_letters_and_keeps_what_is_said(items: list[PairItem]) -> None:
    done = perform("balance", [items], GIVEN["balance"]).items
    assert Counter((said(item.pair), item.split) for item in done) == Counter(
        (said(item.pair), item.split) for item in items
    )
    for split in ("generate", "test"):
        letters = [letter_of(item.pair.positive) for item in done if item.split == split and choices(item.pair.prompt)]
        assert abs(letters.count("A") - letters.count("B")) <= 1


def test_balancing_the_papers_set(caa_data: Path) -> None:
    items = paper(caa_data, "survival-instinct")
    two = perform("filter", [items], {"expression": "choices == 2"}).items
    done = perform("balance", [two], {"seed": 0}).items
    letters = Counter((item.split, item.pair.positive) for item in done)
    assert letters["generate", "(A)"] == letters["generate", "(B)"] == 332
    before, after = ({(*said(i.pair), i.pair.prompt.split("\n")[0]) for i in rows} for rows in (two, done))
    assert after == before


def test_options_that_speak_of_one_another_keep_their_places() -> None:
    items = [PairItem(Pair(f"{i}?\n (A) Yes\n (B) the first of the two", "(A)", "(B)")) for i in range(6)]
    assert held(perform("balance", [items], {"seed": 0}).items) == held(items)


@given(ITEMS)
def test_relabelling_twice_changes_nothing(items: list[PairItem]) -> None:
    once = perform("relabel", [items], {"where": None, "why": ""}).items
    assert [(i.pair.positive, i.pair.negative) for i in once] == [(i.pair.negative, i.pair.positive) for i in items]
    assert list(perform("relabel", [once], {"where": None, "why": ""}).items) == items


@given(st.lists(st.builds(PairItem, FREE), max_size=12))
def test_free_form_pairs_come_back_from_letters(items: list[PairItem]) -> None:
    letters = perform("to-ab", [items], {"seed": 0}).items
    assert list(perform("to-free-form", [letters], {}).items) == [item for item in items if item.pair.prompt]
    matching = [item.pair.positive for item in letters]
    assert abs(matching.count("(A)") - matching.count("(B)")) <= 1


@given(ITEMS, st.integers(1, 12))
def test_a_larger_sample_holds_a_smaller_one(items: list[PairItem], n: int) -> None:
    small = held(perform("sample", [items], {"n": n, "seed": 1, "per_category": False}).items)
    large = held(perform("sample", [items], {"n": n + 3, "seed": 1, "per_category": False}).items)
    assert small.total() == min(n, len(items)) and small <= large <= held(items)


def test_so_many_of_each_category() -> None:
    items = [PairItem(Pair(f"{i}?", "a", "b"), metadata={"category": "xy"[i % 3 == 0]}) for i in range(12)]
    result = perform("sample", [items], {"n": 5, "seed": 1, "per_category": True})
    assert Counter(item.metadata["category"] for item in result.items) == {"x": 5, "y": 4}
    assert result.notes == ["there are only 4 rows of y"]


ROWS = [
    PairItem(Pair("Is it?\n (A) Yes\n (B) No", "(A)", "(B)"), metadata={"row": 1, "category": "x"}),
    PairItem(Pair("Was it?", "It was.", "It was not."), "test", {"row": 1}),
    PairItem(Pair("Was it so?", "It was.", "It was not."), metadata={"row": 2}),
]


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("choices == 2", [0]),
        ("split == 'test' or letter == 'A'", [0, 1]),
        ("form in ('A/B', 'yes-no')", [0]),
        ("meta('category') == 'x'", [0]),
        ("not matches('^was', lower(prompt))", [0]),
        ("matching == 'Yes' and other == 'No'", [0]),
        ("words(negative) == 3 and len(question) > 8", [2]),
        ("True", [0, 1, 2]),
    ],
)
def test_expressions(expression: str, kept: list[int]) -> None:
    assert list(perform("filter", [ROWS], {"expression": expression}).items) == [ROWS[i] for i in kept]


@pytest.mark.parametrize(
    "expression",
    ["prompt.upper()", "().__class__", "open('x')", "__import__('os')", "9 ** 9 ** 9", "nothing", "1 +", "lambda: 1",
     "matches('(', prompt)", "len(3)", "prompt.__class__", "'a' * 10 ** 9", "(" * 300 + ")" * 300,
     "1 / 0", "x := 1", "f'{prompt.__class__}'", "meta.__self__", ""],
)  # fmt: skip
def test_what_no_expression_may_do(expression: str) -> None:
    with pytest.raises(CaaError) as caught:
        perform("filter", [ROWS], {"expression": expression})
    assert "Names: prompt" in caught.value.hint


@given(st.text(max_size=40))
def test_no_expression_crashes(expression: str) -> None:
    with contextlib.suppress(InputError, UsageError):
        perform("filter", [ROWS], {"expression": expression})


SIDES = {"positive": "a", "negative": "b"}


@pytest.mark.parametrize(
    ("operation", "parameters", "sets", "field"),
    [
        ("explode", {}, 1, "name"),
        ("split", {"test": 0.2, "dev": "0", "seed": 0}, 1, "parameters.test"),
        ("split", {"test": "2", "dev": "0", "seed": 0}, 1, "parameters.test"),
        ("split", {"test": "nan", "dev": "0", "seed": 0}, 1, "parameters.test"),
        ("split", {"test": "0.2", "dev": "0", "seed": True}, 1, "parameters.seed"),
        ("split", {"test": "0.2", "dev": "0"}, 1, "parameters.seed"),
        ("balance", {"seed": 0, "more": 1}, 1, "parameters.more"),
        ("sample", {"n": 0, "seed": 0, "per_category": False}, 1, "parameters.n"),
        ("drop", {"rows": [{"pair": "sha256:1", "split": "test"}], "why": ""}, 1, "parameters.rows"),
        ("edit", {"changes": [], "added": [{"positive": "a"}], "why": ""}, 1, "parameters.added"),
        ("edit", {"changes": [], "added": [{**SIDES, "split": "../x"}], "why": ""}, 1, "parameters.added"),
        ("expand", {"template": {"positive": "{x}", "negative": "b"}}, 0, "positive"),
        ("merge", {}, 1, "inputs"),
        ("balance", {"seed": 0}, 2, "inputs"),
        ("balance", [], 1, "parameters"),
    ],
)  # fmt: skip
def test_recipes_of_others_are_checked(operation: str, parameters: Any, sets: int, field: str) -> None:
    with pytest.raises(InputError) as caught:
        perform(operation, [ROWS] * sets, parameters)
    assert caught.value.field == field


def test_every_operation_has_a_place_in_these_tests() -> None:
    assert {*GIVEN, "merge", "drop", "keep", "edit", "expand"} == set(OPERATIONS)


ROW = {"pair": f"sha256:{'0' * 64}", "split": "test"}


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        (Split(0.25), {"test": "0.25", "dev": "0", "seed": 0}),
        (Split(0.2, 0.0, 3), {"test": "0.2", "dev": "0.0", "seed": 3}),
        (Dedupe(), {"near": "0.8", "questions": False}),
        (Dedupe(None, questions=True), {"near": None, "questions": True}),
        (Dedupe(0.9), {"near": "0.9", "questions": False}),
        (Balance(), {"seed": 0}),
        (Filter("choices == 2"), {"expression": "choices == 2"}),
        (Sample(9), {"n": 9, "seed": 0, "per_category": False}),
        (Merge(), {}),
        (Relabel("a test"), {"where": None, "why": "a test"}),
        (Edit("a test"), {"changes": [], "added": [], "why": "a test"}),
        (
            Edit("a test", added=[{"positive": "a", "negative": "b", "metadata": {"n": 0.5}}]),
            {
                "changes": [],
                "added": [{"positive": "a", "negative": "b", "metadata": {"n": "0.5"}}],
                "why": "a test",
            },
        ),
        (Drop([ROW], "a test"), {"rows": [ROW], "why": "a test"}),
        (Keep([ROW["pair"]], "a test"), {"pairs": [ROW["pair"]], "why": "a test"}),
        (ToAB(), {"seed": 0}),
        (ToFreeForm(), {}),
        (Expand({"positive": "a", "negative": "b"}), {"template": {"positive": "a", "negative": "b"}}),
    ],
)
def test_an_operation_is_stored_as_ever_and_read_back(operation: Operation, parameters: dict[str, Any]) -> None:
    assert operation.parameters == parameters
    assert operation_of(operation.name, parameters, operation.takes[0]) == operation
    # What is stored is as text what a person gave as a number, and stays the text that it is.
    assert canonical_json(operation_of(operation.name, parameters, operation.takes[0]).parameters) == canonical_json(
        parameters
    )


def test_an_operation_that_exists_has_good_parameters() -> None:
    for wrong in (lambda: Split(1.5), lambda: Sample(0), lambda: Keep(["x"], ""), lambda: Drop([{"pair": "x"}], "")):
        with pytest.raises(InputError, match="does not take"):
            wrong()
    parameters = Drop([ROW], "a test").parameters
    parameters["why"] = "changed"
    assert Drop([ROW], "a test").parameters["why"] == "a test"


def test_an_operation_from_elsewhere_is_one_class_and_one_registration() -> None:
    @dataclass(frozen=True)
    class Shorten(Operation):
        name = "shorten"
        words: int = field(metadata=POSITIVE)

        def run(self, sets: Sequence[Items], progress: Progress | None = None) -> CurationResult:
            (items,) = sets
            return CurationResult([item for item in items if len(item.pair.prompt.split()) <= self.words])

    with OPERATIONS.register(Shorten.name, Shorten):
        assert operation_of("shorten", {"words": 2}, 1) == Shorten(2)
        assert list(perform("shorten", [ROWS], {"words": 2}).items) == [ROWS[1]]
        with pytest.raises(InputError) as caught:
            operation_of("shorten", {"words": 0}, 1)
        assert caught.value.field == "parameters.words"
    with pytest.raises(InputError, match="no operation 'shorten'"):
        operation_of("shorten", {"words": 2}, 1)


def test_rows_are_named_by_number_or_digest() -> None:
    digests = [item.digest for item in ROWS]
    assert chosen_rows(ROWS, "2", None) == [{"pair": digests[2], "split": "generate"}]
    assert len(chosen_rows(ROWS, "1-2", "generate")) == 2
    assert chosen_rows(ROWS, digests[1][7:19], None) == [{"pair": digests[1], "split": "test"}]
    assert chosen_rows(ROWS, digests[1], None) == [{"pair": digests[1], "split": "test"}]
    with pytest.raises(UsageError, match="generate and test"):
        chosen_rows(ROWS, "1", None)
    for text in ("9", "x", "", "1-", "sha256:ffffffffffff"):
        with pytest.raises(UsageError):
            chosen_rows(ROWS, text, None)
    done = perform("drop", [ROWS], {"rows": chosen_rows(ROWS, "1", "test"), "why": "no"})
    assert list(done.items) == [ROWS[0], ROWS[2]]
    with pytest.raises(InputError, match="holds no pair"):
        perform("drop", [ROWS[:1]], {"rows": chosen_rows(ROWS, "2", None), "why": "no"})
    kept = perform("keep", [ROWS], {"pairs": digests[:1], "why": "yes"})
    assert list(kept.items) == ROWS[:1]


@given(ITEMS)
def test_an_edit_without_a_change_changes_nothing(items: list[PairItem]) -> None:
    assert edits(items, editable(items), "x") == {"changes": [], "added": []}


@given(ITEMS, ITEMS)
def test_any_edit_gives_the_rows_of_the_edited_text(before: list[PairItem], after: list[PairItem]) -> None:
    lines = editable(before).splitlines()
    # Each line now says what a row of ``after`` says, as far as there are any; the rest is dropped, or new.
    said = [line.replace(f'"{item.digest}"', f'"{home}"') for item, line, home in zip(
        after, editable(after).splitlines(), [line[12:83] for line in lines], strict=False
    )]  # fmt: skip
    new = [
        line.replace(f'"digest": "{item.digest}", ', "")
        for item, line in zip(after, editable(after).splitlines(), strict=True)
    ]
    text = "\n".join([*said, *new[len(said) :]])
    try:
        found = edits(before, text, "x")
    except InputError as error:
        # A pair that stands in both splits cannot be told apart once its split is edited too.
        assert "more lines than rows" in error.message
        return
    assert held(perform("edit", [before], {**found, "why": ""}).items) == held(after)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"positive": "a"}', "row 1, field 'negative': is missing"),
        ('{"positive": "a", "negative": "a"}', "row 1: both sides say 'a'"),
        ('{"positive": 1, "negative": "a"}', "row 1, field 'positive': is not a text"),
        ('{"positive": "a", "negative": "b", "x": 1}', "row 1, field 'x': there is no such field"),
        ('{"positive": "a", "negative": "b", "digest": "1"}', "row 1, field 'digest': is not a digest"),
        ("[1]", "row 1: a line is not an object"),
        ("{", "row 1: not JSON"),
    ],
)
def test_a_bad_line_is_named(line: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        edits(ROWS, f"{line}\n", "x.jsonl")
    assert said in caught.value.message


TEMPLATE = """
prompt: "{question}"
positive: "As {positive} man: {answer} {{so}}"
negative: "As {negative} man: {answer} {{so}}"
contrasts: [{positive: an honest, negative: a lying}, {positive: a fair, negative: a false}]
slots: {question: ["Is it?", "Was it?"], answer: [yes it is, "no"]}
"""


def test_a_template_is_expanded() -> None:
    items = perform("expand", [], {"template": read_template(TEMPLATE, "x.yaml")}).items
    assert len({item.digest for item in items}) == 8
    assert items[0].pair == Pair("Is it?", "As an honest man: yes it is {so}", "As a lying man: yes it is {so}")
    assert items[0].metadata == {
        "question": "Is it?", "answer": "yes it is", "contrast": "an honest / a lying", "row": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("positive: a", "field 'negative'"),
        ("positive: '{x}'\nnegative: b", "the slot {x} is not filled"),
        ("positive: '{positive}'\nnegative: b", "List contrasts."),
        ("positive: '{x.y}'\nnegative: b\nslots: {x: [a]}", "is not a slot"),
        ("positive: '{x[0]}'\nnegative: b\nslots: {x: [a]}", "is not a slot"),
        ("positive: '{'\nnegative: b", "has no partner"),
        ("positive: a\nnegative: b\nslots: {x: 3}", "slots.x"),
        ("positive: a\nnegative: b\nslots: {x: [yes, no]}", "YAML reads no, yes"),
        ("positive: a\nnegative: b\nmore: c", "field 'more'"),
        ("positive: a\nnegative: b\ncontrasts: [x]", "field 'contrasts'"),
        ("- a", "not a template"),
        (":\n  - {", "not YAML at line"),
        (f"positive: a\nnegative: b\nslots: {{{', '.join(f's{i}: [a, b]' for i in range(30))}}}", "more than 1000000"),
    ],
)  # fmt: skip
def test_a_bad_template_is_named(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read_template(text, "x.yaml")
    assert said in str(caught.value) and "x.yaml" in str(caught.value)
